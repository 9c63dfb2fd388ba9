#include "smtpd/anvil/anvil.h"
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/event/work.h"
#include "common/log/log.h"
#include "smtpd/anvil/counters.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
	HELD_MAX = 100000,   /* connections of one smtpd process */
	JOBS_MAX = 20000,    /* questions that wait for the store */
	EXPIRE_MS = 2000,    /* between looks for idle counters */
	CARE_MS = 5000,      /* between syncs of the store, and steps of the sweep */
	SWEEP_RECORDS = 500, /* a step */
	UNIT_MAX = 86400,
	COUNTS_BYTES = 64 << 20,
	PASS_MAX =
	    366 * 86400, /* seconds: nobody stays on the allow-list for longer without a test */
};

struct anvil {
	struct loop *loop; /* borrowed */
	struct anvil_conf conf;
	struct counters counters;
	struct store *store;    /* owned; of the thread */
	struct work_pool *pool; /* owned */
	struct loop_timer expire, care, status;
};

/* One smtpd process.  Lives until its connection has ended and the store's last answer to it is there. */
struct caller {
	struct anvil *anvil;
	struct ipc_conn *conn; /* NULL: it has gone */
	struct map held;       /* "service:client" -> struct held, owned */
	size_t nheld, njobs;
};
struct held {
	struct counter *counter;
	size_t count;
};

/* Something that the store's thread does. */
struct job {
	struct anvil *anvil;
	struct caller *caller; /* NULL: nobody waits for it */
	uint32_t id;
	char *text[4]; /* owned */
	int64_t now;   /* seconds since 1970 */
	struct greylist_answer grey;
	uint64_t until[ANVIL_SCREEN_TESTS];
	struct err err;
};

void
anvil_conf_read(struct anvil_conf *a, const struct conf *conf)
{
	a->unit_ms = conf_seconds(conf, "anvil_rate_time_unit") * 1000;
	a->status_ms = conf_seconds(conf, "anvil_status_update_time") * 1000;
	greylist_conf_read(&a->greylist, conf);
}

/* --- counting --------------------------------------------------------------------------------------------- */

static char *
connection_key(struct ipc_in *in)
{
	const char *service = ipc_get_str(in), *client = ipc_get_str(in);

	return x_asprintf(
	    "%.*s:%.*s", COUNTERS_KEY_BYTES / 2, service, COUNTERS_KEY_BYTES / 2 - 1, client);
}

static void
hold(struct caller *c, const char *key, struct counter *counter)
{
	struct held *h = map_get(&c->held, view_of(key));

	if (h == NULL) {
		h = x_calloc(1, sizeof *h);
		h->counter = counter;
		map_put(&c->held, view_of(key), h);
	}
	h->count++;
	c->nheld++;
}

static void
on_connect(void *arg, struct ipc_conn *conn, struct ipc_in *in)
{
	struct caller *c = arg;
	struct anvil *a = c->anvil;
	char *key = connection_key(in);
	uint32_t open = 1, rate = 1;
	struct counter *one = NULL;
	struct ipc_out o;

	if (c->nheld < HELD_MAX)
		one = counters_connect(
		    &a->counters, key, a->conf.unit_ms, clock_mono_ms(), &open, &rate);
	if (one != NULL)
		hold(c, key, one);
	free(key);
	ipc_reply_init(&o);
	ipc_put_u32(&o, open);
	ipc_put_u32(&o, rate);
	ipc_conn_reply(conn, in->id, &o);
}

static void
on_disconnect(void *arg, struct ipc_conn *conn, struct ipc_in *in)
{
	struct caller *c = arg;
	char *key = connection_key(in);
	struct held *h = map_get(&c->held, view_of(key));

	(void)conn;
	if (h != NULL) { /* NULL: it was counted by the anvil before us */
		counters_disconnect(&c->anvil->counters, h->counter);
		c->nheld--;
		if (--h->count == 0) {
			map_remove(&c->held, view_of(key));
			free(h);
		}
	}
	free(key);
}

static void
on_count(void *arg, struct ipc_conn *conn, struct ipc_in *in)
{
	struct caller *c = arg;
	uint32_t event = ipc_get_u32(in), unit = ipc_get_u32(in), n, count;
	const char *key = ipc_get_str(in);
	struct ipc_out o;

	n = ipc_get_u32(in);
	count = n;
	if (event < ANVIL_EVENTS)
		count = counters_add(&c->anvil->counters, event, key,
		    (int64_t)(unit < UNIT_MAX ? unit : UNIT_MAX) * 1000, n, clock_mono_ms());
	ipc_reply_init(&o);
	ipc_put_u32(&o, count);
	ipc_conn_reply(conn, in->id, &o);
}

