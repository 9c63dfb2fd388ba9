#include "smtpd/cmd_data.h"
#include "common/base/fd.h"
#include "common/ipc/msg/qmgr.h"
#include "common/log/log.h"
#include "smtpd/commit.h"
#include "smtpd/content.h"
#include "smtpd/session.h"
#include "smtpd/transaction.h"

#include <errno.h>
#include <stdio.h>

enum { BODY_TIMEOUT_MS = 60000 };

uint64_t
smtpd_content_size(const struct smtpd_session *s)
{
	return s->tx->content != NULL ? s->tx->content->data.size : 0;
}

/* RFC 5321 3.3: 503 when RCPT never came, 554 when none was accepted. */
bool
smtpd_check_data(struct smtpd_session *s, struct view args)
{
	(void)args;
	if (s->state == ST_RCPT)
		return true;
	if (s->tx->ntried == 0)
		smtpd_reply(s, 503, "5.5.1", "Error: need RCPT command");
	else
		smtpd_reply(s, 554, "5.5.1", "Error: no valid recipients");
	return false;
}

enum cmd_result
smtpd_content_refused(struct smtpd_session *s, const struct content_verdict *v)
{
	smtpd_log_reject(s, "reject", "END-OF-MESSAGE", v->code, v->dsn, v->text);
	smtpd_reply(s, v->code, v->dsn, "%s", v->text);
	smtpd_session_reset(s);
	return CMD_DONE;
}

/* --- the queue id, then 354 ----------------------------------------------------------------------- */

static bool
normalizes(const struct smtpd_session *s)
{
	const struct smtpd_ext_config *ext = &s->server->conf->ext;

	return ext->normalizes_bare_lf ||
	       net_list_has(&ext->bare_lf_exclusions, &s->client.address);
}

struct content_verdict
smtpd_content_locked(struct smtpd_session *s)
{
	const struct content_verdict v = { 550, "5.7.1",
		"Mail of this login is on hold, ask the postmaster" };

	smtpd_log_reject(s, "reject", smtpd_session_where(s), v.code, v.dsn, v.text);
	return v;
}

bool
smtpd_content_open(struct smtpd_session *s, unsigned modes, struct content_verdict *v)
{
	const struct smtpd_config *conf = s->server->conf;
	struct smtpd_transaction *tx = s->tx;

	if (tx->queue_id == NULL && tx->begin_status == QMGR_FULL)
		*v = (struct content_verdict){ 452, "4.3.1", "Insufficient system storage" };
	else if (tx->queue_id == NULL && tx->begin_status == QMGR_LOCKED)
		*v = smtpd_content_locked(s);
	else if (tx->queue_id == NULL)
		*v = (struct content_verdict){ 451, "4.3.0", "Error: queue file write error" };
	else {
		tx->content = smtpd_content_new(conf->message_size_limit, conf->data_line_limit,
		    modes | (normalizes(s) ? DATA_NORMALIZE : 0));
		tx->content->drop.names = conf->ext.dropped_headers;
		tx->content->drop.nnames = conf->ext.ndropped_headers;
		if (!net_list_has(&conf->ext.authserv_trusted_hosts, &s->client.address))
			tx->content->drop.authserv_id = conf->ext.authserv_id;
	}
	return tx->queue_id != NULL;
}

static enum cmd_result
data_ready(struct smtpd_session *s)
{
	struct content_verdict v;

	if (!smtpd_content_open(s, 0, &v)) {
		smtpd_reply(s, v.code, v.dsn, "%s", v.text);
		smtpd_session_reset(s);
		return CMD_DONE;
	}
	smtpd_session_set_state(s, ST_CONTENT);
	smtpd_reply(s, 354, NULL, "End data with <CR><LF>.<CR><LF>");
	return CMD_MORE;
}

void
smtpd_data_begun(struct smtpd_session *s)
{
	enum cmd_result r = s->row->cmd == smtpd_cmd_data ? data_ready(s) : smtpd_chunk_begun(s);

	if (r == CMD_DONE)
		smtpd_session_done(s);
	else
		smtpd_session_continue(s);
}

