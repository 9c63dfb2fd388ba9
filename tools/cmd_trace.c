/* estafeta trace [-j] QUEUE-ID|MESSAGE-ID|ADDRESS - all that the log says of a message.
 *
 * The log is read twice: to find the messages, and what was made of them; then their lines.  A line with a message's id is
 * its own; what a connection has before that (connect, TLS) and after it (disconnect) is joined by process
 * and client.  Where a client has several connections to one process at a time, which the log tells apart only with
 * smtpd_client_port_logging, these lines are marked. */
#include "common/base/mem.h"
#include "common/log/log.h"
#include "tools/log_reader.h"
#include "tools/tool.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

enum {
	MESSAGES_MAX = 20000,
	BYTES_MAX = 256 << 20, /* lines kept of all messages */
	SESSIONS_MAX = 50000,  /* open at a time, or never seen to end */
	SESSION_LINES = 32,    /* kept of one before its message comes */
	QUOTED = 8192,
	ID_MAX = 32,
};

struct traced {
	char *line;     /* owned */
	bool is_unsure; /* of another connection of this client, maybe */
};

struct message {
	char id[ID_MAX], parent[ID_MAX]; /* parent: what it is a notice of */
	struct traced *events;           /* owned */
	size_t count;
	size_t order; /* of its first line */
};

struct session {
	char *lines[SESSION_LINES]; /* owned */
	size_t nlines;
	unsigned open;
	bool is_unsure;
	struct message **messages; /* owned array: those that came over it */
	size_t nmessages;
};

struct trace {
	char query[QUOTED]; /* as the log writes it */
	bool is_id;
	struct map messages; /* id -> struct message, owned */
	struct map sessions; /* process and client -> struct session, owned */
	size_t bytes, lines;
	bool is_full;
};

/* --- parts of a line --------------------------------------------------------------------------------------- */
/* "4jYNYt50jbz1: rest"; NOQUEUE is none. */
static bool
take_id(struct view text, struct view *id, struct view *rest)
{
	size_t n = 0;

	while (n < text.len &&
	       ((text.p[n] >= '0' && text.p[n] <= '9') || (text.p[n] >= 'A' && text.p[n] <= 'Z') ||
		   (text.p[n] >= 'a' && text.p[n] <= 'z')))
		n++;
	if (n < 10 || n >= ID_MAX || n + 2 > text.len || text.p[n] != ':' || text.p[n + 1] != ' ')
		return false;
	*id = view_make(text.p, n);
	*rest = view_make(text.p + n + 2, text.len - n - 2);
	return true;
}

/* "name[address]" or "name[address]:port", from the start of text. */
static bool
take_client(struct view text, struct view *client)
{
	const char *end = memchr(text.p, ']', text.len), *open = memchr(text.p, '[', text.len);
	const char *space = memchr(text.p, ' ', text.len), *limit = text.p + text.len;

	if (end == NULL || open == NULL || open > end || (space != NULL && space < end))
		return false;
	end++;
	if (end + 1 < limit && end[0] == ':' && end[1] >= '0' && end[1] <= '9')
		for (end++; end < limit && *end >= '0' && *end <= '9';)
			end++;
	*client = view_make(text.p, (size_t)(end - text.p));
	return true;
}

static bool
find_client(struct view text, struct view *client)
{
	static const char *const before[] = { "client=", " from ", "warning: " };

	for (size_t i = 0; i < sizeof before / sizeof before[0]; i++) {
		const char *at = view_find(text, view_of(before[i]));
		size_t skip = strlen(before[i]);

		if (at != NULL &&
		    take_client(
			view_make(at + skip, (size_t)(text.p + text.len - at) - skip), client))
			return true;
	}
	return false;
}

