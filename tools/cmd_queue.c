/* estafeta queue list [-j] | histogram [--sender] | show ID | hold|release|requeue|expire|delete ID... | flush [DOMAIN]
 *
 * ID: a queue id, "-" (ids from standard input, one a line) or ALL in capitals.  Conditions (queue_words.h) narrow
 * what list, histogram and the actions mean, and stand for ALL where no id is given. */
#include "tools/tool.h"

#include "common/base/arena.h"
#include "common/base/fd.h"
#include "common/ipc/envelope.h"
#include "tools/histogram.h"
#include "tools/mailq.h"
#include "tools/queue_words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

enum { ID_TEXT_MAX = 64 };

/* Postsuper's words for the total of each action. */
static const struct action {
	const char *verb;
	unsigned type;
	const char *total;
} actions[] = {
	{ "delete", QMGR_CTL_DELETE, "Deleted" },
	{ "hold", QMGR_CTL_HOLD, "Placed on hold" },
	{ "release", QMGR_CTL_RELEASE, "Released from hold" },
	{ "requeue", QMGR_CTL_REQUEUE, "Requeued" },
	{ "expire", QMGR_CTL_EXPIRE, "Force-expired" },
};

static int
failed(const struct err *err)
{
	tool_complain("%s", err->text);
	return err->kind == ERR_GONE   ? EX_UNAVAILABLE
	       : err->kind == ERR_PERM ? EX_NOPERM
				       : EX_TEMPFAIL;
}

/* --- list, histogram, show ------------------------------------------------------------------------------------- */

static bool
print_line(void *arg, struct view line, json_t *entry)
{
	(void)arg;
	(void)entry;
	printf("%.*s\n", VIEW_ARG(line));
	return !ferror(stdout);
}

static int
list(int fd, bool as_json, const struct queue_filter *filter)
{
	struct err err;
	int r = as_json ? queue_each(fd, filter, print_line, NULL, &err)
			: mailq_print(fd, filter, stdout, &err);

	return r < 0 ? failed(&err) : 0;
}

static bool
count_entry(void *arg, struct view line, json_t *entry)
{
	(void)line;
	histogram_add(arg, entry);
	return true;
}

static int
print_histogram(int fd, bool by_sender, const struct queue_filter *filter)
{
	struct histogram h;
	struct err err;
	int r;

	histogram_init(&h, by_sender, (long long)time(NULL));
	r = queue_each(fd, filter, count_entry, &h, &err);
	if (r == 0)
		histogram_print(&h, stdout);
	histogram_clear(&h);
	return r < 0 ? failed(&err) : 0;
}

static void
print_envelope(const struct envelope *e)
{
	time_t arrival = (time_t)(e->arrival_ms / 1000);
	const struct {
		const char *name, *value;
	} texts[] = { { "sender", e->sender }, { "envelope_id", e->envid },
		{ "client_name", e->client_name }, { "client_address", e->client_address },
		{ "helo_name", e->helo }, { "protocol_name", e->protocol },
		{ "sasl_method", e->sasl_method }, { "sasl_username", e->sasl_username },
		{ "content_filter", e->filter } };
	char when[64];
	struct tm tm;

	printf("message_size: %llu\n", (unsigned long long)e->size);
	if (localtime_r(&arrival, &tm) != NULL &&
	    strftime(when, sizeof when, "%a %b %e %H:%M:%S %Y", &tm) > 0)
		printf("message_arrival_time: %s\n", when);
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		if (i == 0 || texts[i].value[0] != '\0')
			printf("%s: %s\n", texts[i].name, texts[i].value);
	for (size_t i = 0; i < e->nrcpts; i++) {
		if (e->rcpts[i].orig[0] != '\0')
			printf("original_recipient: %s\n", e->rcpts[i].orig);
		printf("recipient: %s\n", e->rcpts[i].address);
	}
}

