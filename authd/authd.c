#include "authd/authd.h"

#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/log/log.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MINTED_MAX = 16000 };

/* --- requests --------------------------------------------------------------------------------- */

void *
authd_request_new(size_t size, struct peer *p, uint32_t id)
{
	struct request *r = x_calloc(1, size);

	r->authd = p->authd;
	r->peer = p;
	r->id = id;
	LIST_INSERT_HEAD(&p->requests, r, link);
	p->authd->requests++;
	return r;
}

void
authd_request_free(struct request *r)
{
	struct authd *a;

	if (r == NULL)
		return;
	a = r->authd;
	if (r->peer != NULL)
		LIST_REMOVE(r, link);
	free(r);
	a->requests--;
	authd_check_idle(a);
}

void
authd_request_ask_db(struct request *r, struct ipc_out *o, const char *signature,
    void (*cb)(void *arg, struct ipc_in *in))
{
	struct ipc_conn *db = workers_db(r->authd->workers);

	if (db == NULL) {
		ipc_out_clear(o);
		cb(r, NULL);
		return;
	}
	ipc_conn_call(db, o, signature, WORKER_CALL_MS, cb, r);
}

/* The answer that says "try again" in any signature that begins with a status. */
static void
put_temp(struct ipc_out *o, const char *signature)
{
	ipc_put_u32(o, AUTHD_TEMP);
	for (const char *s = signature + 1; *s != '\0' && *s != '('; s++) {
		if (*s == 'u')
			ipc_put_u32(o, 0);
		else if (*s == 's')
			ipc_put_str(o, "");
		else
			ipc_put_bytes(o, "", 0);
	}
}

void
authd_request_relay(struct request *r, struct ipc_in *in, const char *signature)
{
	struct ipc_out o;

	if (r->peer != NULL) {
		ipc_reply_init(&o);
		if (in == NULL)
			put_temp(&o, signature);
		else if (buf_append(&o.body, in->p, in->len) < 0)
			o.failed = true;
		ipc_conn_reply(r->peer->conn, r->id, &o);
	}
	authd_request_free(r);
}

/* --- peers ------------------------------------------------------------------------------------ */

static const struct ipc_handler *
handlers_for(enum role role)
{
	switch (role) {
	case ROLE_MASTER:
		return authd_from_master;
	case ROLE_SMTPD:
		return authd_from_smtpd;
	case ROLE_IMAPD_LOGIN:
	case ROLE_POP3D_LOGIN:
		return authd_from_login;
	case ROLE_QMGR:
		return authd_from_qmgr;
	case ROLE_RELAY:
		return authd_from_relay;
	case ROLE_TOOL:
		return authd_from_tool;
	case ROLE_IMAPD:
	case ROLE_POP3D:
		return authd_from_session;
	case ROLE_DELIVERY:
		return authd_from_delivery;
	default:
		bug("%s never asks authd", role_row(role)->name);
	}
}

static struct peer *
peer_new(struct authd *a, enum role role, struct ipc_conn *c)
{
	struct peer *p = x_calloc(1, sizeof *p);

	p->authd = a;
	p->role = role;
	p->conn = c;
	p->last_session = -1;
	map_init(&p->exchanges);
	TAILQ_INIT(&p->yielding);
	LIST_INIT(&p->requests);
	ipc_conn_peer(c, &p->pid, &p->uid, NULL);
	ipc_conn_set_arg(c, p);
	return p;
}

static bool
is_minted(const struct peer *p)
{
	return p->role == ROLE_IMAPD || p->role == ROLE_POP3D || p->role == ROLE_DELIVERY;
}

void
authd_peer_free(struct peer *p)
{
	struct authd *a = p->authd;
	struct request *r;

	while ((r = LIST_FIRST(&p->requests)) != NULL) {
		LIST_REMOVE(r, link);
		r->peer = NULL;
	}
	front_drop_exchanges(p);
	map_clear(&p->exchanges);
	ticket_free(&p->ticket);
	if (is_minted(p))
		a->minted--;
	else if (p->role == ROLE_IMAPD_LOGIN || p->role == ROLE_POP3D_LOGIN)
		tickets_drop_front(&a->tickets, p->pid);
	free(p);
}

static void
on_peer_gone(void *arg, struct ipc_conn *c, const struct err *why)
{
	struct peer *p = arg;

	(void)c;
	if (why->kind != ERR_GONE)
		log_warn("%s[%d]: connection closed: %s", role_row(p->role)->name, (int)p->pid,
		    why->text);
	authd_peer_free(p);
}

const struct ipc_conn_ops *
authd_ops(enum role role)
{
	static struct ipc_conn_ops ops[ROLE_COUNT];

	ops[role] = (struct ipc_conn_ops){ handlers_for(role), on_peer_gone };
	return &ops[role];
}

void
authd_open(struct authd *a, enum role role, struct ipc_conn *c)
{
	peer_new(a, role, c);
}

struct peer *
authd_peer_mint(struct authd *a, enum role role, int *fd)
{
	int pair[2];

	if (a->minted >= MINTED_MAX) {
		log_warn("too many sessions and delivery processes ask at a time");
		return NULL;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		log_warn("out of descriptors");
		return NULL;
	}
	a->minted++;
	*fd = pair[1];
	return peer_new(a, role, ipc_conn_new(a->loop, pair[0], authd_ops(role), NULL));
}

/* --- life ------------------------------------------------------------------------------------- */

bool
authd_is_idle(const struct authd *a)
{
	return a->exchanges == 0 && a->requests == 0;
}

void
authd_check_idle(struct authd *a)
{
	if (a->on_idle != NULL && authd_is_idle(a))
		a->on_idle(a->idle_arg);
}

/* A socket whose other end is closed. */
static int
make_null_fd(struct err *err)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, ERR_TEMP, "socketpair");
	close(pair[1]);
	return pair[0];
}

int
authd_new(struct loop *l, const struct authd_conf *conf, const struct sandbox_plan *db_cage,
    const struct sandbox_plan *sasl_cage, struct authd **out, struct err *err)
{
	struct authd *a = x_calloc(1, sizeof *a);

	*out = NULL;
	a->loop = l;
	a->conf = *conf;
	a->null_fd = -1;
	tickets_init(&a->tickets);
	origins_init(&a->origins);
	TAILQ_INIT(&a->yielding);
	if (workers_start(l, &a->conf, db_cage, sasl_cage, &a->workers, err) < 0 ||
	    (a->null_fd = make_null_fd(err)) < 0) {
		authd_free(&a);
		return -1;
	}
	*out = a;
	return 0;
}

void
authd_free(struct authd **a)
{
	if (*a == NULL)
		return;
	workers_free(&(*a)->workers);
	tickets_clear(&(*a)->tickets);
	origins_clear(&(*a)->origins);
	fd_close(&(*a)->null_fd);
	x_free(a);
}
