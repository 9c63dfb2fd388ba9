/* handover.c - what workers ask of master: a mailbox's process, a delivery process, a note passed on.
 *
 * Every request is checked against the role of the process whose control channel it came on: a front asks
 * for hand-overs, qmgr for delivery processes, and nobody for anything else. */
#include "master/master.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/ipc/msg/authd.h"
#include "common/ipc/msg/master.h"
#include "common/log/log.h"
#include "common/user/user_home.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

enum { AUTHD_TIMEOUT_MS = 10000 };

static struct process *
find_mailbox_process(struct service_state *s, const char *account, uid_t uid)
{
	struct process *p;

	LIST_FOREACH(p, &s->processes, link)
	{
		if (!p->is_draining && p->conn != NULL && p->uid == uid && strcmp(p->account, account) == 0)
			return p;
	}
	return NULL;
}

/* A mailbox is nobody's whose processes are our own. */
static bool
uid_is_allowed(const struct master *m, uid_t uid, gid_t gid)
{
	const struct service_state *s;

	LIST_FOREACH(s, &m->services, link)
	{
		if (s->uid == uid || s->gid == gid)
			return false;
	}
	return uid != 0 && gid != 0 && (int64_t)uid >= conf_int(&m->conf, "virtual_minimum_uid") &&
	    (int64_t)uid <= conf_int(&m->conf, "virtual_maximum_uid");
}

/* --- READY, IDLE ------------------------------------------------------------------------------------------ */

static void
on_ready(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct process *p = arg, *old, *next;
	struct service_state *s = p->service;

	(void)c;
	(void)in;
	p->is_ready = true;
	if (p->generation == s->master->generation)
		service_drop_previous(s);
	/* reload: when the new ones serve, the old ones finish what they have */
	if (s->maxproc > 0 && service_is_up(s))
		for (old = LIST_FIRST(&s->processes); old != NULL; old = next) {
			next = LIST_NEXT(old, link);
			if (old->generation != s->master->generation && s->role != ROLE_LOG)
				process_drain(old);
		}
	if (master_is_up(s->master)) {
		master_report(s->master, NULL);
		control_reload_ended(s->master, EX_OK, "");
	}
}

static void
on_failed(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct process *p = arg;

	(void)c;
	free(p->reason);
	p->reason = x_strdup(ipc_get_str(in));
}

static void
on_idle(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct process *p = arg;

	(void)c;
	(void)in;
	if (p->service->maxproc == 0)
		process_drain(p);
}

/* --- delivery ------------------------------------------------------------------------------------------------ */

static void
send_edge(struct process *p, enum role other, int fd)
{
	struct ipc_out o;

	if (p->conn == NULL)
		return;
	ipc_out_init(&o, MASTER_EDGE);
	ipc_put_u32(&o, (uint32_t)other);
	ipc_put_fd(&o, fd);
	if (ipc_conn_send(p->conn, &o) < 0)
		log_warn("process pid %d does not take an edge", (int)p->pid);
}

/* The process may have gone, and its pid be another's, when authd answers: role and uid are looked up again. */
struct mint_request {
	struct master *master;
	pid_t pid;
	uid_t uid;
};

static void
on_minted(void *arg, struct ipc_in *in)
{
	struct mint_request *r = arg;
	struct service_state *s = service_by_role(r->master, ROLE_DELIVERY);
	struct process *p = NULL;

	if (s != NULL)
		LIST_FOREACH(p, &s->processes, link)
		{
			if (p->pid == r->pid && p->uid == r->uid)
				break;
		}
	if (in != NULL && ipc_get_u32(in) == AUTHD_OK) {
		int fd = ipc_get_fd(in);

		if (p != NULL)
			send_edge(p, ROLE_AUTHD, fd);
		fd_close(&fd);
	} else if (p != NULL)
		log_warn("authd gives no edge for delivery as uid %u", (unsigned)r->uid);
	free(r);
}

static void
mint_delivery_edge(struct process *p)
{
	struct master *m = p->service->master;
	struct mint_request *r = x_calloc(1, sizeof *r);
	struct ipc_out o;

	*r = (struct mint_request){ m, p->pid, p->uid };
	ipc_out_init(&o, AUTHD_MINT_DELIVERY);
	ipc_put_u32(&o, p->uid);
	/* authd may be exchanged meanwhile (reload): then its successor is asked */
	ipc_edge_ask(m->authd, &o, "uh", AUTHD_TIMEOUT_MS, on_minted, r);
}

static struct process *
delivery_process(struct master *m, uid_t uid, gid_t gid, struct err *err)
{
	struct service_state *s = service_by_role(m, ROLE_DELIVERY);
	struct process *p = s ? find_mailbox_process(s, "", uid) : NULL;

	if (s == NULL || !uid_is_allowed(m, uid, gid)) {
		err_set(err, ERR_PERM, "no delivery as uid %u", (unsigned)uid);
		return NULL;
	}
	if (p == NULL && (p = process_spawn(s, "", uid, gid, -1, err)) != NULL)
		mint_delivery_edge(p);
	return p;
}

