#include "smtpd/checks.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/log/log.h"
#include "common/mime/mime_lines.h"
#include "smtpd/content.h"
#include "smtpd/lookup.h"
#include "smtpd/session.h"
#include "smtpd/transaction.h"
#include "smtpd/verdicts.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	PIECE = 16384, /* read in one turn of the loop */
	VALUE_MAX = 4096,
	SHOWN_MAX = 60, /* bytes of a line in the log, as in Postfix */
};

/* What a line's table has said ends the message. */
enum { GO_ON = 0, REFUSED = 1, FAILED = -1 };

struct smtpd_checks {
	struct smtpd_session *s;
	gate_then *then;
	struct loop_timer turn;
	struct mime_lines lines;
	bool is_body;          /* behind the message's own headers */
	bool has_passed;       /* PASS: the rest is not looked at */
	uint64_t at;           /* of the content: fed so far */
	uint64_t line_at;      /* where the line being fed begins */
	uint64_t item_at;      /* where the field under way begins */
	uint64_t text_seen;    /* bytes of the present part's text */
	struct buf line;       /* the line that a piece has cut */
	struct body edited;    /* the new body, while one is made */
	bool is_edited;
	uint64_t copied_to;    /* of the content: what is in edited, or was left out */
	struct err err;
};

/* --- configuration --------------------------------------------------------------------------------------- */

static int
open_checks(const struct conf *conf, const char *name, struct smtpd_tables **out, struct err *err)
{
	if (smtpd_tables_open_of(conf, name, out, err) < 0)
		return -1;
	return smtpd_tables_need_memory(*out, err) < 0 ? err_prefix(err, "%s", name) : 0;
}

int
checks_config_read(struct checks_config *c, const struct conf *conf, struct err *err)
{
	c->body_limit = (uint64_t)conf_size(conf, "body_checks_size_limit");
	c->nesting = (unsigned)conf_int(conf, "mime_nesting_limit");
	c->is_strict = conf_bool(conf, "strict_mime_nesting");
	c->field_max = (size_t)conf_size(conf, "header_size_limit");
	if (open_checks(conf, "header_checks", &c->header, err) < 0 ||
	    open_checks(conf, "mime_header_checks", &c->mime, err) < 0 ||
	    open_checks(conf, "nested_header_checks", &c->nested, err) < 0 ||
	    open_checks(conf, "body_checks", &c->body, err) < 0)
		return -1;
	c->is_wanted = c->header != NULL || c->mime != NULL || c->nested != NULL || c->body != NULL;
	return 0;
}

void
checks_config_clear(struct checks_config *c)
{
	smtpd_tables_close(c->header);
	smtpd_tables_close(c->mime);
	smtpd_tables_close(c->nested);
	smtpd_tables_close(c->body);
	*c = (struct checks_config){ 0 };
}

/* --- actions ------------------------------------------------------------------------------------------------ */

enum check_action
check_action_parse(struct view value, struct view *argument)
{
	static const struct {
		const char *word;
		enum check_action action;
	} words[] = {
		{ "REJECT", CHECK_REJECT },
		{ "IGNORE", CHECK_IGNORE },
		{ "STRIP", CHECK_STRIP },
		{ "REPLACE", CHECK_REPLACE },
		{ "PREPEND", CHECK_PREPEND },
		{ "PASS", CHECK_PASS },
	};
	struct action a;
	size_t n = 0;

	value = view_trim(value);
	while (n < value.len && !ascii_is_space(value.p[n]))
		n++;
	*argument = view_trim(view_make(value.p + n, value.len - n));
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (view_case_eq_str(view_make(value.p, n), words[i].word))
			return words[i].action;
	action_parse(value, &a);
	if (a.kind >= ACTION_HOLD && a.kind <= ACTION_WARN)
		return CHECK_VERDICT;
	return n > 0 && (a.kind == ACTION_DUNNO || a.kind == ACTION_OK) ? CHECK_NONE : CHECK_UNKNOWN;
}

/* What a table was asked about: one of the message's own fields, or what stands in the content from `from` to `to`. */
struct item {
	const char *where; /* "header", "body": for the log */
	struct view text;
	size_t *field; /* its number in the list; NULL: the other */
	uint64_t from, to;
};

static void
log_check(struct smtpd_checks *k, const char *what, const struct item *it, struct view why)
{
	struct view shown =
	    view_make(it->text.p, it->text.len < SHOWN_MAX ? it->text.len : SHOWN_MAX);
	char about[SHOWN_MAX * 4 + 20];

	snprintf(about, sizeof about, "%s %s", it->where, lq(shown));
	smtpd_log_message(k->s, what, about, view_of(""), why);
}