static void
on_expire(void *arg)
{
	struct anvil *a = arg;

	counters_expire(&a->counters, clock_mono_ms());
	loop_timer_start(&a->expire, EXPIRE_MS);
}

/* --- statistics, in Postfix's words ----------------------------------------------------------------------- */

static void
log_peak(const char *what, struct counter_peak *p, const char *unit)
{
	struct tm tm;
	time_t at = (time_t)(p->at_ms / 1000);
	char when[32] = "", of[300] = "";

	if (p->value == 0)
		return;
	if (localtime_r(&at, &tm) != NULL)
		strftime(when, sizeof when, "%b %e %H:%M:%S", &tm);
	if (p->key[0] != '\0')
		snprintf(of, sizeof of, " for (%s)", lqs(p->key));
	log_info("statistics: max %s %u%s%s at %s", what, p->value, unit, of, when);
	*p = (struct counter_peak){ 0 };
}

static void
log_statistics(struct anvil *a)
{
	static const char *const names[COUNTERS_TABLES] = {
		[COUNTERS_CONNECT] = "connection rate",
		[ANVIL_MESSAGE] = "message rate",
		[ANVIL_RCPT] = "recipient rate",
		[ANVIL_AUTH] = "auth rate",
		[ANVIL_NEW_TLS] = "newtls rate",
	};
	char unit[32];

	snprintf(unit, sizeof unit, "/%llds", (long long)a->conf.unit_ms / 1000);
	log_peak(names[COUNTERS_CONNECT], &a->counters.tables[COUNTERS_CONNECT].rate, unit);
	log_peak("connection count", &a->counters.connections, "");
	for (size_t i = 0; i < ANVIL_EVENTS; i++)
		if (names[i] != NULL)
			log_peak(names[i], &a->counters.tables[i].rate, unit);
	log_peak("cache size", &a->counters.size, "");
}

static void
on_status(void *arg)
{
	struct anvil *a = arg;

	log_statistics(a);
	loop_timer_start(&a->status, a->conf.status_ms);
}

/* --- what the store's thread does --------------------------------------------------------------------------- */

static void
caller_release(struct caller *c)
{
	if (c->conn == NULL && c->njobs == 0)
		free(c);
}

static void
job_over(struct job *j)
{
	if (j->err.text[0] != '\0')
		log_warn("greylist and allow-list: %s", j->err.text);
	if (j->caller != NULL) {
		j->caller->njobs--;
		caller_release(j->caller);
	}
	for (size_t i = 0; i < sizeof j->text / sizeof j->text[0]; i++)
		free(j->text[i]);
	free(j);
}

/* NULL: there are too many. */
static struct job *
job_new(struct anvil *a, struct caller *c, uint32_t id)
{
	struct job *j;

	if (work_pending(a->pool) >= JOBS_MAX)
		return NULL;
	j = x_calloc(1, sizeof *j);
	j->anvil = a;
	j->caller = c;
	j->id = id;
	j->now = clock_wall_ms() / 1000;
	if (c != NULL)
		c->njobs++;
	return j;
}

static void
reply_greylist(struct ipc_conn *conn, uint32_t id, const struct greylist_answer *g)
{
	struct ipc_out o;

	ipc_reply_init(&o);
	ipc_put_u32(&o, g->verdict);
	ipc_put_u32(&o, g->seconds);
	ipc_conn_reply(conn, id, &o);
}

static void
run_greylist(void *arg)
{
	struct job *j = arg;

	greylist_check(j->anvil->store, &j->anvil->conf.greylist, j->text[0], j->text[1],
	    j->text[2], j->now, &j->grey, &j->err);
}

/* As postgrey logs it, so that its reports work. */
static void
log_greylist(const struct job *j)
{
	const char *what = j->grey.verdict == ANVIL_GREY_WAIT ? "greylist" : "pass";
	char delay[32] = "";

	if (j->grey.reason == NULL)
		return;
	if (j->grey.verdict == ANVIL_GREY_PASS)
		snprintf(delay, sizeof delay, ", delay=%u", j->grey.seconds);
	log_info(
	    "action=%s, reason=%s%s, client_name=%s, client_address=%s, sender=%s, recipient=%s",
	    what, j->grey.reason, delay, j->text[3][0] != '\0' ? lqs(j->text[3]) : "unknown",
	    lqs(j->text[0]), lqs(j->text[1]), lqs(j->text[2]));
}

