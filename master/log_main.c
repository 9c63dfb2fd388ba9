/* log: writes the lines of every worker to the file that master opened (DESIGN 3).
 *
 * Each worker has a socket of its own, so that a line's origin is what master said it is and not what the
 * line claims.  A line is one write(2) to a file opened with O_APPEND. */
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/daemon/daemon.h"
#include "common/ipc/msg/master.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <time.h>
#include <unistd.h>

enum { PACKETS_PER_TURN = 64, LINE_MAX_BYTES = LOG_PACKET_MAX + 512 };

struct source {
	LIST_ENTRY(source) link;
	struct logger *logger;
	char *name;       /* syslog name: "postfix"; owned */
	unsigned pid;
	bool is_mailbox;
	int fd;           /* owned */
	struct loop_watch watch;
};

struct logger {
	struct daemon *d;
	int file;         /* owned */
	char host[HOST_NAME_MAX + 1];
	LIST_HEAD(, source) sources;
};

static const char *const level_words[] = { "debug: ", "", "warning: ", "error: ", "fatal: ", "panic: " };

static void
write_line(struct logger *g, const char *line, size_t len)
{
	struct err err;

	/* a full disk loses lines, not mail: there is nobody left to tell */
	if (fd_write_all(g->file, line, len, &err) < 0)
		return;
}

static size_t
put_head(struct logger *g, char *line, size_t size)
{
	time_t now = time(NULL);
	struct tm tm;
	char stamp[32];
	int n;

	localtime_r(&now, &tm);
	strftime(stamp, sizeof stamp, "%b %e %H:%M:%S", &tm);
	n = snprintf(line, size, "%s %s ", stamp, g->host);
	return n < 0 ? 0 : (size_t)n;
}

/* Bytes that would start another line or steer a terminal never reach the file. */
static size_t
put_clean(char *to, size_t size, struct view v)
{
	size_t n = v.len < size ? v.len : size;

	for (size_t i = 0; i < n; i++)
		to[i] = (unsigned char)v.p[i] < ' ' || v.p[i] == 0x7f ? '?' : v.p[i];
	return n;
}

static void
log_text(struct source *s, struct view tag, const char *level, struct view text)
{
	char line[LINE_MAX_BYTES];
	size_t at = put_head(s->logger, line, sizeof line);
	char clean_tag[LOG_TAG_MAX];
	size_t tag_len = put_clean(clean_tag, sizeof clean_tag, tag);
	int n;

	if (s->is_mailbox)
		n = snprintf(line + at, sizeof line - at, "%s[%u]: %.*s: %s", s->name, s->pid, (int)tag_len,
		    clean_tag, level);
	else
		n = snprintf(line + at, sizeof line - at, "%s/%.*s[%u]: %s", s->name, (int)tag_len,
		    clean_tag, s->pid, level);
	if (n < 0 || (size_t)n >= sizeof line - at)
		return;
	at += (size_t)n;
	at += put_clean(line + at, sizeof line - at - 1, text);
	line[at++] = '\n';
	write_line(s->logger, line, at);
}

/* What is not one of our packets was printed to standard error: a library's or a sanitizer's words. */
static void
log_raw(struct source *s, struct view text)
{
	struct view l;

	while (text.len > 0) {
		view_cut(text, '\n', &l, &text);
		if (l.len > 0)
			log_text(s, VIEW_LIT("stderr"), level_words[LOG_LEVEL_ERROR], l);
	}
}

static void
log_packet(struct source *s, struct view packet)
{
	struct view tag, text;
	unsigned level = (unsigned char)packet.p[0];

	if (level < sizeof level_words / sizeof level_words[0] &&
	    view_cut(view_make(packet.p + 1, packet.len - 1), '\0', &tag, &text))
		log_text(s, tag, level_words[level], text);
	else
		log_raw(s, packet);
}

static void
source_free(struct source *s)
{
	loop_watch_set(&s->watch, 0);
	LIST_REMOVE(s, link);
	fd_close(&s->fd);
	free(s->name);
	free(s);
}

static void
on_source(void *arg, short what)
{
	struct source *s = arg;
	char packet[LOG_PACKET_MAX];

	(void)what;
	for (int i = 0; i < PACKETS_PER_TURN; i++) {
		ssize_t n = recv(s->fd, packet, sizeof packet, MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			source_free(s);
			return;
		}
		log_packet(s, view_make(packet, (size_t)n));
	}
}

static void
on_log_source(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct logger *g = arg;
	struct source *s = x_calloc(1, sizeof *s);

	(void)c;
	s->logger = g;
	s->name = x_strdup(ipc_get_str(in));
	s->pid = ipc_get_u32(in);
	s->is_mailbox = ipc_get_u32(in) != 0;
	s->fd = ipc_get_fd(in);
	LIST_INSERT_HEAD(&g->sources, s, link);
	loop_watch_init(&s->watch, daemon_loop(g->d), s->fd, on_source, s);
	loop_watch_set(&s->watch, LOOP_READ);
}

static void
on_log_file(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct logger *g = arg;

	(void)c;
	fd_close(&g->file);
	g->file = ipc_get_fd(in);
}

/* The last lines of workers that end with the suite are still in their sockets. */
static void
on_drain(void *arg)
{
	struct logger *g = arg;
	struct source *s, *next;

	for (s = LIST_FIRST(&g->sources); s != NULL; s = next) {
		next = LIST_NEXT(s, link);
		on_source(s, LOOP_READ);
	}
	daemon_exit(g->d, 0);
}

static const struct ipc_handler messages[] = {
	{ MASTER_LOG_SOURCE, "suuh", IPC_STATE_ANY, on_log_source },
	{ MASTER_LOG_FILE, "h", IPC_STATE_ANY, on_log_file },
	{ 0 },
};

int
main(int argc, char **argv)
{
	struct logger g = { .d = daemon_start(argc, argv, ROLE_LOG) };
	struct sandbox_plan plan = { .is_background = true };
	size_t at = 0;
	const char *name = daemon_next_attachment(g.d, "log:", &at);
	char *dot;

	daemon_configured(g.d);
	LIST_INIT(&g.sources);
	if (name == NULL)
		log_fatal("no log file");
	g.file = daemon_attachment(g.d, name);
	snprintf(g.host, sizeof g.host, "%s", conf_str(daemon_conf(g.d), "myhostname"));
	/* as syslog prints it: the host without its domain */
	if ((dot = strchr(g.host, '.')) != NULL)
		*dot = '\0';
	tzset();
	daemon_on_message(g.d, messages, &g);
	daemon_on_drain(g.d, on_drain, &g);
	return daemon_run(g.d, &plan, NULL, NULL);
}