/* Is there NAME=<query>?  An address is compared without regard to case. */
static bool
has_value(struct view text, const char *name, const char *query)
{
	struct view rest = text;
	const char *at;

	while ((at = view_find(rest, view_of(name))) != NULL) {
		const char *p = at + strlen(name);
		struct view value;

		rest = view_make(p, (size_t)(text.p + text.len - p));
		if ((at == text.p || at[-1] == ' ') && rest.len > 0 && rest.p[0] == '<' &&
		    view_cut(view_make(rest.p + 1, rest.len - 1), '>', &value, &rest) &&
		    view_case_eq_str(value, query))
			return true;
	}
	return false;
}

static bool
is_asked_for(const struct trace *t, struct view id, struct view text)
{
	if (t->is_id)
		return view_eq(id, view_of(t->query));
	return has_value(text, "message-id=", t->query) || has_value(text, "from=", t->query) ||
	       has_value(text, "to=", t->query) || has_value(text, "orig_to=", t->query);
}

/* --- first reading: which messages -------------------------------------------------------------------------- */
static struct message *
message_add(struct trace *t, struct view id, struct view parent)
{
	struct message *m = map_get(&t->messages, id);

	if (m != NULL)
		return m;
	if (t->messages.count == MESSAGES_MAX) {
		t->is_full = true;
		return NULL;
	}
	m = x_calloc(1, sizeof *m);
	snprintf(m->id, sizeof m->id, "%.*s", VIEW_ARG(id));
	snprintf(m->parent, sizeof m->parent, "%.*s", VIEW_ARG(parent));
	map_put(&t->messages, id, m);
	return m;
}

static void
on_search(void *arg, const struct log_event *e)
{
	struct trace *t = arg;
	struct view id, text, notice;
	const char *at;

	if (!take_id(e->text, &id, &text))
		return;
	if (is_asked_for(t, id, text))
		message_add(t, id, VIEW_LIT(""));
	if (map_get(&t->messages, id) == NULL ||
	    (at = view_find(text, VIEW_LIT(" notification: "))) == NULL)
		return;
	notice = view_make(at + 15, (size_t)(text.p + text.len - at) - 15);
	if (notice.len >= 10 && notice.len < ID_MAX)
		message_add(t, notice, id);
}

/* --- second reading: their lines ------------------------------------------------------------------------------ */
static void
message_put(struct trace *t, struct message *m, const char *line, size_t len, bool is_unsure)
{
	if (t->bytes + len > BYTES_MAX) {
		t->is_full = true;
		return;
	}
	t->bytes += len + sizeof *m->events;
	if (m->count == 0)
		m->order = t->lines;
	m->events = x_realloc(m->events, m->count + 1, sizeof *m->events);
	m->events[m->count++] = (struct traced){ x_asprintf("%.*s", (int)len, line), is_unsure };
}

static void
session_forget_lines(struct session *s)
{
	for (size_t i = 0; i < s->nlines; i++)
		free(s->lines[i]);
	s->nlines = 0;
	s->nmessages = 0;
}

static void
session_free(struct session *s)
{
	session_forget_lines(s);
	free(s->messages);
	free(s);
}

static void
sessions_clear(struct trace *t)
{
	struct map_walk w = { 0 };
	struct map_entry *e;

	while ((e = map_next(&t->sessions, &w)) != NULL)
		session_free(e->value);
	map_clear(&t->sessions);
	map_init(&t->sessions);
}

static struct session *
session_of(struct trace *t, struct view tag, struct view client, char **key)
{
	const char *pid = memchr(tag.p, '[', tag.len); /* smtpd speaks for cleanup, too */
	size_t skip = pid == NULL ? 0 : (size_t)(pid - tag.p);

	*key = x_asprintf("%.*s %.*s", (int)(tag.len - skip), tag.p + skip, VIEW_ARG(client));
	return map_get(&t->sessions, view_of(*key));
}

static void
session_begin(struct trace *t, struct session *s, const char *key)
{
	if (s == NULL) {
		if (t->sessions.count >= SESSIONS_MAX)
			sessions_clear(t);
		s = x_calloc(1, sizeof *s);
		map_put(&t->sessions, view_of(key), s);
	}
	s->is_unsure = s->open > 0;
	s->open++;
}

