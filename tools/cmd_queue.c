/* estafeta queue list [-j] | show ID | hold|release|requeue|delete ID... | flush [DOMAIN]
 *
 * ID: a queue id, "-" (ids from standard input, one a line), ALL in capitals, or filters that all must match:
 * sender=ADDRESS recipient=ADDRESS domain=DOMAIN (of a recipient) queue=active|deferred|hold|incoming. */
#include "tools/tool.h"

#include "common/base/arena.h"
#include "common/base/fd.h"
#include "common/ipc/envelope.h"
#include "common/ipc/msg/qmgr.h"
#include "tools/mailq.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

enum { ID_TEXT_MAX = 64, FILTERS_MAX = 8 };

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
};

static int
failed(const struct err *err)
{
	tool_complain("%s", err->text);
	return err->kind == ERR_GONE   ? EX_UNAVAILABLE
	       : err->kind == ERR_PERM ? EX_NOPERM
				       : EX_TEMPFAIL;
}

/* --- list and show ------------------------------------------------------------------------------------- */

static bool
print_line(void *arg, struct view line, json_t *entry)
{
	(void)arg;
	(void)entry;
	printf("%.*s\n", VIEW_ARG(line));
	return !ferror(stdout);
}

static int
queue_list(int fd, bool as_json)
{
	struct err err;
	int r = as_json ? queue_each(fd, print_line, NULL, &err) : mailq_print(fd, stdout, &err);

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
queue_show(int fd, const char *id)
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

struct selection {
	const char *filters[FILTERS_MAX]; /* NAME=VALUE, borrowed */
	size_t nfilters;
	struct buf ids; /* one a line */
};

static bool
recipient_matches(const json_t *entry, const char *value, bool by_domain)
{
	json_t *recipients = json_object_get(entry, "recipients"), *r;
	size_t i;

	json_array_foreach(recipients, i, r)
	{
		const char *address = queue_string(r, "address"), *at = strrchr(address, '@');

		if (!by_domain && view_case_eq(view_of(address), view_of(value)))
			return true;
		if (by_domain && at != NULL && view_case_eq(view_of(at + 1), view_of(value)))
			return true;
	}
	return false;
}

static bool
filter_matches(const json_t *entry, const char *filter)
{
	const char *value = strchr(filter, '=') + 1;

	if (strncmp(filter, "sender=", 7) == 0)
		return view_case_eq(view_of(queue_string(entry, "sender")), view_of(value));
	if (strncmp(filter, "queue=", 6) == 0)
		return strcmp(queue_string(entry, "queue_name"), value) == 0;
	return recipient_matches(entry, value, strncmp(filter, "domain=", 7) == 0);
}

static bool
is_filter(const char *word)
{
	static const char *const names[] = { "sender=", "recipient=", "domain=", "queue=" };

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strncmp(word, names[i], strlen(names[i])) == 0)
			return true;
	return false;
}

static bool
select_entry(void *arg, struct view line, json_t *entry)
{
	struct selection *s = arg;

	(void)line;
	for (size_t i = 0; i < s->nfilters; i++)
		if (!filter_matches(entry, s->filters[i]))
			return true;
	return buf_printf(&s->ids, "%s\n", queue_string(entry, "queue_id")) == 0;
}

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
collect_ids(int fd, struct selection *s, int argc, char **argv, struct err *err)
{
	for (int i = 0; i < argc; i++) {
		if (is_filter(argv[i])) {
			if (s->nfilters == FILTERS_MAX)
				return err_set(err, ERR_LIMIT, "too many filters");
			s->filters[s->nfilters++] = argv[i];
		} else if (strcmp(argv[i], "-") == 0) {
			if (read_ids_from_stdin(&s->ids, err) < 0)
				return -1;
		} else if (buf_printf(&s->ids, "%s\n", argv[i]) < 0) {
			return err_set(err, ERR_LIMIT, "too many queue ids");
		}
	}
	return s->nfilters > 0 ? queue_each(fd, select_entry, s, err) : 0;
}

static int
act_on_ids(int fd, const struct action *a, struct buf *ids)
{
	struct view rest = buf_view(ids), id;
	unsigned total = 0, missing = 0;

	while (view_token(&rest, "\n", &id)) {
		char text[ID_TEXT_MAX];
		unsigned count = 0;
		struct err err;

		snprintf(text, sizeof text, "%.*s", VIEW_ARG(id));
		if (queue_act(fd, a->type, text, &count, &err) < 0) {
			tool_complain("%s: %s", text, err.text);
			missing++;
		} else if (count == 0 && strcmp(text, "ALL") != 0) {
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
queue_change(int fd, const struct action *a, int argc, char **argv)
{
	struct selection s = { .nfilters = 0 };
	struct err err;
	int status;

	buf_init(&s.ids, 256 << 20);
	status =
	    collect_ids(fd, &s, argc, argv, &err) < 0 ? failed(&err) : act_on_ids(fd, a, &s.ids);
	buf_clear(&s.ids);
	return status;
}

static int
queue_flush(int fd, const char *domain)
{
	unsigned count;
	struct err err;

	return queue_act(fd, QMGR_CTL_FLUSH, domain, &count, &err) < 0 ? failed(&err) : 0;
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

/* -1: the words make no sense. */
static int
run_verb(int fd, int argc, char **argv)
{
	const struct action *a = find_action(argv[0]);

	if (strcmp(argv[0], "list") == 0 && argc == 1)
		return queue_list(fd, false);
	if (strcmp(argv[0], "list") == 0 && argc == 2 && strcmp(argv[1], "-j") == 0)
		return queue_list(fd, true);
	if (strcmp(argv[0], "show") == 0 && argc == 2)
		return queue_show(fd, argv[1]);
	if (strcmp(argv[0], "flush") == 0 && argc <= 2)
		return queue_flush(fd, argc == 2 ? argv[1] : "");
	if (a != NULL && argc >= 2)
		return queue_change(fd, a, argc - 1, argv + 1);
	return -1;
}

static bool
is_verb(const char *word)
{
	return strcmp(word, "list") == 0 || strcmp(word, "show") == 0 ||
	       strcmp(word, "flush") == 0 || find_action(word) != NULL;
}

int
tool_cmd_queue(struct tool *t, int argc, char **argv)
{
	struct err err;
	int fd, status;

	if (argc < 2 || !is_verb(argv[1]))
		return tool_usage(t);
	fd = tool_connect(t, ROLE_QMGR, &err);
	if (fd < 0)
		return failed(&err);
	status = run_verb(fd, argc - 1, argv + 1);
	fd_close(&fd);
	if (status < 0)
		return tool_usage(t);
	return fflush(stdout) == EOF ? EX_IOERR : status;
}
