#include "common/base/mem.h"
#include "common/log/log.h"
#include "smtpd/command.h"
#include "smtpd/content.h"
#include "smtpd/milter.h"
#include "smtpd/milter_private.h"
#include "smtpd/params.h"
#include "smtpd/rcpt_lookup.h"
#include "smtpd/transaction.h"

#include <stdlib.h>

enum { RCPT_CHANGES_MAX = 10000, HEADER_CHANGES_MAX = 10000 }; /* of one milter, to one message */

static struct smtpd_content *
content_of(const struct milter_session *a)
{
	return a->session->tx->content;
}

/* --- the message out ------------------------------------------------------------------------------------ */

int
milter_replay_start(struct milter *m, struct err *err)
{
	struct milter_session *a = m->all;
	struct smtpd_content *c = content_of(a);

	if (smtpd_content_headers(c, err) < 0)
		return -1;
	a->replay = REPLAY_HEADERS;
	a->next_field = 0;
	a->body_off = c->body_at;
	a->skips_body = false;
	m->is_busy = true;
	m->asked = 0;
	return 0;
}

void
milter_replay_clear(struct milter_session *a)
{
	x_free(&a->chunk);
	body_clear(&a->new_body);
	a->has_new_body = a->new_body_saw_cr = false;
	for (size_t i = 0; i < a->nrcpts; i++) {
		free(a->rcpts[i].address);
		free(a->rcpts[i].orcpt);
	}
	x_free(&a->rcpts);
	a->nrcpts = a->next_rcpt = a->nheader_changes = 0;
	a->is_resolving = false;
}

static struct view
field_name(const struct listed_field *f)
{
	return view_trim(f->name);
}

/* Folds are LF and white space on this wire; the space behind the colon is part of the value only where that was
 * agreed on. */
static void
put_field(struct milter *m, const struct listed_field *f, struct buf *out)
{
	struct view v = f->value;
	struct buf value;

	buf_init(&value, HEADER_LIST_MAX_BYTES);
	if (!(m->protocol & MILTER_LEADING_SPACE) && v.len > 0 && v.p[0] == ' ')
		v = view_make(v.p + 1, v.len - 1);
	header_value_append(v, &value);
	v = buf_view(&value);
	milter_put_strings(out, MILTER_HEADER, field_name(f), &v);
	buf_clear(&value);
}

/* What follows a step: true, go on; false, something is waited for. */
static bool
sent(struct milter *m, enum milter_command command, uint32_t no_reply, struct buf *out)
{
	milter_link_send(m, out);
	buf_clear(out);
	if (!(m->protocol & no_reply)) {
		milter_link_expect(m, command);
		return false;
	}
	return !milter_link_is_full(m);
}

static bool
step_headers(struct milter *m)
{
	struct milter_session *a = m->all;
	const struct header_list *l = &content_of(a)->list;
	struct buf out;

	if ((m->protocol & MILTER_NO_HEADERS) || a->next_field == l->count) {
		a->replay = REPLAY_EOH;
		return true;
	}
	buf_init(&out, HEADER_LIST_MAX_BYTES + 4096);
	if (a->next_field == 0)
		milter_link_put_macros(m, MILTER_HEADER, &out);
	put_field(m, &l->fields[a->next_field++], &out);
	return sent(m, MILTER_HEADER, MILTER_NR_HEADER, &out);
}

static bool
step_eoh(struct milter *m)
{
	struct buf out;

	m->all->replay = REPLAY_BODY;
	if (m->protocol & MILTER_NO_EOH)
		return true;
	buf_init(&out, 4096);
	milter_link_put_macros(m, MILTER_EOH, &out);
	milter_put(&out, MILTER_EOH, "", 0);
	return sent(m, MILTER_EOH, MILTER_NR_EOH, &out);
}

/* Page cache: it was written a moment ago. */
static int
read_chunk(struct milter_session *a, size_t *len, struct err *err)
{
	const struct body *b = &content_of(a)->body;
	uint64_t rest = body_size(b) - a->body_off;

	*len = rest < MILTER_CHUNK ? (size_t)rest : MILTER_CHUNK;
	if (a->chunk == NULL)
		a->chunk = x_malloc(MILTER_CHUNK);
	if (body_read(b, a->body_off, a->chunk, *len, err) < 0)
		return -1;
	a->body_off += *len;
	return 0;
}

static bool
step_body(struct milter *m)
{
	struct milter_session *a = m->all;
	struct buf out;
	struct err err;
	size_t len;

	if ((m->protocol & MILTER_NO_BODY) || a->skips_body ||
	    a->body_off >= body_size(&content_of(a)->body)) {
		a->replay = REPLAY_EOM;
		return true;
	}
	if (read_chunk(a, &len, &err) < 0) {
		log_warn("%s: cannot be shown to milter %s: %s", a->session->tx->queue_id,
		    m->conf->endpoint, err.text);
		loop_timer_soon(&a->unreadable);
		return false;
	}
	buf_init(&out, MILTER_CHUNK + 100);
	milter_put(&out, MILTER_BODY, a->chunk, len);
	return sent(m, MILTER_BODY, MILTER_NR_BODY, &out);
}

