#include "common/login/login_session.h"
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/ipc/msg/authd.h"
#include "common/ipc/msg/login.h"
#include "common/log/log.h"

#include <stdlib.h>
#include <unistd.h>

enum {
	HANDOVER_MS = 30000,
	REDEEM_MS = 10000,
	FINISH_MS = 10000,
	HANDOVERS_MAX =
	    100, /* under way at a time: fronts that never say hello hold no more descriptors */
};

/* --- the home ------------------------------------------------------------------------------------------- */

static bool
is_same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static bool
is_same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/* Nobody inside the jail sees which name the home has outside.  A removed one has no link left; a renamed one has a new
 * ctime that no change of its entries (mtime is the same then), mode or owner explains.  What else looks like this - an ACL
 * was set - costs one login a second try. */
static bool
home_has_gone(const struct stat *was, const struct stat *now)
{
	if (now->st_nlink == 0 || !is_same_file(was, now))
		return true;
	return !is_same_time(&was->st_ctim, &now->st_ctim) &&
	       !is_same_time(&now->st_ctim, &now->st_mtim) && was->st_mode == now->st_mode &&
	       was->st_uid == now->st_uid && was->st_gid == now->st_gid;
}

static int
check_home(struct login_account *a, struct err *err)
{
	struct stat now;

	if (stat(a->config.home, &now) < 0)
		return err_sys(err, ERR_GONE, "home");
	if (home_has_gone(&a->home, &now))
		return err_set(err, ERR_GONE, "the home was removed, or has another name now");
	a->home = now;
	if (a->store == NULL)
		return 0;
	if (stat(a->config.store.maildir, &now) < 0)
		return err_sys(err, ERR_GONE, "%s", a->config.store.maildir);
	if (!is_same_file(&a->maildir, &now))
		return err_set(err, ERR_GONE, "%s is another one now", a->config.store.maildir);
	return 0;
}

static int
open_mailbox(struct login_account *a, struct err *err)
{
	if (check_home(a, err) < 0) {
		a->events.on_idle(a->arg); /* whoever comes next gets a process of the new home */
		return -1;
	}
	if (a->store != NULL)
		return 0;
	if (store_open(&a->config.store, &a->store, err) < 0)
		return -1;
	if (stat(a->config.store.maildir, &a->maildir) < 0)
		return err_sys(err, ERR_TEMP, "%s", a->config.store.maildir);
	return 0;
}

/* --- the account ----------------------------------------------------------------------------------------------- */

static bool
is_empty(const struct login_account *a)
{
	return a->nstarting + a->nrunning == 0;
}

static void
on_linger(void *arg)
{
	struct login_account *a = arg;

	if (is_empty(a))
		a->events.on_idle(a->arg);
}

static void
on_drained(void *arg)
{
	struct login_account *a = arg;

	if (is_empty(a))
		a->events.on_drained(a->arg);
}

/* No session is there now. */
static void
account_rest(struct login_account *a)
{
	int64_t unsent_ms = a->is_stopping ? 0 : a->unsent_until - clock_mono_ms();

	loop_timer_start(&a->linger, a->config.linger_ms);
	if (a->is_draining)
		loop_timer_start(&a->drained, unsent_ms > 0 ? unsent_ms : 0);
}

void
login_account_init(struct login_account *a, struct loop *l,
    const struct login_account_config *config, const struct login_session_ops *ops,
    const struct login_account_events *events, void *arg)
{
	a->loop = l;
	a->config = *config;
	a->ops = ops;
	a->events = *events;
	a->arg = arg;
	LIST_INIT(&a->starting);
	LIST_INIT(&a->running);
	loop_timer_init(&a->linger, l, on_linger, a);
	loop_timer_init(&a->drained, l, on_drained, a);
}

void
login_account_start(void *arg)
{
	struct login_account *a = arg;

	/* if this fails, the first login finds another home, and says so */
	(void)stat(a->config.home, &a->home);
	/* the login that this process was started for may never come */
	loop_timer_start(&a->linger, a->config.linger_ms);
}

/* --- a session ---------------------------------------------------------------------------------------------------- */

static void
handover_clear(struct login_session *s)
{
	loop_timer_stop(&s->timer);
	ipc_call_cancel(s->redeem);
	s->redeem = NULL;
	ipc_edge_free(s->authd);
	s->authd = NULL;
	ipc_conn_close(s->control);
	s->control = NULL;
	fd_close(&s->control_fd);
	fd_close(&s->stream_fd);
}

static void
session_free(struct login_session *s)
{
	struct login_account *a = s->account;

	handover_clear(s);
	LIST_REMOVE(s, link);
	*(s->is_running ? &a->nrunning : &a->nstarting) -= 1;
	free(s->log_tag);
	free(s);
	if (is_empty(a))
		account_rest(a);
}

/* The hand-over ends without a word: whom to speak to, and how, was not said. */
static void
handover_failed(struct login_session *s, const char *why)
{
	log_as(s->log_tag, LOG_LEVEL_WARN, "login refused: %s", why);
	session_free(s);
}

static void
on_handover_timeout(void *arg)
{
	handover_failed(arg, "the login front said nothing");
}

/* Its last words are sent while the process lingers, or drains. */
static void
stream_end(struct login_session *s)
{
	if (s->is_broken) {
		stream_free(s->stream);
		return;
	}
	if (stream_finish(s->stream, FINISH_MS))
		s->account->unsent_until = clock_mono_ms() + FINISH_MS;
}

void
login_session_end(struct login_session *s, const char *text)
{
	log_as(s->log_tag, LOG_LEVEL_INFO, "Disconnected: %s", text);
	stream_end(s);
	session_free(s);
}