/* value: "REJECT text" */
static int
refuse(struct smtpd_checks *k, struct view value)
{
	struct action a;

	action_parse(value, &a);
	if (a.text.len == 0)
		a.text = view_of("message content rejected");
	smtpd_reply(k->s, a.dsn[0] == '4' ? 450 : 550, a.dsn[0] != '\0' ? a.dsn : "5.7.1", "%.*s",
	    VIEW_ARG(a.text));
	return REFUSED;
}

/* HOLD, DISCARD, ...: what access(5) knows too. */
static int
apply_verdict(struct smtpd_checks *k, struct view value, const struct item *it)
{
	struct action a;
	char *argument, word[ACTION_WORD_MAX];

	action_parse(value, &a);
	argument = x_strndup(a.text.p, a.text.len);
	log_check(k, a.kind == ACTION_WARN ? "warning" : action_log_word(a.kind, word), it, a.text);
	if (a.kind != ACTION_INFO && a.kind != ACTION_WARN && !smtpd_verdict_apply(k->s->tx, a.kind, argument))
		log_warn("%s: action %s is malformed, and ignored", k->s->tx->queue_id, lq(value));
	free(argument);
	return GO_ON;
}

/* --- changes ---------------------------------------------------------------------------------- */

static int
split_field(struct view text, struct view *name, struct view *value)
{
	return view_cut(text, ':', name, value) && name->len > 0 ? 0 : -1;
}

/* Of a header REPLACE and PREPEND need a header. */
static int
edit_list(struct smtpd_checks *k, enum check_action action, struct view argument, size_t *at)
{
	struct header_list *l = &k->s->tx->content->list;
	struct view name, value;
	int r;

	if (split_field(argument, &name, &value) < 0) {
		log_warn("%s: %s is no header field: the action is ignored", k->s->tx->queue_id, lq(argument));
		return GO_ON;
	}
	if (action == CHECK_REPLACE)
		r = header_list_replace(l, *at, name, value, &k->err);
	else
		r = header_list_insert(l, (*at)++, name, value, &k->err);
	return r < 0 ? FAILED : GO_ON;
}

static int
copy_range(struct smtpd_checks *k, uint64_t from, uint64_t to)
{
	struct body *out = &k->edited;

	while (from < to) {
		size_t n = to - from < PIECE ? (size_t)(to - from) : PIECE;
		char *p = buf_reserve(&out->pending, n);

		if (p == NULL)
			return err_set(&k->err, ERR_TEMP, "out of memory");
		if (body_read(&k->s->tx->content->body, from, p, n, &k->err) < 0)
			return FAILED;
		out->pending.len += n;
		from += n;
		if (body_appended(out, &k->err) < 0)
			return FAILED;
	}
	return GO_ON;
}

/* From here on the body is another: what came before is copied. */
static int
cut_out(struct smtpd_checks *k, uint64_t from, uint64_t to)
{
	if (!k->is_edited) {
		body_init(&k->edited);
		k->is_edited = true;
		k->copied_to = k->s->tx->content->body_at;
	}
	if (copy_range(k, k->copied_to, from) < 0)
		return FAILED;
	k->copied_to = to;
	return GO_ON;
}

static int
put_line(struct smtpd_checks *k, struct view text)
{
	buf_append_view(&k->edited.pending, text);
	buf_append_str(&k->edited.pending, "\r\n");
	return body_appended(&k->edited, &k->err) < 0 ? FAILED : GO_ON;
}

/* --- what a table has answered ------------------------------------------------------------------------------ */

static int
leave_out(struct smtpd_checks *k, const struct item *it)
{
	if (it->field == NULL)
		return cut_out(k, it->from, it->to);
	header_list_remove(&k->s->tx->content->list, (*it->field)--);
	return GO_ON;
}

static int
put_in(struct smtpd_checks *k, enum check_action action, struct view text, const struct item *it)
{
	if (it->field != NULL)
		return edit_list(k, action, text, it->field);
	if (cut_out(k, it->from, action == CHECK_REPLACE ? it->to : it->from) < 0)
		return FAILED;
	return put_line(k, text);
}