static bool
step_eom(struct milter *m)
{
	struct buf out;

	m->all->replay = REPLAY_DONE;
	x_free(&m->all->chunk);
	buf_init(&out, 4096);
	milter_link_put_macros(m, MILTER_EOM, &out);
	milter_put(&out, MILTER_EOM, "", 0);
	return sent(m, MILTER_EOM, 0, &out);
}

void
milter_replay_step(struct milter *m)
{
	static bool (*const steps[])(struct milter * m) = {
		[REPLAY_HEADERS] = step_headers,
		[REPLAY_EOH] = step_eoh,
		[REPLAY_BODY] = step_body,
		[REPLAY_EOM] = step_eom,
	};

	m->asked = 0;
	while (steps[m->all->replay](m))
		;
}

/* --- changes of headers ----------------------------------------------------------------------------------- */

/* The value of a field that the milter gives: with its leading space, as it stands in a message. */
static int
with_space(const struct milter *m, struct view value, struct buf *out, struct err *err)
{
	buf_init(out, MILTER_PACKET_MAX + 1);
	if (!(m->protocol & MILTER_LEADING_SPACE))
		buf_append_byte(out, ' ');
	buf_append_view(out, value);
	return out->failed ? err_set(err, ERR_LIMIT, "header too long") : 0;
}

/* Position 0 is above our own Received:, which to the milter's count is the field that follows those at the top. */
static int
insert_at(struct smtpd_content *c, size_t at, struct view name, struct view value, struct err *err)
{
	bool is_top = at <= c->ntop;

	if (header_list_insert(&c->list, is_top ? at : at - 1, name, value, err) < 0)
		return -1;
	c->ntop += is_top;
	return 0;
}

/* An empty value removes the field; one that is not there is added (Sendmail and Postfix do so). */
static int
change_header(
    struct smtpd_content *c, const struct milter_reply *r, struct view value, struct err *err)
{
	size_t at = header_list_find(&c->list, r->a, r->index > 0 ? r->index : 1);

	if (r->b.len == 0) {
		if (at < c->ntop)
			c->ntop--;
		if (at < c->list.count)
			header_list_remove(&c->list, at);
		return 0;
	}
	if (at == c->list.count)
		return header_list_insert(&c->list, at, r->a, value, err);
	return header_list_replace(&c->list, at, r->a, value, err);
}

static int
change_headers(struct milter *m, const struct milter_reply *r, struct err *err)
{
	struct smtpd_content *c = content_of(m->all);
	struct buf value;
	int result;

	if (m->all->nheader_changes++ == HEADER_CHANGES_MAX)
		return err_set(err, ERR_LIMIT, "too many changes of headers");
	result = with_space(m, r->b, &value, err);
	if (result < 0)
		;
	else if (r->answer == MILTER_ADDHEADER)
		result = header_list_insert(&c->list, c->list.count, r->a, buf_view(&value), err);
	else if (r->answer == MILTER_INSHEADER)
		result = insert_at(c, r->index, r->a, buf_view(&value), err);
	else
		result = change_header(c, r, buf_view(&value), err);
	buf_clear(&value);
	return result;
}

/* --- changes of the body ---------------------------------------------------------------------------------- */

/* The rules for what a client sends hold for this too: lines end in CRLF, and there is no NUL. */
static void
append_clean(struct milter_session *a, struct view in)
{
	struct buf *out = &a->new_body.pending;

	for (size_t i = 0; i < in.len; i++) {
		char c = in.p[i];

		if (c == '\0')
			continue;
		if (c == '\n' && !a->new_body_saw_cr)
			buf_append_byte(out, '\r');
		else if (c != '\n' && a->new_body_saw_cr)
			buf_append_byte(out, '\n');
		buf_append_byte(out, c);
		a->new_body_saw_cr = c == '\r';
	}
}

static int
replace_body(struct milter_session *a, struct view in, struct err *err)
{
	uint64_t limit = a->session->server->conf->message_size_limit;

	a->has_new_body = true;
	if (limit > 0 && body_size(&a->new_body) + in.len > limit)
		return err_set(err, ERR_LIMIT, "a body beyond message_size_limit");
	while (in.len > 0) {
		size_t n = in.len < BODY_CHUNK / 2 ? in.len : BODY_CHUNK / 2;

		append_clean(a, view_make(in.p, n));
		in = view_make(in.p + n, in.len - n);
		if (body_appended(&a->new_body, err) < 0)
			return -1;
	}
	return 0;
}