static void
on_delivery(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct process *asker = arg, *p;
	uid_t uid = ipc_get_u32(in);
	gid_t gid = ipc_get_u32(in);
	int pair[2] = { -1, -1 };
	struct ipc_out o;
	struct err err;

	if (asker->service->role != ROLE_QMGR) {
		log_warn("pid %d is not qmgr but asks for delivery", (int)asker->pid);
		kill(asker->pid, SIGKILL);
		return;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		log_error("socketpair: %s", strerrordesc_np(errno));
		return;
	}
	p = delivery_process(asker->service->master, uid, gid, &err);
	if (p != NULL)
		send_edge(p, ROLE_QMGR, pair[1]);
	else
		log_error("%s", err.text);
	ipc_reply_init(&o);
	ipc_put_u32(&o, p == NULL);
	ipc_put_fd(&o, pair[0]);
	ipc_conn_reply(c, in->id, &o);
	fd_close(&pair[0]);
	fd_close(&pair[1]);
}

static void
on_want_edge(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct process *p = arg;

	(void)c;
	if (ipc_get_u32(in) == ROLE_AUTHD && p->service->role == ROLE_DELIVERY)
		mint_delivery_edge(p);
}

/* --- notes ----------------------------------------------------------------------------------------------------- */

static void
on_note(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct process *from = arg, *to;
	struct service_state *imapd = service_by_role(from->service->master, ROLE_IMAPD);
	const char *account = ipc_get_str(in), *mailbox = ipc_get_str(in);
	struct ipc_out o;

	(void)c;
	if (from->account[0] != '\0')
		account = from->account;
	else if (from->service->role != ROLE_DELIVERY)
		return;
	if (imapd == NULL)
		return;
	LIST_FOREACH(to, &imapd->processes, link)
	{
		if (to == from || to->conn == NULL || strcmp(to->account, account) != 0)
			continue;
		ipc_out_init(&o, MASTER_CHANGED);
		ipc_put_str(&o, mailbox);
		if (ipc_conn_send(to->conn, &o) < 0)
			log_warn("pid %d does not hear of its mail", (int)to->pid);
	}
}

/* --- login ------------------------------------------------------------------------------------------------------- */

struct handover {
	struct master *master;
	pid_t front;        /* who asked; looked up again when authd has answered */
	uint32_t request;   /* its request id */
	enum role role;     /* ROLE_IMAPD or ROLE_POP3D */
	char ticket[TICKET_BYTES];
	uint32_t session;
	int control, stream; /* owned */
};

static struct process *
find_front(struct handover *h)
{
	struct service_state *s;
	struct process *p;

	LIST_FOREACH(s, &h->master->services, link)
	{
		LIST_FOREACH(p, &s->processes, link)
		{
			if (p->pid == h->front && p->conn != NULL)
				return p;
		}
	}
	return NULL;
}

static void
handover_answer(struct handover *h, enum err_kind status, const char *text)
{
	struct process *front = find_front(h);
	struct ipc_out o;

	if (front != NULL) {
		ipc_reply_init(&o);
		ipc_put_u32(&o, status);
		ipc_put_str(&o, text);
		ipc_conn_reply(front->conn, h->request, &o);
	}
	fd_close(&h->control);
	fd_close(&h->stream);
	mem_wipe(h->ticket, sizeof h->ticket);
	free(h);
}

/* Descriptor of the account's home, beneath the base, no link on the way, owned by its user. */
static int
open_home(struct master *m, const char *home, uid_t uid, gid_t gid, struct err *err)
{
	const struct user_home h = {
		.base = conf_str(&m->conf, "virtual_mailbox_base"),
		.base_uid = m->mail_uid,
		.base_gid = m->mail_gid,
		.uid = uid,
		.gid = gid,
	};

	return user_home_open(&h, home, err);
}

static struct process *
session_process(struct handover *h, const char *account, uid_t uid, gid_t gid, const char *home,
    struct err *err)
{
	struct service_state *s = service_by_role(h->master, h->role);
	struct process *p;
	int fd;

	if (s == NULL) {
		err_set(err, ERR_PERM, "no service runs %s", role_row(h->role)->name);
		return NULL;
	}
	if (!uid_is_allowed(h->master, uid, gid)) {
		err_set(err, ERR_PERM, "account %s: uid %u is not allowed", account, (unsigned)uid);
		return NULL;
	}
	if ((p = find_mailbox_process(s, account, uid)) != NULL)
		return p;
	if ((fd = open_home(h->master, home, uid, gid, err)) < 0)
		return NULL;
	p = process_spawn(s, account, uid, gid, fd, err);
	close(fd);
	return p;
}

