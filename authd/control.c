/* control.c - `estafeta user`, and `estafeta explain`, over the control edge.  Root may do all; a system user whose uid a
 * single account's record names may change that account's password. */
#include "authd/authd.h"
#include "authd/worker_msg.h"

#include "common/base/mem.h"
#include "common/log/log.h"
#include "common/user/user_record.h"

#include <stdio.h>
#include <stdlib.h>

struct change {
	struct request request;
	struct job hash;
	bool is_new;
	char address[USER_ADDRESS_MAX + 1];
	char password[USER_PASSWORD_MAX + 1]; /* until it is hashed */
	uint32_t uid, gid;
	char home[USER_HOME_MAX];
};

static void
reply_status(struct ipc_conn *c, uint32_t id, unsigned status, const char *text)
{
	struct ipc_out o;

	ipc_reply_init(&o);
	ipc_put_u32(&o, status);
	ipc_put_str(&o, text);
	ipc_conn_reply(c, id, &o);
}

static void
change_end(struct change *ch, unsigned status, const char *text)
{
	if (ch->request.peer != NULL)
		reply_status(ch->request.peer->conn, ch->request.id, status, text);
	mem_wipe(ch->password, sizeof ch->password);
	authd_request_free(&ch->request);
}

static bool
is_root(const struct peer *p)
{
	return p->uid == 0;
}

/* --- add and passwd: hash, then write --------------------------------------------------------- */

static void
on_changed(void *arg, struct ipc_in *in)
{
	struct change *ch = arg;
	unsigned status = in == NULL ? AUTHD_TEMP : ipc_get_u32(in);

	if (status == AUTHD_OK)
		log_info("%s: %s", ch->address, ch->is_new ? "account added" : "password changed");
	change_end(ch, status, in == NULL ? "the database does not answer" : ipc_get_str(in));
}

static void
on_hashed(struct job *j, struct ipc_in *in)
{
	struct change *ch = (struct change *)(void *)((char *)j - offsetof(struct change, hash));
	unsigned status = in == NULL ? AUTHD_TEMP : ipc_get_u32(in);
	const char *crypt, *scram;
	struct ipc_out o;

	mem_wipe(ch->password, sizeof ch->password);
	if (in == NULL) {
		change_end(ch, AUTHD_TEMP, "the worker did not answer");
		return;
	}
	crypt = ipc_get_str(in);
	scram = ipc_get_str(in);
	if (status != AUTHD_OK) {
		change_end(ch, status, ipc_get_str(in));
		return;
	}
	ipc_out_init(&o, ch->is_new ? DB_ADD : DB_PASSWD);
	ipc_put_str(&o, ch->address);
	if (ch->is_new) {
		ipc_put_u32(&o, ch->uid);
		ipc_put_u32(&o, ch->gid);
		ipc_put_str(&o, ch->home);
	}
	ipc_put_str(&o, crypt);
	ipc_put_str(&o, scram);
	authd_request_ask_db(&ch->request, &o, "us", on_changed);
}

static void
change_hash(struct change *ch)
{
	struct workers *ws = ch->request.authd->workers;
	struct ipc_out o;

	ipc_out_init(&o, SASL_HASH);
	ipc_put_str(&o, ch->password);
	ch->hash.done = on_hashed;
	workers_ask(ws, &ch->hash, &o, "usss", workers_turn(ws, 0));
}

/* NULL: answered already. */
static struct change *
change_new(struct peer *p, uint32_t id, bool is_new, const char *address, const char *password)
{
	struct change *ch = authd_request_new(sizeof *ch, p, id);
	struct err e;

	ch->is_new = is_new;
	if (user_address_fold(view_of(address), ch->address, &e) < 0) {
		change_end(ch, AUTHD_BAD, e.text);
		return NULL;
	}
	if (strlen(password) > USER_PASSWORD_MAX) {
		change_end(ch, AUTHD_BAD, "the password is too long");
		return NULL;
	}
	memcpy(ch->password, password, strlen(password) + 1);
	return ch;
}

static void
on_add(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct peer *p = arg;
	const char *address = ipc_get_str(in), *password = ipc_get_str(in), *home;
	uint32_t uid = ipc_get_u32(in), gid = ipc_get_u32(in);
	struct change *ch;

	home = ipc_get_str(in);
	if (!is_root(p)) {
		reply_status(c, in->id, AUTHD_NO, "only root adds accounts");
		return;
	}
	if (strlen(home) >= sizeof ch->home) {
		reply_status(c, in->id, AUTHD_BAD, "the home directory's name is too long");
		return;
	}
	ch = change_new(p, in->id, true, address, password);
	if (ch == NULL)
		return;
	ch->uid = uid;
	ch->gid = gid;
	memcpy(ch->home, home, strlen(home) + 1);
	change_hash(ch);
}