static int
apply_body(struct milter_session *a, struct err *err)
{
	struct smtpd_content *c = content_of(a);

	if (!a->has_new_body)
		return 0;
	if (a->new_body_saw_cr)
		buf_append_byte(&a->new_body.pending, '\n');
	if (body_finish(&a->new_body, err) < 0)
		return -1;
	body_clear(&c->body);
	c->body = a->new_body;
	c->body_at = 0;
	c->is_replaced = true;
	body_init(&a->new_body);
	a->has_new_body = false;
	return 0;
}

/* --- changes of the envelope -------------------------------------------------------------------------------- */

static bool
parse_address(struct view text, unsigned options, struct address *out, struct err *err)
{
	size_t used;

	if (text.len > 0 && text.p[0] == '<')
		return address_parse_path(text, options, out, &used, err) == 0 && used == text.len;
	return address_parse(text, options, out, err) == 0;
}

/* What an ESMTP parameter sets: of a sender in the transaction, of a recipient in r. */
struct milter_arg {
	const char *keyword;
	bool (*take)(struct smtpd_transaction *tx, struct milter_rcpt *r, struct view value);
};

static bool
arg_ret(struct smtpd_transaction *tx, struct milter_rcpt *r, struct view value)
{
	uint32_t flag = dsn_ret_parse(value);

	(void)r;
	if (flag != 0)
		tx->flags = (tx->flags & ~(uint32_t)(ENVELOPE_RET_FULL | ENVELOPE_RET_HDRS)) | flag;
	return flag != 0;
}

static bool
arg_envid(struct smtpd_transaction *tx, struct milter_rcpt *r, struct view value)
{
	const char *copy;

	(void)r;
	if (!dsn_envid_is_valid(value) ||
	    (copy = arena_strndup(&tx->arena, value.p, value.len)) == NULL)
		return false;
	tx->envid = copy;
	return true;
}

static bool
arg_notify(struct smtpd_transaction *tx, struct milter_rcpt *r, struct view value)
{
	(void)tx;
	r->notify = dsn_notify_parse(value);
	return r->notify != 0;
}

static bool
arg_orcpt(struct smtpd_transaction *tx, struct milter_rcpt *r, struct view value)
{
	char *orcpt = dsn_orcpt_take(value, (tx->flags & ENVELOPE_SMTPUTF8) != 0);

	if (orcpt == NULL)
		return false;
	free(r->orcpt);
	r->orcpt = orcpt;
	return true;
}

/* Those that Postfix's cleanup knows too (RFC 3461); what else a milter says of SIZE, BODY and the like we know better. */
static const struct milter_arg sender_args[] = { { "RET", arg_ret }, { "ENVID", arg_envid } };
static const struct milter_arg rcpt_args[] = { { "NOTIFY", arg_notify }, { "ORCPT", arg_orcpt } };

static bool
take_arg(struct milter *m, const struct milter_arg table[2], struct milter_rcpt *r,
    struct view keyword, struct view value)
{
	for (size_t i = 0; i < 2; i++)
		if (view_case_eq_str(keyword, table[i].keyword))
			return value.p != NULL && table[i].take(m->all->session->tx, r, value);
	return false;
}

static void
take_args(
    struct milter *m, const struct milter_arg table[2], struct milter_rcpt *r, struct view rest)
{
	struct view whole = rest, keyword, value;
	bool all_taken = true;
	struct err err;
	int next;

	while ((next = esmtp_param_next(&rest, &keyword, &value, &err)) == 0)
		all_taken &= take_arg(m, table, r, keyword, value);
	if (next < 0 || !all_taken)
		log_warn("%s: milter %s: not all ESMTP parameters are taken: %s",
		    m->all->session->tx->queue_id, m->conf->endpoint, lq(whole));
}

static int
change_sender(struct milter *m, const struct milter_reply *r, struct err *err)
{
	struct address *sender = &m->all->session->tx->sender, a;

	if (!parse_address(
		r->a, ADDRESS_ALLOW_NULL | ADDRESS_ALLOW_BARE | ADDRESS_ALLOW_UTF8, &a, err))
		return err_set(err, ERR_SYNTAX, "bad sender address %s", lq(r->a));
	take_args(m, sender_args, NULL, r->b);
	*sender = a;
	sender->domain = sender->text + (a.domain - a.text);
	return 0;
}