static void
on_account(void *arg, struct ipc_in *in)
{
	struct handover *h = arg;
	const char *account, *home;
	uint32_t status;
	uid_t uid;
	gid_t gid;
	int edge;
	struct process *p;
	struct ipc_out o;
	struct err err;

	if (in == NULL) {
		handover_answer(h, ERR_TEMP, "authd does not answer");
		return;
	}
	status = ipc_get_u32(in);
	account = ipc_get_str(in);
	uid = ipc_get_u32(in);
	gid = ipc_get_u32(in);
	home = ipc_get_str(in);
	edge = ipc_get_fd(in);
	if (status != AUTHD_OK) {
		fd_close(&edge);
		log_warn("a ticket that authd does not know, from pid %d", (int)h->front);
		handover_answer(h, ERR_PERM, "no such ticket");
		return;
	}
	p = session_process(h, account, uid, gid, home, &err);
	if (p == NULL) {
		log_error("hand-over of %s: %s", lqs(account), err.text);
		fd_close(&edge);
		handover_answer(h, ERR_TEMP, "mailbox not available");
		return;
	}
	ipc_out_init(&o, MASTER_LOGIN);
	ipc_put_bytes(&o, h->ticket, sizeof h->ticket);
	ipc_put_u32(&o, (uint32_t)h->front);
	ipc_put_u32(&o, h->session);
	ipc_put_fd(&o, h->control);
	ipc_put_fd(&o, h->stream);
	ipc_put_fd(&o, edge);
	if (ipc_conn_send(p->conn, &o) < 0)
		handover_answer(h, ERR_TEMP, "mailbox not available");
	else {
		char pid[16];

		snprintf(pid, sizeof pid, "%d", (int)p->pid);
		handover_answer(h, ERR_NONE, pid);
	}
	fd_close(&edge);
}

static void
on_handover(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct process *front = arg;
	enum role role = front->service->role;
	const char *service = ipc_get_str(in);
	struct view ticket = ipc_get_bytes(in);
	struct handover *h;
	struct ipc_out o;

	(void)c;
	if (ticket.len != TICKET_BYTES || !((role == ROLE_IMAPD_LOGIN && strcmp(service, "imap") == 0) ||
					      (role == ROLE_POP3D_LOGIN && strcmp(service, "pop3") == 0))) {
		log_warn("hand-over out of place from pid %d", (int)front->pid);
		kill(front->pid, SIGKILL);
		return;
	}
	h = x_calloc(1, sizeof *h);
	h->master = front->service->master;
	h->front = front->pid;
	h->request = in->id;
	h->role = role == ROLE_IMAPD_LOGIN ? ROLE_IMAPD : ROLE_POP3D;
	memcpy(h->ticket, ticket.p, TICKET_BYTES);
	h->session = ipc_get_u32(in);
	h->control = ipc_get_fd(in);
	h->stream = ipc_get_fd(in);
	ipc_out_init(&o, AUTHD_ACCOUNT);
	ipc_put_bytes(&o, h->ticket, TICKET_BYTES);
	ipc_put_str(&o, service);
	ipc_put_u32(&o, (uint32_t)h->front);
	ipc_put_u32(&o, h->session);
	ipc_edge_call(h->master->authd, &o, AUTHD_ACCOUNT_SIG, AUTHD_TIMEOUT_MS, on_account, h);
}

static void
on_process_lost(void *arg, struct ipc_conn *c, const struct err *why)
{
	struct process *p = arg;

	(void)c;
	p->conn = NULL;
	/* it closed the channel because it ended, or it broke the protocol: then it has to end */
	if (why->kind != ERR_GONE) {
		log_warn("pid %d (%s): %s", (int)p->pid, role_row(p->service->role)->name, why->text);
		kill(p->pid, SIGKILL);
	}
}

/* clang-format off */
static const struct ipc_handler handlers[] = {
	{ MASTER_READY,     "",      IPC_STATE_ANY, on_ready },
	{ MASTER_FAILED,    "s",     IPC_STATE_ANY, on_failed },
	{ MASTER_DELIVERY,  "uu",    IPC_STATE_ANY, on_delivery },
	{ MASTER_HANDOVER,  "sbuhh", IPC_STATE_ANY, on_handover },
	{ MASTER_NOTE,      "ss",    IPC_STATE_ANY, on_note },
	{ MASTER_WANT_EDGE, "u",     IPC_STATE_ANY, on_want_edge },
	{ MASTER_IDLE,      "",      IPC_STATE_ANY, on_idle },
	{ 0 },
};
/* clang-format on */
const struct ipc_conn_ops process_ops = { handlers, on_process_lost };