/* Not the uid that many accounts share: it would let each change the other's. */
static void
on_owner_known(void *arg, struct ipc_in *in)
{
	struct change *ch = arg;
	struct authd *a = ch->request.authd;
	unsigned status = in == NULL ? AUTHD_TEMP : ipc_get_u32(in);
	uint32_t uid = 0;

	if (status == AUTHD_OK) {
		ipc_get_str(in);
		uid = ipc_get_u32(in);
	}
	if (ch->request.peer == NULL || status == AUTHD_TEMP)
		change_end(ch, AUTHD_TEMP, "the database does not answer");
	else if (status != AUTHD_OK || uid == a->conf.owner_uid || uid != ch->request.peer->uid)
		change_end(ch, AUTHD_NO, "not your account");
	else
		change_hash(ch);
}

static void
on_passwd(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct peer *p = arg;
	const char *address = ipc_get_str(in);
	struct change *ch = change_new(p, in->id, false, address, ipc_get_str(in));
	struct ipc_out o;

	(void)c;
	if (ch == NULL)
		return;
	if (is_root(p)) {
		change_hash(ch);
		return;
	}
	ipc_out_init(&o, DB_ACCOUNT);
	ipc_put_str(&o, ch->address);
	authd_request_ask_db(&ch->request, &o, DB_ACCOUNT_SIG, on_owner_known);
}

static void
on_deleted(void *arg, struct ipc_in *in)
{
	authd_request_relay(arg, in, "us");
}

static void
on_del(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct peer *p = arg;
	char address[USER_ADDRESS_MAX + 1];
	struct ipc_out o;
	struct err e;

	if (!is_root(p)) {
		reply_status(c, in->id, AUTHD_NO, "only root removes accounts");
		return;
	}
	if (user_address_fold(view_of(ipc_get_str(in)), address, &e) < 0) {
		reply_status(c, in->id, AUTHD_BAD, e.text);
		return;
	}
	log_info("%s: account to be removed", address);
	ipc_out_init(&o, DB_DEL);
	ipc_put_str(&o, address);
	authd_request_ask_db(
	    authd_request_new(sizeof(struct request), p, in->id), &o, "us", on_deleted);
}

/* --- list and show ---------------------------------------------------------------------------- */

static void
on_listed(void *arg, struct ipc_in *in)
{
	authd_request_relay(arg, in, "u(s)");
}

static void
on_list(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct peer *p = arg;
	struct ipc_out o;

	if (!is_root(p)) {
		ipc_reply_init(&o);
		ipc_put_u32(&o, AUTHD_NO);
		ipc_conn_reply(c, in->id, &o);
		return;
	}
	ipc_out_init(&o, DB_LIST);
	ipc_put_str(&o, ipc_get_str(in));
	authd_request_ask_db(
	    authd_request_new(sizeof(struct request), p, in->id), &o, "u(s)", on_listed);
}

static void
on_shown(void *arg, struct ipc_in *in)
{
	authd_request_relay(arg, in, "usuuss");
}

static void
on_show(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct peer *p = arg;
	const char *asked = ipc_get_str(in);
	char address[USER_ADDRESS_MAX + 1];
	struct ipc_out o;
	struct err e;

	if (!is_root(p) || user_address_fold(view_of(asked), address, &e) < 0) {
		ipc_reply_init(&o);
		ipc_put_u32(&o, is_root(p) ? AUTHD_BAD : AUTHD_NO);
		ipc_put_str(&o, asked);
		ipc_put_u32(&o, 0);
		ipc_put_u32(&o, 0);
		ipc_put_str(&o, "");
		ipc_put_str(&o, "");
		ipc_conn_reply(c, in->id, &o);
		return;
	}
	ipc_out_init(&o, DB_SHOW);
	ipc_put_str(&o, address);
	authd_request_ask_db(
	    authd_request_new(sizeof(struct request), p, in->id), &o, "usuuss", on_shown);
}

/* --- explain ---------------------------------------------------------------------------------- */

static void
on_traced(void *arg, struct ipc_in *in)
{
	authd_request_relay(arg, in, AUTHD_TRACE_SIG);
}

static void
on_trace(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct peer *p = arg;
	struct ipc_out o;

	if (!is_root(p)) {
		reply_status(c, in->id, AUTHD_NO, "only root may ask");
		return;
	}
	ipc_out_init(&o, DB_TRACE);
	if (buf_append(&o.body, in->p, in->len) < 0)
		o.failed = true;
	authd_request_ask_db(
	    authd_request_new(sizeof(struct request), p, in->id), &o, AUTHD_TRACE_SIG, on_traced);
}

const struct ipc_handler authd_from_tool[] = {
	{ AUTHD_USER_ADD, "ssuus", IPC_STATE_ANY, on_add },
	{ AUTHD_USER_PASSWD, "ss", IPC_STATE_ANY, on_passwd },
	{ AUTHD_USER_DEL, "s", IPC_STATE_ANY, on_del },
	{ AUTHD_USER_LIST, "s", IPC_STATE_ANY, on_list },
	{ AUTHD_USER_SHOW, "s", IPC_STATE_ANY, on_show },
	{ AUTHD_TRACE, "uss", IPC_STATE_ANY, on_trace },
	{ 0 },
};