/* Done in their order once the milter has accepted. */
static int
note_rcpt(struct milter *m, const struct milter_reply *r, struct err *err)
{
	struct milter_session *a = m->all;
	struct address parsed;
	struct milter_rcpt *mine;

	if (!parse_address(r->a, ADDRESS_ALLOW_BARE | ADDRESS_ALLOW_UTF8, &parsed, err))
		return err_set(err, ERR_SYNTAX, "bad recipient address %s", lq(r->a));
	if (a->nrcpts == RCPT_CHANGES_MAX)
		return err_set(err, ERR_LIMIT, "too many changes of recipients");
	a->rcpts = x_realloc(a->rcpts, a->nrcpts + 1, sizeof *a->rcpts);
	mine = &a->rcpts[a->nrcpts++];
	*mine = (struct milter_rcpt){ .is_removed = r->answer == MILTER_DELRCPT,
		.address = x_strdup(parsed.text) };
	take_args(m, rcpt_args, mine, r->b);
	return 0;
}

static void
quarantine(struct milter *m, struct view reason)
{
	struct smtpd_session *s = m->all->session;
	char *why = x_asprintf("milter triggers HOLD action: %.*s", VIEW_ARG(reason));

	s->tx->verdicts.hold = true;
	smtpd_log_message(s, "milter-hold", "END-OF-MESSAGE", view_of(why), view_of(""));
	free(why);
}

int
milter_change(struct milter *m, const struct milter_reply *r, struct err *err)
{
	switch (r->answer) {
	case MILTER_ADDHEADER:
	case MILTER_INSHEADER:
	case MILTER_CHGHEADER:
		return change_headers(m, r, err);
	case MILTER_REPLBODY:
		return replace_body(m->all, r->a, err);
	case MILTER_CHGFROM:
		return change_sender(m, r, err);
	case MILTER_ADDRCPT:
	case MILTER_DELRCPT:
		return note_rcpt(m, r, err);
	default:
		quarantine(m, r->a);
		return 0;
	}
}

/* --- recipients, one after the other -------------------------------------------------------------------------- */

static bool
is_recipient(const struct recipient *r, const char *address)
{
	return view_case_eq_str(view_of(r->orig[0] != '\0' ? r->orig : r->address), address);
}

/* By the address of RCPT TO: all that it was expanded to. */
static void
remove_rcpt(struct smtpd_transaction *tx, const char *address)
{
	size_t kept = 0;

	for (size_t i = 0; i < tx->nrcpts; i++) {
		if (is_recipient(&tx->rcpts[i], address))
			map_remove(&tx->seen, view_of(tx->rcpts[i].address));
		else
			tx->rcpts[kept++] = tx->rcpts[i];
	}
	if (kept < tx->nrcpts)
		tx->only_rcpt = NULL;
	tx->nrcpts = kept;
}

static int
resolve(struct milter_session *a, const char *address, struct err *err)
{
	struct smtpd_session *s = a->session;
	struct address checked;

	if (address_parse(
		view_of(address), ADDRESS_ALLOW_BARE | ADDRESS_ALLOW_UTF8, &checked, err) < 0)
		return -1;
	s->tx->found = (struct smtpd_found){ .fact = FACT_UNKNOWN };
	a->is_resolving = true;
	smtpd_address_lookup(s, address, smtpd_milter_resolved);
	return 1;
}

int
milter_changes_apply(struct milter_session *a, struct err *err)
{
	if (apply_body(a, err) < 0)
		return -1;
	while (a->next_rcpt < a->nrcpts) {
		const struct milter_rcpt *r = &a->rcpts[a->next_rcpt++];

		if (!r->is_removed)
			return resolve(a, r->address, err);
		remove_rcpt(a->session->tx, r->address);
	}
	/* as in Postfix: a message that milters have left without recipients goes to nobody */
	if (a->session->tx->nrcpts == 0)
		a->session->tx->verdicts.discard = true;
	return 0;
}

/* A recipient that cannot be had is no reason to lose the message: the client tries again, and the log says why. */
static int
take_resolved(struct milter_session *a, struct err *err)
{
	struct smtpd_transaction *tx = a->session->tx;
	const struct milter_rcpt *r = &a->rcpts[a->next_rcpt - 1];

	if (tx->found.count == 0)
		return err_set(err, ERR_TEMP, "recipient <%s> cannot be added: %s", lqs(r->address),
		    tx->found.fact == FACT_NO     ? "unknown"
		    : tx->found.fact == FACT_FULL ? "mailbox full"
						  : "lookup failed");
	if (smtpd_transaction_add(tx, r->address, r->orcpt, r->notify, err) < 0)
		return -1;
	tx->only_rcpt = NULL;
	return milter_changes_apply(a, err);
}

void
smtpd_milter_resolved(struct smtpd_session *s)
{
	struct milter_session *a = s->milters;
	struct err err;
	int r;

	a->is_resolving = false;
	r = take_resolved(a, &err);
	if (r > 0)
		return;
	if (r < 0)
		milter_changes_failed(a, &err);
	milter_settled(a);
}