/* The content is copied as it is, but for line ends as Unix has them. */
static int
print_content(int content_fd, struct err *err)
{
	char piece[65536];
	off_t off = 0;
	ssize_t n;
	bool has_cr = false;

	while ((n = pread(content_fd, piece, sizeof piece, off)) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			if (has_cr && piece[i] != '\n')
				putchar('\r');
			has_cr = piece[i] == '\r';
			if (!has_cr)
				putchar(piece[i]);
		}
		off += n;
	}
	if (has_cr)
		putchar('\r');
	return n < 0 ? err_sys(err, ERR_TEMP, "read the message") : 0;
}

static int
show_answer(const char *id, struct ipc_in *in)
{
	uint32_t status = ipc_get_u32(in);
	const char *text = ipc_get_str(in);
	struct view bytes = ipc_get_bytes(in);
	int content_fd = ipc_get_fd(in), r = 0;
	struct envelope e;
	struct arena arena;
	struct err err;

	arena_init(&arena, ENVELOPE_MAX_BYTES);
	if (status != QMGR_OK) {
		tool_complain("%s: %s", id, text);
		r = 1;
	} else {
		printf("*** ENVELOPE RECORDS %s ***\n", id);
		if (bytes.len > 0 && envelope_decode(bytes, &arena, &e, &err) < 0)
			r = failed(&err);
		else if (bytes.len > 0)
			print_envelope(&e);
		printf("*** MESSAGE CONTENTS %s ***\n", id);
		if (r == 0 && print_content(content_fd, &err) < 0)
			r = failed(&err);
		printf("*** MESSAGE FILE END %s ***\n", id);
	}
	arena_clear(&arena);
	fd_close(&content_fd);
	return r;
}

static int
show(int fd, const char *id)
{
	static char packet[IPC_MAX_PACKET];
	struct ipc_out o;
	struct ipc_in in;
	struct err err;

	ipc_out_init(&o, QMGR_CTL_SHOW);
	ipc_put_str(&o, id);
	if (ipc_call_blocking(fd, &o, "usbh", QUEUE_CALL_MS, packet, &in, &err) < 0)
		return failed(&err);
	return show_answer(id, &in);
}

/* --- which messages --------------------------------------------------------------------------------------- */

static int
read_ids_from_stdin(struct buf *ids, struct err *err)
{
	char line[ID_TEXT_MAX + 2];

	while (fgets(line, sizeof line, stdin) != NULL) {
		if (strchr(line, '\n') == NULL && !feof(stdin))
			return err_set(err, ERR_SYNTAX, "standard input: not a queue id");
		if (buf_printf(ids, "%.*s\n", (int)strcspn(line, " \t\r\n"), line) < 0)
			return err_set(err, ERR_LIMIT, "too many queue ids");
	}
	return 0;
}

/* All words to ids; ALL stays as it is, qmgr knows it. */
static int
collect_ids(struct buf *ids, int argc, char **argv, struct err *err)
{
	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "-") == 0) {
			if (read_ids_from_stdin(ids, err) < 0)
				return -1;
		} else if (buf_printf(ids, "%s\n", argv[i]) < 0) {
			return err_set(err, ERR_LIMIT, "too many queue ids");
		}
	}
	return 0;
}

static int
act_on_ids(int fd, const struct action *a, const struct queue_filter *filter, const struct buf *ids)
{
	struct view rest = buf_view(ids), id;
	unsigned total = 0, missing = 0;

	while (view_token(&rest, "\n", &id)) {
		char text[ID_TEXT_MAX];
		unsigned count = 0;
		struct err err;

		snprintf(text, sizeof text, "%.*s", VIEW_ARG(id));
		if (queue_act(fd, a->type, text, filter, &count, &err) < 0) {
			tool_complain("%s: %s", text, err.text);
			missing++;
		} else if (count == 0 && filter->count == 0 && strcmp(text, "ALL") != 0) {
			tool_complain("%s: no such message", text);
			missing++;
		}
		total += count;
	}
	if (total > 0)
		printf("%s: %u message%s\n", a->total, total, total == 1 ? "" : "s");
	return missing > 0 ? 1 : 0;
}