static int
act(struct smtpd_checks *k, struct view value, const struct item *it)
{
	struct view argument;
	enum check_action action = check_action_parse(value, &argument);

	switch (action) {
	case CHECK_REJECT:
		log_check(k, "reject", it, argument);
		return refuse(k, value);
	case CHECK_STRIP:
		log_check(k, "strip", it, argument);
		return leave_out(k, it);
	case CHECK_IGNORE:
		return leave_out(k, it);
	case CHECK_REPLACE:
	case CHECK_PREPEND:
		log_check(k, action == CHECK_REPLACE ? "replace" : "prepend", it, argument);
		return put_in(k, action, argument, it);
	case CHECK_VERDICT:
		return apply_verdict(k, value, it);
	case CHECK_PASS:
		k->has_passed = true;
		return GO_ON;
	case CHECK_UNKNOWN:
		log_warn("%s: unknown action in %s_checks: %s", k->s->tx->queue_id, it->where, lq(value));
		return GO_ON;
	case CHECK_NONE:
		break;
	}
	return GO_ON;
}

static int
look_up(struct smtpd_checks *k, struct smtpd_tables *tables, const struct item *it)
{
	struct lookup_key key = { .text = it->text };
	struct buf value;
	size_t which;
	int r = GO_ON;

	buf_init(&value, VALUE_MAX);
	if (smtpd_lookup_now(tables, &key, 1, &value, &which, &k->err) == LOOKUP_TEMP)
		r = FAILED;
	else if (value.len > 0)
		r = act(k, buf_view(&value), it);
	buf_clear(&value);
	return r;
}

/* --- the message's own fields ------------------------------------------------------------------------------ */

static int
check_fields(struct smtpd_checks *k)
{
	const struct checks_config *conf = &k->s->server->conf->checks;
	struct header_list *l = &k->s->tx->content->list;
	struct buf text;
	int r = GO_ON;

	buf_init(&text, HEADER_LIST_MAX_BYTES);
	/* a field that is removed takes the index one back, below 0 too: the loop's own step undoes that */
	for (size_t at = 0; r == GO_ON && at < l->count && !k->has_passed; at++) {
		struct smtpd_tables *tables =
		    mime_lines_is_mime_field(l->fields[at].name) ? conf->mime : conf->header;

		if (tables == NULL)
			continue;
		buf_reset(&text);
		buf_append_view(&text, l->fields[at].name);
		buf_append_byte(&text, ':');
		header_value_append(l->fields[at].value, &text);
		r = look_up(k, tables, &(struct item){ "header", buf_view(&text), .field = &at });
	}
	buf_clear(&text);
	return r;
}

/* --- the body ------------------------------------------------------------------------------ */

static struct smtpd_tables *
tables_for(struct smtpd_checks *k, enum mime_line_kind kind, struct view text)
{
	const struct checks_config *conf = &k->s->server->conf->checks;

	switch (kind) {
	case LINE_MIME_HEADER:
		return conf->mime;
	case LINE_NESTED_HEADER:
		return conf->nested;
	case LINE_TEXT:
		k->text_seen += text.len;
		return k->text_seen <= conf->body_limit ? conf->body : NULL;
	default:
		k->text_seen = 0;
		return NULL;
	}
}

/* From mime_lines: fields are told when the next line begins, text at once. */
static int
on_line(void *arg, enum mime_line_kind kind, struct view text, unsigned lines)
{
	struct smtpd_checks *k = arg;
	bool is_field = kind == LINE_HEADER || kind == LINE_MIME_HEADER || kind == LINE_NESTED_HEADER;
	struct item it = { is_field ? "header" : "body", text,
		.from = is_field ? k->item_at : k->line_at, .to = is_field ? k->line_at : k->at };
	struct smtpd_tables *tables;

	(void)lines;
	k->item_at = it.to;
	if (it.from < k->s->tx->content->body_at || k->has_passed)
		return GO_ON; /* the message's own section was looked at as a list */
	tables = tables_for(k, kind, text);
	return tables != NULL ? look_up(k, tables, &it) : GO_ON;
}

static int
feed_line(struct smtpd_checks *k, struct view line, size_t raw_len)
{
	int r;

	k->at += raw_len;
	if (line.len > 0 && line.p[line.len - 1] == '\r')
		line.len--;
	r = mime_lines_feed(&k->lines, line);
	k->line_at = k->at;
	return r;
}

