/* handover.c - master asks whose ticket it was handed and gets an edge bound to the answer; over
 * that edge, and nowhere else, the session redeems the ticket (DESIGN 3, Login). */
#include "authd/authd.h"
#include "authd/worker_msg.h"

#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/log/log.h"
#include "common/user/user_record.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAY_REDEEM = 1, HAS_REDEEMED = 2 }; /* states of a session's edge; 1 is the first (conn.h) */

/* --- master ----------------------------------------------------------------------------------- */

struct account_request {
	struct request request;
	struct ticket *ticket; /* owned */
};

static void
reply_account(struct request *r, unsigned status, const char *account, uint32_t uid, uint32_t gid,
    const char *home, int edge)
{
	struct ipc_out o;

	if (r->peer == NULL)
		return;
	ipc_reply_init(&o);
	ipc_put_u32(&o, status);
	ipc_put_str(&o, account);
	ipc_put_u32(&o, uid);
	ipc_put_u32(&o, gid);
	ipc_put_str(&o, home);
	ipc_put_fd(&o, edge);
	ipc_conn_reply(r->peer->conn, r->id, &o);
}

static void
account_request_end(struct account_request *r, unsigned status)
{
	if (status != AUTHD_OK)
		reply_account(&r->request, status, "", 0, 0, "", r->request.authd->null_fd);
	ticket_free(&r->ticket);
	authd_request_free(&r->request);
}

static enum role
session_role(const char *service)
{
	return strcmp(service, "pop3") == 0 ? ROLE_POP3D : ROLE_IMAPD;
}

static bool
uid_is_allowed(const struct authd *a, uint32_t uid, const char *account)
{
	if (uid >= a->conf.min_uid && uid <= a->conf.max_uid)
		return true;
	log_error("%s: uid %u is outside virtual_minimum_uid..virtual_maximum_uid", lqs(account),
	    (unsigned)uid);
	return false;
}

static void
on_account_known(void *arg, struct ipc_in *in)
{
	struct account_request *r = arg;
	struct authd *a = r->request.authd;
	unsigned status = in == NULL ? AUTHD_TEMP : ipc_get_u32(in);
	const char *account, *home;
	uint32_t uid, gid;
	struct peer *edge;
	int fd;

	if (status != AUTHD_OK || r->request.peer == NULL) {
		account_request_end(r, status == AUTHD_OK ? AUTHD_TEMP : status);
		return;
	}
	account = ipc_get_str(in);
	uid = ipc_get_u32(in);
	gid = ipc_get_u32(in);
	home = ipc_get_str(in);
	edge = uid_is_allowed(a, uid, account)
		   ? authd_peer_mint(a, session_role(r->ticket->service), &fd)
		   : NULL;
	if (edge == NULL) {
		account_request_end(r, AUTHD_TEMP);
		return;
	}
	edge->ticket = r->ticket;
	r->ticket = NULL;
	reply_account(&r->request, AUTHD_OK, account, uid, gid, home, fd);
	close(fd);
	account_request_end(r, AUTHD_OK);
}

static void
on_account(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct peer *p = arg;
	struct account_request *r = authd_request_new(sizeof *r, p, in->id);
	struct view bytes = ipc_get_bytes(in);
	const char *service = ipc_get_str(in);
	pid_t front = (pid_t)ipc_get_u32(in);
	struct ipc_out o;

	(void)c;
	r->ticket = ticket_take(
	    &p->authd->tickets, clock_mono_ms(), bytes, service, front, ipc_get_u32(in));
	if (r->ticket == NULL) {
		log_warn("front[%d]: a ticket for %s that is forged, used, expired or another's",
		    (int)front, lqs(service));
		account_request_end(r, AUTHD_NO);
		return;
	}
	ipc_out_init(&o, DB_ACCOUNT);
	ipc_put_str(&o, r->ticket->account);
	authd_request_ask_db(&r->request, &o, DB_ACCOUNT_SIG, on_account_known);
}