static enum cmd_result
data_permitted(struct smtpd_session *s, bool permitted)
{
	if (!permitted)
		return CMD_DONE;
	return smtpd_transaction_await(s) ? CMD_WAIT : data_ready(s);
}

enum cmd_result
smtpd_cmd_data(struct smtpd_session *s)
{
	return smtpd_gates_start(s, STAGE_DATA, data_permitted);
}

/* --- the content ------------------------------------------------------------------------------------ */

static void
on_body_file(void *arg, struct ipc_in *in)
{
	struct smtpd_session *s = arg;
	struct smtpd_content *c = s->tx->content;
	uint32_t status = QMGR_TEMP;
	struct err err;
	int fd = -1;

	s->call = NULL;
	if (in != NULL) {
		status = ipc_get_u32(in);
		fd = ipc_get_fd(in);
	}
	errno = ENOSPC;
	if (status == QMGR_FULL)
		err_sys(&err, ERR_TEMP, "no file for the message: insufficient queue space");
	else
		err_set(&err, ERR_TEMP, "no file for the message: the queue manager %s",
		    in == NULL ? "does not answer" : "cannot make one");
	if (status != QMGR_OK) {
		fd_close(&fd);
		smtpd_content_fail(c, &err);
	} else if (body_use_file(&c->body, fd, &err) < 0) {
		smtpd_content_fail(c, &err);
	}
	if (c->has_failed)
		log_warn("%s: %s", s->tx->queue_id, c->why.text);
	smtpd_session_continue(s);
}

/* The input waits meanwhile: the client's TCP window is our back-pressure. */
static void
ask_for_file(struct smtpd_session *s)
{
	uint64_t limit = s->server->conf->message_size_limit;
	struct ipc_out o;

	ipc_out_init(&o, QMGR_BODY);
	ipc_put_str(&o, s->tx->queue_id);
	ipc_put_u64(&o, limit > 0 ? limit : INT64_MAX);
	s->is_waiting = true;
	s->call =
	    ipc_edge_call(s->server->qmgr, &o, QMGR_BODY_SIG, BODY_TIMEOUT_MS, on_body_file, s);
}

static enum cmd_result
content_permitted(struct smtpd_session *s, bool permitted)
{
	if (!permitted) {
		smtpd_session_reset(s);
		return CMD_DONE;
	}
	return smtpd_commit(s);
}

enum cmd_result
smtpd_content_complete(struct smtpd_session *s)
{
	const struct smtpd_config *conf = s->server->conf;
	struct smtpd_content *c = s->tx->content;
	struct content_verdict v;
	struct err err;

	if (!smtpd_content_is_spoilt(c) && body_finish(&c->body, &err) < 0)
		smtpd_content_fail(c, &err);
	if (c->has_failed)
		log_warn("%s: queue file write error: %s", s->tx->queue_id, c->why.text);
	if (smtpd_content_is_refused(c, conf->hop_limit, conf->header_limit, &v))
		return smtpd_content_refused(s, &v);
	return smtpd_gates_start(s, STAGE_END_OF_DATA, content_permitted);
}

int
smtpd_content_take(struct smtpd_session *s, uint64_t max, size_t *used)
{
	struct smtpd_content *c = s->tx->content;
	struct view in = stream_input(s->stream);
	int r;

	if (in.len > max)
		in.len = (size_t)max;
	r = smtpd_content_feed(c, in, used);
	smtpd_session_progress(s, *used);
	stream_consume(s->stream, *used);
	if (r == 1 && !smtpd_content_is_spoilt(c) && body_wants_file(&c->body) &&
	    s->explain == NULL)
		ask_for_file(s);
	return r;
}

bool
smtpd_content_step(struct smtpd_session *s)
{
	enum cmd_result result;
	size_t used;

	if (!smtpd_session_has_more_input(s))
		return false;
	if (smtpd_content_take(s, UINT64_MAX, &used) == 1)
		return used > 0;
	result = smtpd_content_complete(s);
	if (result == CMD_DONE)
		smtpd_session_account(s);
	else
		s->is_waiting = true;
	return true;
}