static void
done_greylist(void *arg)
{
	struct job *j = arg;

	log_greylist(j);
	if (j->caller->conn != NULL)
		reply_greylist(j->caller->conn, j->id, &j->grey);
	job_over(j);
}

static void
on_greylist(void *arg, struct ipc_conn *conn, struct ipc_in *in)
{
	struct caller *c = arg;
	struct job *j = job_new(c->anvil, c, in->id);

	if (j == NULL) {
		reply_greylist(conn, in->id, &(struct greylist_answer){ ANVIL_GREY_TEMP, 0, NULL });
		return;
	}
	for (size_t i = 0; i < 4; i++)
		j->text[i] = x_strdup(ipc_get_str(in));
	work_submit(c->anvil->pool, run_greylist, done_greylist, j);
}

static void
reply_screen(struct ipc_conn *conn, uint32_t id, const uint64_t until[ANVIL_SCREEN_TESTS])
{
	struct ipc_out o;

	ipc_reply_init(&o);
	for (size_t i = 0; i < ANVIL_SCREEN_TESTS; i++)
		ipc_put_u64(&o, until[i]);
	ipc_conn_reply(conn, id, &o);
}

static void
run_screen_get(void *arg)
{
	struct job *j = arg;

	if (store_get(j->anvil->store, STORE_SCREEN, view_of(j->text[0]), j->until, sizeof j->until,
		&j->err) != 0)
		memset(j->until, 0, sizeof j->until);
}

static void
done_screen_get(void *arg)
{
	struct job *j = arg;

	if (j->caller->conn != NULL)
		reply_screen(j->caller->conn, j->id, j->until);
	job_over(j);
}

static void
run_screen_put(void *arg)
{
	struct job *j = arg;

	store_put(
	    j->anvil->store, STORE_SCREEN, view_of(j->text[0]), j->until, sizeof j->until, &j->err);
}

static void
done_plain(void *arg)
{
	job_over(arg);
}

static void
on_screen_get(void *arg, struct ipc_conn *conn, struct ipc_in *in)
{
	static const uint64_t never[ANVIL_SCREEN_TESTS];
	struct caller *c = arg;
	struct job *j = job_new(c->anvil, c, in->id);

	if (j == NULL) {
		reply_screen(conn, in->id, never);
		return;
	}
	j->text[0] = x_strndup(ipc_get_str(in), STORE_KEY_MAX);
	work_submit(c->anvil->pool, run_screen_get, done_screen_get, j);
}

static void
on_screen_put(void *arg, struct ipc_conn *conn, struct ipc_in *in)
{
	struct caller *c = arg;
	struct job *j = job_new(c->anvil, NULL, 0);

	(void)conn;
	if (j == NULL)
		return;
	j->text[0] = x_strndup(ipc_get_str(in), STORE_KEY_MAX);
	for (size_t i = 0; i < ANVIL_SCREEN_TESTS; i++) {
		uint64_t until = ipc_get_u64(in), latest = (uint64_t)j->now + PASS_MAX;

		j->until[i] = until < latest ? until : latest;
	}
	work_submit(c->anvil->pool, run_screen_put, done_plain, j);
}

/* --- care of the store --------------------------------------------------------------------------------------- */

static bool
has_screen_expired(void *arg, struct view key, struct view value)
{
	uint64_t until[ANVIL_SCREEN_TESTS];
	const int64_t *now = arg;

	(void)key;
	if (value.len != sizeof until)
		return true;
	memcpy(until, value.p, sizeof until);
	for (size_t i = 0; i < ANVIL_SCREEN_TESTS; i++)
		if (until[i] > (uint64_t)*now)
			return false;
	return true;
}

static void
run_care(void *arg)
{
	struct job *j = arg;
	struct anvil *a = j->anvil;

	if (greylist_sweep(a->store, &a->conf.greylist, SWEEP_RECORDS, j->now, &j->err) == 0 &&
	    store_sweep(
		a->store, STORE_SCREEN, SWEEP_RECORDS, has_screen_expired, &j->now, &j->err) == 0)
		store_sync(a->store, &j->err);
}

static void
on_care(void *arg)
{
	struct anvil *a = arg;
	struct job *j = job_new(a, NULL, 0);

	if (j != NULL)
		work_submit(a->pool, run_care, done_plain, j);
	loop_timer_start(&a->care, CARE_MS);
}

/* --- callers -------------------------------------------------------------------------------------------------- */