static int
change(int fd, const struct action *a, const struct queue_filter *filter, int argc, char **argv)
{
	static char *all[] = { "ALL" };
	struct buf ids;
	struct err err;
	int status;

	buf_init(&ids, 256 << 20);
	if (collect_ids(&ids, argc > 0 ? argc : 1, argc > 0 ? argv : all, &err) < 0)
		status = failed(&err);
	else
		status = act_on_ids(fd, a, filter, &ids);
	buf_clear(&ids);
	return status;
}

static int
flush(int fd, const char *domain)
{
	unsigned count;
	struct err err;

	return queue_ask_flush(fd, domain, &count, &err) < 0 ? failed(&err) : 0;
}

/* --- verbs ------------------------------------------------------------------------------------------------- */

static const struct action *
find_action(const char *verb)
{
	for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++)
		if (strcmp(verb, actions[i].verb) == 0)
			return &actions[i];
	return NULL;
}

/* What is to be done, understood before anybody is asked. */
struct request {
	const char *verb;
	const struct action *action; /* NULL: another verb */
	bool by_sender, as_json;
	struct queue_filter filter;
	int argc; /* what remains: ids, a domain */
	char **argv;
};

/* An option of its own at the front: histogram's --sender has no value. */
static bool
take_option(struct request *r, const char *option)
{
	if (r->argc == 0 || strcmp(r->argv[0], option) != 0)
		return false;
	r->argc--;
	r->argv++;
	return true;
}

/* false: the words make no sense. */
static bool
is_complete(const struct request *r)
{
	bool is_list = strcmp(r->verb, "list") == 0 || strcmp(r->verb, "histogram") == 0;

	for (int i = 0; i < r->argc; i++)
		if (r->argv[i][0] == '-' && (r->action == NULL || strcmp(r->argv[i], "-") != 0))
			return false;
	if (is_list)
		return r->argc == 0;
	if (r->action != NULL)
		return r->argc > 0 || r->filter.count > 0;
	if (r->filter.count > 0)
		return false;
	return strcmp(r->verb, "show") == 0 ? r->argc == 1
					    : strcmp(r->verb, "flush") == 0 && r->argc <= 1;
}

static int
understand(struct request *r, int argc, char **argv, struct err *err)
{
	*r = (struct request){
		.verb = argv[0], .action = find_action(argv[0]), .argc = argc - 1, .argv = argv + 1
	};
	if (strcmp(r->verb, "list") == 0)
		r->as_json = take_option(r, "-j");
	if (strcmp(r->verb, "histogram") == 0)
		r->by_sender = take_option(r, "--sender");
	return queue_words_read(&r->argc, r->argv, &r->filter, err);
}

static int
run(int fd, const struct request *r)
{
	if (r->action != NULL)
		return change(fd, r->action, &r->filter, r->argc, r->argv);
	if (strcmp(r->verb, "list") == 0)
		return list(fd, r->as_json, &r->filter);
	if (strcmp(r->verb, "histogram") == 0)
		return print_histogram(fd, r->by_sender, &r->filter);
	if (strcmp(r->verb, "show") == 0)
		return show(fd, r->argv[0]);
	return flush(fd, r->argc > 0 ? r->argv[0] : "");
}

int
tool_cmd_queue(struct tool *t, int argc, char **argv)
{
	struct request r;
	struct err err;
	int fd, status;

	if (argc < 2)
		return tool_usage(t);
	if (understand(&r, argc - 1, argv + 1, &err) < 0) {
		tool_complain("%s", err.text);
		return EX_USAGE;
	}
	if (!is_complete(&r))
		return tool_usage(t);
	fd = tool_connect(t, ROLE_QMGR, &err);
	if (fd < 0)
		return failed(&err);
	status = run(fd, &r);
	fd_close(&fd);
	return fflush(stdout) == EOF ? EX_IOERR : status;
}