static void
refuse(struct login_session *s, const char *tag, enum login_refusal why, const char *reason)
{
	log_as(s->log_tag, why == LOGIN_REFUSED_LIMIT ? LOG_LEVEL_WARN : LOG_LEVEL_ERROR,
	    "login refused: %s", reason);
	s->account->ops->refuse(s->stream, tag, why);
	stream_end(s);
	session_free(s);
}

static void
session_start(struct login_session *s, const char *tag)
{
	struct login_account *a = s->account;
	struct err err;

	s->stream = stream_new(a->loop, s->stream_fd, &a->ops->limits, &a->ops->stream, s);
	s->stream_fd = -1;
	if (a->nrunning >= a->config.sessions_max) {
		refuse(s, tag, LOGIN_REFUSED_LIMIT, "maximum number of sessions exceeded");
	} else if (open_mailbox(a, &err) < 0) {
		refuse(s, tag, LOGIN_REFUSED_UNAVAILABLE, err.text);
	} else {
		LIST_REMOVE(s, link);
		LIST_INSERT_HEAD(&a->running, s, link);
		s->is_running = true;
		a->nstarting--;
		a->nrunning++;
		a->ops->start(s, tag);
	}
}

static void
on_hello(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct login_session *s = arg;
	const struct login_account *a = s->account;
	const char *tag = ipc_get_str(in), *client = ipc_get_str(in), *server = ipc_get_str(in),
		   *id = ipc_get_str(in);
	char quoted[64];

	if (!a->ops->tag_is_valid(tag)) {
		handover_failed(s, "malformed hello");
		return;
	}
	free(s->log_tag);
	s->log_tag = x_asprintf("%s(%s)<%d><%s>", a->ops->service, a->config.account, (int)getpid(),
	    log_quote(quoted, sizeof quoted, view_of(id)));
	log_debug("session %s from %s on %s", lqs(id), lqs(client), lqs(server));
	loop_timer_stop(&s->timer);
	ipc_edge_free(s->authd);
	s->authd = NULL;
	s->control = NULL; /* it has said what there is to say; tag is its memory */
	session_start(s, tag);
	ipc_conn_close(c);
}

static void
on_control_close(void *arg, struct ipc_conn *c, const struct err *why)
{
	struct login_session *s = arg;

	(void)c;
	s->control = NULL;
	handover_failed(s, why->kind == ERR_GONE ? "the login front went away" : why->text);
}

static const struct ipc_handler control_rows[] = {
	{ LOGIN_HELLO, LOGIN_HELLO_SIG, IPC_STATE_ANY, on_hello },
	{ 0, NULL, 0, NULL },
};

static void
on_redeemed(void *arg, struct ipc_in *in)
{
	static const struct ipc_conn_ops ops = { control_rows, on_control_close };
	struct login_session *s = arg;
	int fd = s->control_fd;
	const char *why = NULL;

	s->redeem = NULL;
	if (in == NULL)
		why = "authd did not answer";
	else if (ipc_get_u32(in) != AUTHD_OK)
		why = "the ticket is not good";
	else if (strcmp(ipc_get_str(in), s->account->config.account) != 0)
		why = "the ticket is another account's";
	if (why != NULL) {
		handover_failed(s, why);
		return;
	}
	s->control_fd = -1;
	s->control = ipc_conn_new(s->account->loop, fd, &ops, s);
}

void
login_account_login(
    struct login_account *a, struct view ticket, int control_fd, int stream_fd, int authd_fd)
{
	struct login_session *s;
	struct ipc_out out;

	if (a->is_stopping || a->nstarting >= HANDOVERS_MAX) {
		log_warn("login refused: %s",
		    a->is_stopping ? "stopping" : "too many hand-overs under way");
		fd_close(&control_fd);
		fd_close(&stream_fd);
		fd_close(&authd_fd);
		return;
	}
	s = x_calloc(1, a->ops->size);
	s->account = a;
	s->control_fd = control_fd;
	s->stream_fd = stream_fd;
	s->log_tag = x_asprintf("%s(%s)<%d>", a->ops->service, a->config.account, (int)getpid());
	LIST_INSERT_HEAD(&a->starting, s, link);
	a->nstarting++;
	loop_timer_stop(&a->linger);
	loop_timer_init(&s->timer, a->loop, on_handover_timeout, s);
	loop_timer_start(&s->timer, HANDOVER_MS);
	s->authd = ipc_edge_new_fd(a->loop, authd_fd, NULL, NULL);
	ipc_out_init(&out, AUTHD_REDEEM);
	ipc_put_bytes(&out, ticket.p, ticket.len);
	s->redeem = ipc_edge_call(s->authd, &out, "us", REDEEM_MS, on_redeemed, s);
}

void
login_account_drain(struct login_account *a, bool is_stopping)
{
	struct login_session *s, *next;

	a->is_draining = true;
	a->is_stopping |= is_stopping;
	for (s = LIST_FIRST(&a->starting); is_stopping && s != NULL; s = next) {
		next = LIST_NEXT(s, link);
		handover_failed(s, "stopping");
	}
	for (s = LIST_FIRST(&a->running); is_stopping && s != NULL; s = next) {
		next = LIST_NEXT(s, link);
		a->ops->stop(s);
	}
	if (is_empty(a))
		account_rest(a);
}

void
login_account_clear(struct login_account *a)
{
	while (!LIST_EMPTY(&a->starting))
		handover_failed(LIST_FIRST(&a->starting), "stopping");
	while (!LIST_EMPTY(&a->running))
		a->ops->free(LIST_FIRST(&a->running));
	loop_timer_stop(&a->linger);
	loop_timer_stop(&a->drained);
	store_close(a->store);
	a->store = NULL;
}