/* The next piece of the content.  1 = there is more. */
static int
feed_piece(struct smtpd_checks *k, bool *more)
{
	struct smtpd_content *c = k->s->tx->content;
	uint64_t from = k->at + k->line.len, size = body_size(&c->body);
	size_t n = size - from < PIECE ? (size_t)(size - from) : PIECE;
	struct view rest, line;
	size_t used = 0;
	char *p = buf_reserve(&k->line, n);
	int r = GO_ON;

	if (p == NULL)
		return err_set(&k->err, ERR_LIMIT, "a line of more than %zu bytes", k->line.max);
	if (body_read(&c->body, from, p, n, &k->err) < 0)
		return FAILED;
	k->line.len += n;
	*more = from + n < size;
	rest = buf_view(&k->line);
	while (r == GO_ON && view_cut(rest, '\n', &line, &rest)) {
		used += line.len + 1;
		r = feed_line(k, line, line.len + 1);
	}
	buf_consume(&k->line, used);
	if (r == GO_ON && !*more && k->line.len > 0)
		r = feed_line(k, buf_view(&k->line), k->line.len);
	return r;
}

/* --- the way through ------------------------------------------------------------------------------------------ */

static int
use_edited(struct smtpd_checks *k)
{
	struct smtpd_content *c = k->s->tx->content;

	if (!k->is_edited)
		return GO_ON;
	if (copy_range(k, k->copied_to, body_size(&c->body)) < 0 || body_finish(&k->edited, &k->err) < 0)
		return FAILED;
	body_clear(&c->body);
	c->body = k->edited;
	c->body_at = 0;
	c->is_replaced = true;
	body_init(&k->edited);
	k->is_edited = false;
	return GO_ON;
}

void
smtpd_checks_free(struct smtpd_checks *k)
{
	if (k == NULL)
		return;
	loop_timer_stop(&k->turn);
	mime_lines_clear(&k->lines);
	buf_clear(&k->line);
	if (k->is_edited)
		body_clear(&k->edited);
	free(k);
}

static enum cmd_result
checked(struct smtpd_session *s, int result)
{
	struct smtpd_checks *k = s->tx->checks;
	gate_then *then = k->then;

	if (result == GO_ON && k->lines.is_too_deep && s->server->conf->checks.is_strict) {
		smtpd_log_message(s, "reject", "mime-error nesting exceeds safety limit",
		    view_of(""), view_of(""));
		smtpd_reply(s, 554, "5.6.0", "Error: MIME nesting exceeds safety limit");
		result = REFUSED;
	} else if (result == FAILED) {
		struct content_verdict v = smtpd_content_unreadable(&k->err);

		log_warn("%s: %s", s->tx->queue_id, k->err.text);
		smtpd_reply(s, v.code, v.dsn, "%s", v.text);
	}
	s->tx->checks = NULL;
	smtpd_checks_free(k);
	return then(s, result == GO_ON);
}

/* One turn.  CMD_WAIT: another one follows. */
static enum cmd_result
step(struct smtpd_session *s)
{
	struct smtpd_checks *k = s->tx->checks;
	bool more = false;
	int r = feed_piece(k, &more);

	if (r == GO_ON && more && !k->has_passed) {
		loop_timer_soon(&k->turn);
		return CMD_WAIT;
	}
	if (r == GO_ON)
		r = mime_lines_finish(&k->lines);
	if (r == GO_ON)
		r = use_edited(k);
	return checked(s, r);
}

static void
on_turn(void *arg)
{
	struct smtpd_session *s = arg;

	smtpd_gate_settled(s, step(s));
}

enum cmd_result
smtpd_checks_gate(struct smtpd_session *s, enum smtpd_stage stage, gate_then *then)
{
	const struct smtpd_config *conf = s->server->conf;
	struct smtpd_checks *k;
	int r;

	if (stage != STAGE_END_OF_DATA ||
	    (!conf->checks.is_wanted &&
		!(conf->checks.is_strict && s->tx->content->headers.is_compound)))
		return then(s, true);
	k = s->tx->checks = x_calloc(1, sizeof *k);
	k->s = s;
	k->then = then;
	loop_timer_init(&k->turn, s->server->loop, on_turn, s);
	mime_lines_init(&k->lines, conf->checks.field_max, conf->checks.nesting, on_line, k);
	buf_init(&k->line, conf->data_line_limit + 2 * PIECE);
	if (conf->checks.is_wanted) {
		r = smtpd_content_headers(s->tx->content, &k->err) < 0 ? FAILED : check_fields(k);
		if (r != GO_ON || k->has_passed)
			return checked(s, r);
	}
	return step(s);
}
