/* look.c - what qmgr finds in a queue directory, for tests that made the directory as a crash would have left it.
 *
 * Reads names of directories from standard input and writes for each of them a line for every message:
 *   ID LENGTH <SENDER> RECIPIENT...      those that are not finished; length -1: the content cannot be read
 * with LENGTH bytes of content behind it; before these, and again at the end, what audit finds:
 *   audit KIND ID RECIPIENT
 * and then "end", or "failed REASON" where qmgr would not start.  Each directory has a process of its own and is
 * changed by it as a start of qmgr changes it.
 */
#include "common/event/loop.h"
#include "common/log/log.h"
#include "qmgr/audit.h"
#include "qmgr/queue.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CONTENT_MAX = 64 << 20, TIMEOUT_MS = 30000 };

struct look {
	struct loop *loop;
	struct queue *queue;
	size_t left;
};

static void
print_message(struct look *l, struct message *m)
{
	char id[QUEUE_ID_TEXT];
	struct buf b;
	struct err err;
	bool is_read;

	buf_init(&b, CONTENT_MAX);
	is_read = !m->active->is_unreadable &&
		  content_read(&m->active->content, CONTENT_MAX, &b, &err) == 0;
	queue_id_format(m->id, id);
	printf("%s %lld <%s>", id, is_read ? (long long)b.len : -1LL, m->active->env.sender);
	for (size_t i = 0; i < m->active->env.nrcpts; i++)
		if (m->active->rcpts[i].status == RCPT_PENDING)
			printf(" %s", m->active->env.rcpts[i].address);
	printf("\n");
	if (is_read)
		fwrite(b.p, 1, b.len, stdout);
	buf_clear(&b);
	if (--l->left == 0)
		loop_stop(l->loop);
}

static void
on_route(void *arg, struct message *m)
{
	struct look *l = arg;

	queue_routed(l->queue, m);
}

static void
on_start(void *arg, struct message *m)
{
	struct look *l = arg;

	if (content_is_open(&m->active->content))
		print_message(l, m);
	else
		queue_content_open(l->queue, m);
}

static void
on_content(void *arg, struct message *m)
{
	print_message(arg, m);
}

static void
on_stop(void *arg, struct message *m)
{
	(void)arg;
	(void)m;
}

static void
on_notify(void *arg, struct message *m, enum notice_kind kind)
{
	struct look *l = arg;

	queue_noticed(l->queue, m, kind, NULL, true);
}

static void
on_finding(void *arg, const struct audit_finding *f)
{
	static const char *const kinds[] = { "missing", "double", "possible", "hole" };

	(void)arg;
	if (f->kind != AUDIT_POSSIBLE)
		printf("audit %s %s %s %s\n", kinds[f->kind], f->id, f->recipient, f->text);
}

static void
audit(int fd)
{
	const struct audit_options o = { .root_fd = fd, .on_finding = on_finding };
	struct audit_totals t;
	struct err err;

	if (audit_run(&o, &t, &err) < 0)
		printf("audit failed %s\n", err.text);
}

static void
on_timeout(void *arg)
{
	(void)arg;
	printf("failed messages are not loaded\n");
	fflush(stdout);
	_exit(0);
}

static void
look(const char *dir)
{
	const struct queue_conf conf = { .segment_size = 1 << 20,
		.ledger = { .keep_ms = INT64_C(1) << 40, .max_bytes = UINT64_MAX },
		.active_limit = 100000,
		.content_limit = 10000,
		.min_backoff_ms = 300000,
		.max_backoff_ms = 300000,
		.lifetime_ms = INT64_C(1) << 40,
		.bounce_lifetime_ms = INT64_C(1) << 40 };
	const struct queue_ops ops = { on_route, on_start, on_stop, on_content, on_notify,
		on_stop, NULL, NULL };
	struct look l = { 0 };
	struct loop_timer timeout;
	struct message *m = NULL;
	struct err err;
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)
		audit(fd);
	l.loop = loop_new();
	if (fd < 0 || (l.queue = queue_open(l.loop, fd, &conf, NULL, &err)) == NULL) {
		printf("failed %s\n", fd < 0 ? "no such directory" : err.text);
		return;
	}
	queue_set_ops(l.queue, &ops, &l);
	l.left = queue_count(l.queue);
	while ((m = queue_next(l.queue, m)) != NULL)
		queue_flush(l.queue, m);
	loop_timer_init(&timeout, l.loop, on_timeout, NULL);
	loop_timer_start(&timeout, TIMEOUT_MS);
	if (l.left > 0)
		loop_run(l.loop);
	audit(fd);
	printf("end\n");
}

int
main(void)
{
	char dir[4096];

	while (fgets(dir, sizeof dir, stdin) != NULL) {
		int status;
		pid_t pid;

		dir[strcspn(dir, "\n")] = '\0';
		if ((pid = fork()) == 0) {
			look(dir);
			fflush(stdout);
			_exit(0);
		}
		if (pid < 0 || waitpid(pid, &status, 0) < 0)
			return 1;
		if (status != 0)
			printf("failed status %d\n", status);
		fflush(stdout);
	}
	return 0;
}