static void
session_line(struct trace *t, struct session *s, struct view line)
{
	for (size_t i = 0; i < s->nmessages; i++)
		message_put(t, s->messages[i], line.p, line.len, s->is_unsure);
	if (s->nlines < SESSION_LINES)
		s->lines[s->nlines++] = x_asprintf("%.*s", VIEW_ARG(line));
}

/* The message's first line: all of the session up to now is its, too. */
static void
session_join(struct trace *t, struct session *s, struct message *m)
{
	for (size_t i = 0; i < s->nmessages; i++)
		if (s->messages[i] == m)
			return;
	for (size_t i = 0; i < s->nlines; i++)
		message_put(t, m, s->lines[i], strlen(s->lines[i]), s->is_unsure);
	s->messages = x_realloc(s->messages, s->nmessages + 1, sizeof *s->messages);
	s->messages[s->nmessages++] = m;
}

static void
session_end(struct trace *t, struct session *s, const char *key)
{
	if (--s->open > 0)
		return;
	map_remove(&t->sessions, view_of(key));
	session_free(s);
}

/* A line without an id, of a connection. */
static void
on_session_line(struct trace *t, const struct log_event *e)
{
	bool is_begin = view_starts(e->text, "connect from ");
	struct view client;
	struct session *s;
	char *key;

	if (view_find(e->tag, VIEW_LIT("/smtpd[")) == NULL || !find_client(e->text, &client))
		return;
	s = session_of(t, e->tag, client, &key);
	if (is_begin) {
		session_begin(t, s, key);
		s = map_get(&t->sessions, view_of(key));
	}
	if (s != NULL)
		session_line(t, s, e->line);
	if (s != NULL && view_starts(e->text, "disconnect from "))
		session_end(t, s, key);
	free(key);
}

static void
on_collect(void *arg, const struct log_event *e)
{
	struct trace *t = arg;
	struct view id, text, client;
	struct session *s;
	struct message *m;
	char *key;

	t->lines++;
	if (!take_id(e->text, &id, &text)) {
		on_session_line(t, e);
		return;
	}
	if ((m = map_get(&t->messages, id)) == NULL)
		return;
	if (view_starts(text, "client=") && find_client(text, &client)) {
		if ((s = session_of(t, e->tag, client, &key)) != NULL)
			session_join(t, s, m);
		free(key);
	}
	message_put(t, m, e->line.p, e->line.len, false);
}

/* --- what is printed --------------------------------------------------------------------------------------------- */
static const char *
kind_of(struct view text)
{
	static const struct {
		const char *word, *kind;
	} kinds[] = { { "disconnect from ", "disconnect" }, { "connect from ", "connect" },
		{ "TLS connection established", "tls" }, { "client=", "client" },
		{ "uid=", "client" }, { "message-id=", "message-id" },
		{ "(queue active)", "queue" }, { "status=deliverable", "probe" },
		{ "status=undeliverable", "probe" }, { "status=", "attempt" },
		{ " notification: ", "notice" }, { "removed", "removed" }, { "reject: ", "reject" },
		{ "hold: ", "verdict" }, { "milter-", "verdict" },
		{ "authentication failed", "auth" } };

	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (view_find(text, view_of(kinds[i].word)) != NULL)
			return kinds[i].kind;
	return "other";
}

/* "name=value, name=<value>, ...", up to the first part that is none. */
static json_t *
fields_of(struct view text)
{
	json_t *o = json_object();
	struct view part, name, value;
	bool more = true;

	while (more) {
		char n[64], v[QUOTED];

		more = view_cut(text, ',', &part, &text);
		if (!view_cut(view_trim(part), '=', &name, &value) || name.len == 0 ||
		    memchr(name.p, ' ', name.len) != NULL)
			break;
		if (value.p[0] != '<')
			view_cut(value, ' ', &value, &part);
		else
			view_cut(view_make(value.p + 1, value.len - 1), '>', &value, &part);
		snprintf(n, sizeof n, "%.*s", VIEW_ARG(name));
		json_object_set_new(o, n, json_string(log_quote(v, sizeof v, value)));
	}
	return o;
}