/* What it had counted as open is over. */
static void
on_caller_gone(void *arg, struct ipc_conn *conn, const struct err *why)
{
	struct caller *c = arg;
	struct map_walk walk = { 0 };
	struct map_entry *e;

	(void)conn;
	(void)why;
	while ((e = map_next(&c->held, &walk)) != NULL) {
		struct held *h = e->value;

		while (h->count-- > 0)
			counters_disconnect(&c->anvil->counters, h->counter);
		free(h);
	}
	map_clear(&c->held);
	c->conn = NULL;
	caller_release(c);
}

void
anvil_caller_open(void *arg, struct ipc_conn *conn)
{
	struct caller *c = x_calloc(1, sizeof *c);

	c->anvil = arg;
	c->conn = conn;
	map_init(&c->held);
	ipc_conn_set_arg(conn, c);
}

static const struct ipc_handler rows[] = {
	{ ANVIL_CONNECT, "ss", IPC_STATE_ANY, on_connect },
	{ ANVIL_DISCONNECT, "ss", IPC_STATE_ANY, on_disconnect },
	{ ANVIL_COUNT, "uusu", IPC_STATE_ANY, on_count },
	{ ANVIL_GREYLIST, "ssss", IPC_STATE_ANY, on_greylist },
	{ ANVIL_SCREEN_GET, "s", IPC_STATE_ANY, on_screen_get },
	{ ANVIL_SCREEN_PUT, "sqqqqq", IPC_STATE_ANY, on_screen_put },
	{ 0, NULL, 0, NULL },
};
const struct ipc_conn_ops anvil_caller_ops = { .handlers = rows, .on_close = on_caller_gone };

struct anvil *
anvil_new(struct loop *l, const struct anvil_conf *conf, const char *directory)
{
	struct anvil *a = x_calloc(1, sizeof *a);

	a->loop = l;
	a->conf = *conf;
	counters_init(&a->counters, COUNTERS_KEYS_MAX);
	a->store = store_new(directory);
	loop_timer_init(&a->expire, l, on_expire, a);
	loop_timer_init(&a->care, l, on_care, a);
	loop_timer_init(&a->status, l, on_status, a);
	return a;
}

/* --- counts over a reload ---------------------------------------------------------------------------------- */

/* Sending limits count hours: a reload must not begin them anew.  A crash does, as in Postfix. */
static const char counts_file[] = "/counts", counts_fresh[] = "/counts.new";

static void
load_counts(struct anvil *a)
{
	struct buf text;
	struct err err;

	buf_init(&text, COUNTS_BYTES);
	if (file_read(counts_file, &text, &err) == 0)
		counters_load(&a->counters, buf_view(&text), clock_mono_ms(), clock_wall_ms());
	else if (err.kind != ERR_GONE)
		log_warn("%s", err.text);
	buf_clear(&text);
	/* what it says is true once */
	if (unlink(counts_file) < 0 && errno != ENOENT)
		log_warn("unlink %s: %s", counts_file, strerror(errno));
}

static int
write_counts(struct view text, struct err *err)
{
	int fd = open(counts_fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), r;

	if (fd < 0)
		return err_sys(err, ERR_TEMP, "create %s", counts_fresh);
	r = fd_write_all(fd, text.p, text.len, err);
	if (close(fd) < 0 && r == 0)
		r = err_sys(err, ERR_TEMP, "close %s", counts_fresh);
	if (r == 0 && rename(counts_fresh, counts_file) < 0)
		r = err_sys(err, ERR_TEMP, "rename %s", counts_fresh);
	return r;
}

void
anvil_hand_over(struct anvil *a)
{
	struct buf text;
	struct err err;

	buf_init(&text, COUNTS_BYTES);
	counters_save(&a->counters, ANVIL_LOGIN_MESSAGE, clock_mono_ms(), clock_wall_ms(), &text);
	if (text.len > 0 && write_counts(buf_view(&text), &err) < 0)
		log_warn("sending limits begin anew: %s", err.text);
	buf_clear(&text);
}

void
anvil_start(struct anvil *a)
{
	load_counts(a);
	a->pool = work_pool_new(a->loop, 1);
	loop_timer_start(&a->expire, EXPIRE_MS);
	loop_timer_soon(&a->care); /* opens the store, recovers it if need be */
	loop_timer_start(&a->status, a->conf.status_ms);
}

void
anvil_free(struct anvil *a)
{
	loop_timer_stop(&a->expire);
	loop_timer_stop(&a->care);
	loop_timer_stop(&a->status);
	if (a->pool != NULL)
		work_pool_free(a->pool);
	store_free(a->store);
	log_statistics(a);
	counters_clear(&a->counters);
	free(a);
}