static void
on_mint_delivery(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct peer *p = arg, *edge;
	uint32_t uid = ipc_get_u32(in);
	struct ipc_out o;
	int fd = -1;

	edge = authd_peer_mint(p->authd, ROLE_DELIVERY, &fd);
	if (edge != NULL)
		edge->mailbox_uid = uid;
	ipc_reply_init(&o);
	ipc_put_u32(&o, edge == NULL ? AUTHD_TEMP : AUTHD_OK);
	ipc_put_fd(&o, edge == NULL ? p->authd->null_fd : fd);
	ipc_conn_reply(c, in->id, &o);
	fd_close(&fd);
}

const struct ipc_handler authd_from_master[] = {
	{ AUTHD_ACCOUNT, "bsuu", IPC_STATE_ANY, on_account },
	{ AUTHD_MINT_DELIVERY, "u", IPC_STATE_ANY, on_mint_delivery },
	{ 0 },
};

/* --- sessions --------------------------------------------------------------------------------- */

static void
on_redeem(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct peer *p = arg;
	bool fits = ticket_matches(p->ticket, clock_mono_ms(), ipc_get_bytes(in));
	struct ipc_out o;

	ipc_conn_set_state(c, HAS_REDEEMED);
	ipc_reply_init(&o);
	ipc_put_u32(&o, fits ? AUTHD_OK : AUTHD_NO);
	ipc_put_str(&o, fits ? p->ticket->account : "");
	ipc_conn_reply(c, in->id, &o);
	if (!fits)
		log_warn(
		    "%s: a ticket that is forged, expired or another's", role_row(p->role)->name);
	ticket_free(&p->ticket);
}

const struct ipc_handler authd_from_session[] = {
	{ AUTHD_REDEEM, "b", MAY_REDEEM, on_redeem },
	{ 0 },
};

/* --- delivery processes ----------------------------------------------------------------------- */

static void
reply_mailbox(struct request *r, unsigned status, const char *account, uint32_t uid, uint32_t gid,
    const char *home)
{
	struct ipc_out o;

	if (r->peer != NULL) {
		ipc_reply_init(&o);
		ipc_put_u32(&o, status);
		ipc_put_str(&o, status == AUTHD_OK ? account : "");
		ipc_put_u32(&o, status == AUTHD_OK ? uid : 0);
		ipc_put_u32(&o, status == AUTHD_OK ? gid : 0);
		ipc_put_str(&o, status == AUTHD_OK ? home : "");
		ipc_conn_reply(r->peer->conn, r->id, &o);
	}
	authd_request_free(r);
}

/* An edge bound to one uid learns of no mailbox of another. */
static void
on_mailbox_known(void *arg, struct ipc_in *in)
{
	struct request *r = arg;
	unsigned status = in == NULL ? AUTHD_TEMP : ipc_get_u32(in);
	const char *account = "", *home = "";
	uint32_t uid = 0, gid = 0;

	if (status == AUTHD_OK) {
		account = ipc_get_str(in);
		uid = ipc_get_u32(in);
		gid = ipc_get_u32(in);
		home = user_home_beneath(ipc_get_str(in), r->authd->conf.mail_base);
	}
	if (status == AUTHD_OK && r->peer != NULL && uid != r->peer->mailbox_uid)
		status = AUTHD_NO;
	if (status == AUTHD_OK && home == NULL) {
		log_error("%s: home is not beneath virtual_mailbox_base", lqs(account));
		status = AUTHD_TEMP;
	}
	reply_mailbox(r, status, account, uid, gid, home);
}

static void
on_mailbox(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct request *r = authd_request_new(sizeof *r, arg, in->id);
	struct ipc_out o;

	(void)c;
	ipc_out_init(&o, DB_MAILBOX);
	ipc_put_str(&o, ipc_get_str(in));
	authd_request_ask_db(r, &o, DB_ACCOUNT_SIG, on_mailbox_known);
}

const struct ipc_handler authd_from_delivery[] = {
	{ AUTHD_MAILBOX, "s", IPC_STATE_ANY, on_mailbox },
	{ 0 },
};