static void
print_event(const struct message *m, const struct traced *ev, bool as_json)
{
	struct log_event e;
	struct view id, text;
	char quoted[QUOTED], stamp[32], tag[256];
	json_t *o;

	if (!log_event_parse(view_of(ev->line), &e))
		return;
	log_quote(quoted, sizeof quoted, e.text);
	log_quote(stamp, sizeof stamp, e.stamp);
	log_quote(tag, sizeof tag, e.tag);
	if (!as_json) {
		printf("  %s %s: %s%s\n", stamp, tag, quoted,
		    ev->is_unsure ? " (this connection or another one of this client)" : "");
		return;
	}
	if (!take_id(e.text, &id, &text))
		text = e.text;
	o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:o}", "queue_id", m->id, "time", stamp,
	    "process", tag, "event", kind_of(text), "text", quoted, "unsure", ev->is_unsure,
	    "fields", fields_of(text));
	if (m->parent[0] != '\0')
		json_object_set_new(o, "notice_of", json_string(m->parent));
	json_dumpf(o, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
	putchar('\n');
	json_decref(o);
}

static int
compare_messages(const void *a, const void *b)
{
	const struct message *const *x = a, *const *y = b;

	return ((*x)->order > (*y)->order) - ((*x)->order < (*y)->order);
}

static void
print_messages(struct trace *t, bool as_json)
{
	struct message **list = x_calloc(t->messages.count + 1, sizeof *list);
	struct map_walk w = { 0 };
	struct map_entry *e;
	size_t count = 0;

	while ((e = map_next(&t->messages, &w)) != NULL)
		list[count++] = e->value;
	qsort(list, count, sizeof *list, compare_messages);
	for (size_t i = 0; i < count; i++) {
		struct message *m = list[i];

		if (!as_json)
			printf("%s%s%s%s\n", m->id, m->parent[0] != '\0' ? " (notice of " : "",
			    m->parent, m->parent[0] != '\0' ? ")" : "");
		for (size_t k = 0; k < m->count; k++) {
			print_event(m, &m->events[k], as_json);
			free(m->events[k].line);
		}
		free(m->events);
		free(m);
	}
	map_clear(&t->messages);
	free(list);
}

/* <id@host> and id@host are the same; what has no @ is a queue id. */
static void
set_query(struct trace *t, const char *text)
{
	struct view v = view_of(text);

	t->is_id = strchr(text, '@') == NULL && text[0] != '<';
	if (view_starts(v, "<") && view_ends(v, ">"))
		v = view_make(v.p + 1, v.len - 2);
	log_quote(t->query, sizeof t->query, v);
}

static int
trace(struct tool *tool, struct trace *t, bool as_json)
{
	const char *path = conf_str(&tool->conf, "log_file");
	bool found;
	struct err err;

	if (log_read(path, on_search, t, &err) < 0 ||
	    (t->messages.count > 0 && log_read(path, on_collect, t, &err) < 0)) {
		tool_complain("%s", err.text);
		return EX_NOINPUT;
	}
	sessions_clear(t);
	found = t->messages.count > 0;
	print_messages(t, as_json);
	if (t->is_full)
		tool_complain("warning: more than can be shown; ask for one message");
	if (!found)
		tool_complain(
		    "trace: nothing of %s in %s and the files rotated from it", t->query, path);
	if (fflush(stdout) != 0)
		return EX_IOERR;
	return found ? EX_OK : 1;
}

int
tool_cmd_trace(struct tool *tool, int argc, char **argv)
{
	struct trace t = { 0 };
	const char *query = NULL;
	bool as_json = false;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "-j") == 0)
			as_json = true;
		else if (query == NULL && argv[i][0] != '-' && argv[i][0] != '\0')
			query = argv[i];
		else
			return tool_usage(tool);
	}
	if (query == NULL)
		return tool_usage(tool);
	map_init(&t.messages);
	map_init(&t.sessions);
	set_query(&t, query);
	return trace(tool, &t, as_json);
}
