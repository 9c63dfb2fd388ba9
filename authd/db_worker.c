#include "authd/db_worker.h"
#include "authd/aliases.h"
#include "authd/lookup.h"
#include "authd/resolve.h"
#include "authd/trace.h"
#include "authd/worker_msg.h"

#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/ipc/conn.h"
#include "common/ipc/msg/authd.h"
#include "common/log/log.h"
#include "common/table/table.h"
#include "common/user/user_db.h"

#include <fcntl.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	LOCK_WAIT_MS = 10000,    /* the tool, or a worker that is just being torn down */
	CHECKPOINT_MS = 1000,    /* after the last change */
	TABLE_REFRESH_MS = 1000, /* least time between looks at the tables' files */
	REQUEST_SECONDS = 30,    /* a damaged page can send Berkeley DB round in circles */
	SAID_MAX = 20,           /* bad values of one table that a test names */
	REOPEN_MS = 5000,        /* between tries to open a database that could not be opened */
	LIST_ENTRIES = 500,
	LIST_BYTES = 60000,
	SRS_FILE_MAX = 1 << 16,
	ROUTE_ARENA = 16 << 20, /* what tables say of the recipients of one question */
};

/* Prepared in the nursery for each worker that it forks. */
static struct table_list *prepared[RESOLVE_TABLES];
static struct srs srs;
static struct {
	const char *path; /* config_directory: all that :include: may name is beneath it */
	int fd;
} directory;

struct db_worker {
	const struct authd_conf *conf;
	struct loop *loop;
	struct user_db
	    *db; /* NULL: it cannot be opened; what needs no account is answered none the less */
	struct resolve_conf resolve;
	struct loop_timer checkpoint, reopen;
	int64_t tables_seen_ms;
};

/* --- the two sources of resolve.h ------------------------------------------------------------- */

static int
source_lookup(
    void *arg, enum resolve_table t, struct lookup_key key, struct buf *value, struct err *err)
{
	(void)arg;
	return table_list_lookup(prepared[t], key, value, err);
}

static int
source_user(void *arg, const char *address, struct user_record *out, struct err *err)
{
	struct db_worker *w = arg;

	return user_db_get(w->db, address, out, err);
}

/* Readable for es-auth, as a table is; and whoever may write to it adds recipients. */
static int
read_include(int fd, const char *path, struct buf *text, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(err, ERR_TEMP, "stat :include: file %s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_TEMP, ":include: file %s is not a regular file", path);
	if (st.st_mode & S_IWOTH)
		return err_set(err, ERR_TEMP, ":include: file %s is world writable", path);
	return fd_read_rest(fd, text, err) < 0 ? err_prefix(err, ":include: file %s", path) : 0;
}

static int
source_include(void *arg, const char *path, struct buf *text, struct err *err)
{
	size_t len = strlen(directory.path);
	int fd, r;

	(void)arg;
	if (strncmp(path, directory.path, len) != 0 || path[len] != '/') {
		err_set(err, ERR_TEMP, ":include: file %.200s is not in config_directory", path);
		log_warn("%s", lqs(err->text));
		return -1;
	}
	fd = open_beneath(directory.fd, path + len + 1, O_RDONLY | O_NONBLOCK, 0);
	r = fd < 0 ? err_sys(err, ERR_TEMP, "open :include: file %.200s", path)
		   : read_include(fd, path, text, err);
	if (r < 0) {
		err->kind = ERR_TEMP;
		log_warn("%s", lqs(err->text));
	}
	fd_close(&fd);
	return r;
}

static struct resolve_source
source_of(struct db_worker *w)
{
	return (struct resolve_source){ source_lookup, source_include, source_user, w };
}

/* The clock stops a request that does not end. */
static void
request_begin(void)
{
	alarm(REQUEST_SECONDS);
}

/* A database that needs recovery gets it from the next worker. */
static void
request_end(struct db_worker *w)
{
	alarm(0);
	if (user_db_is_broken(w->db))
		loop_stop(w->loop);
}

static int
table_open_again(int t, struct err *err)
{
	int r = table_list_refresh(prepared[t], err);

	return r < 0 ? err_prefix(err, "%s", resolve_table_params[t]) : 0;
}

/* All that can be; -1 names the first that cannot. */
static int
tables_open(struct err *err)
{
	struct err other;
	int r = 0;

	for (int t = 0; t < RESOLVE_TABLES; t++)
		if (table_open_again(t, r == 0 ? err : &other) < 0)
			r = -1;
	return r;
}

static void
tables_refresh(struct db_worker *w)
{
	int64_t now = clock_mono_ms();
	struct err e;

	if (now - w->tables_seen_ms < TABLE_REFRESH_MS)
		return;
	w->tables_seen_ms = now;
	for (int t = 0; t < RESOLVE_TABLES; t++)
		if (table_open_again(t, &e) < 0)
			log_warn(
			    "%s; the old version stays in use while it is there, or mail waits",
			    e.text);
}

/* --- recipients ------------------------------------------------------------------------------- */

/* NULL: at least one of them is delivered; else one that would be returned, rather one that would wait. */
static const struct resolved *
no_way(const struct resolution *r)
{
	const struct resolved *none = NULL;

	for (size_t i = 0; i < r->count; i++) {
		const struct resolved *one = &r->results[i];

		if (one->transport != TRANSPORT_ERROR && one->transport != TRANSPORT_RETRY)
			return NULL;
		if (none == NULL || one->transport == TRANSPORT_RETRY)
			none = one;
	}
	return none;
}

static void
put_resolution(struct ipc_out *o, const struct resolution *r)
{
	static const uint32_t destinations[] = { [CLASS_FOREIGN] = AUTHD_FOREIGN,
		[CLASS_LOCAL] = AUTHD_LOCAL,
		[CLASS_MAILBOX] = AUTHD_LOCAL,
		[CLASS_RELAY] = AUTHD_RELAYED };
	const struct resolved *none = no_way(r);

	ipc_put_u32(o, !r->is_known                         ? AUTHD_NO
		       : none == NULL                       ? AUTHD_OK
		       : none->transport == TRANSPORT_RETRY ? AUTHD_RETRY
							    : AUTHD_REJECT);
	ipc_put_u32(o, destinations[r->class]);
	ipc_put_str(o, none != NULL              ? none->nexthop
		       : r->is_known             ? ""
		       : r->class == CLASS_RELAY ? "User unknown in relay recipient table"
						 : "User unknown in virtual mailbox table");
	for (size_t i = 0; i < r->count; i++) {
		ipc_put_u32(o, r->results[i].transport);
		ipc_put_str(o, r->results[i].nexthop);
		ipc_put_str(o, r->results[i].address);
		ipc_put_u32(o, r->results[i].uid);
		ipc_put_u32(o, r->results[i].gid);
		ipc_put_str(o, r->results[i].sender != NULL ? r->results[i].sender : "");
		ipc_put_u32(o, r->results[i].sender_kind);
	}
}

static void
put_resolve_failure(struct ipc_out *o, const struct err *e)
{
	ipc_out_clear(o);
	ipc_reply_init(o);
	ipc_put_u32(o, e->kind == ERR_SYNTAX ? AUTHD_NO : AUTHD_TEMP);
	ipc_put_u32(o, 0);
	ipc_put_str(o, e->text);
}

static void
on_resolve(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct db_worker *w = arg;
	struct resolve_source source = source_of(w);
	const char *address = ipc_get_str(in), *sender;
	struct resolution r;
	struct ipc_out o;
	struct err e;

	ipc_get_u32(in);
	sender = ipc_get_str(in);
	request_begin();
	tables_refresh(w);
	ipc_reply_init(&o);
	if (resolve_address(&w->resolve, &source, address, sender, &r, &e) == 0) {
		put_resolution(&o, &r);
		resolution_clear(&r);
		if (o.failed) {
			err_set(&e, ERR_TEMP, "more recipients than fit one answer");
			o.failed = false;
			put_resolve_failure(&o, &e);
		}
	} else {
		put_resolve_failure(&o, &e);
	}
	ipc_conn_reply(c, in->id, &o);
	request_end(w);
}

/* --- routes ----------------------------------------------------------------------------------- */

static void
put_route(struct ipc_out *o, int r, const struct resolved *to, const struct err *e)
{
	/* one that is no address never gets its mail; but who let it in knows why */
	if (r < 0)
		log_warn("%s", lqs(e->text));
	ipc_put_u32(o, r == 0 ? AUTHD_OK : r == 1 ? AUTHD_NO : AUTHD_TEMP);
	ipc_put_u32(o, r < 0 ? 0 : to->transport);
	ipc_put_str(o, r < 0 ? "" : to->nexthop);
	ipc_put_u32(o, r < 0 ? 0 : to->uid);
	ipc_put_u32(o, r < 0 ? 0 : to->gid);
}

static void
on_route(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct db_worker *w = arg;
	struct resolve_source source = source_of(w);
	const char *sender = ipc_get_str(in);
	struct arena arena;
	struct ipc_out o;
	struct err e;

	request_begin();
	tables_refresh(w);
	arena_init(&arena, ROUTE_ARENA);
	ipc_reply_init(&o);
	ipc_put_u32(&o, AUTHD_OK);
	for (unsigned i = 0; i < AUTHD_ROUTES && ipc_in_more(in); i++) {
		struct resolved to;
		int r =
		    resolve_route(&w->resolve, &source, ipc_get_str(in), sender, &arena, &to, &e);

		put_route(&o, r, &to, &e);
	}
	arena_clear(&arena);
	ipc_conn_reply(c, in->id, &o);
	request_end(w);
}

/* --- rewriting -------------------------------------------------------------------------------- */

static void
on_rewrite(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct db_worker *w = arg;
	struct resolve_source source = source_of(w);
	char to[ADDRESS_MAX + 1];
	struct ipc_out o;
	struct err e;
	int r = 1;

	request_begin();
	tables_refresh(w);
	ipc_reply_init(&o);
	ipc_put_u32(&o, AUTHD_OK);
	for (unsigned i = 0; r >= 0 && i < AUTHD_REWRITES && ipc_in_more(in); i++) {
		uint32_t class = ipc_get_u32(in);

		r = rewrite_address(&w->resolve, &source, class, ipc_get_str(in), to, &e);
		ipc_put_str(&o, r == 0 ? to : "");
	}
	if (r < 0) {
		log_warn("%s", lqs(e.text));
		ipc_out_clear(&o);
		ipc_reply_init(&o);
		ipc_put_u32(&o, AUTHD_TEMP);
	}
	ipc_conn_reply(c, in->id, &o);
	request_end(w);
}

/* --- explain ---------------------------------------------------------------------------------- */

static int
trace_one(struct db_worker *w, struct trace *t, enum authd_trace what, const char *address,
    const char *sender, char to[ADDRESS_MAX + 1], struct err *err)
{
	struct resolution r;
	struct resolved way;
	struct arena arena;
	int result;

	switch (what) {
	case AUTHD_TRACE_RESOLVE:
		result = resolve_address(&w->resolve, &t->source, address, sender, &r, err);
		if (result == 0)
			resolution_clear(&r);
		return result;
	case AUTHD_TRACE_ROUTE:
		arena_init(&arena, ROUTE_ARENA);
		result = resolve_route(&w->resolve, &t->source, address, sender, &arena, &way, err);
		arena_clear(&arena);
		return result;
	case AUTHD_TRACE_SENDER:
		result = rewrite_address(
		    &w->resolve, &t->source, REWRITE_ENVELOPE_SENDER, address, to, err);
		if (result != 0)
			to[0] = '\0';
		return result;
	}
	return err_set(err, ERR_PERM, "unknown question");
}

static void
on_trace(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct db_worker *w = arg;
	struct resolve_source source = source_of(w);
	uint32_t what = ipc_get_u32(in);
	const char *address = ipc_get_str(in);
	char to[ADDRESS_MAX + 1] = "";
	struct trace t;
	struct ipc_out o;
	struct err e;
	int r;

	request_begin();
	tables_refresh(w);
	trace_init(&t, &source);
	r = trace_one(w, &t, what, address, ipc_get_str(in), to, &e);
	ipc_reply_init(&o);
	ipc_put_u32(&o, r >= 0 ? AUTHD_OK : AUTHD_TEMP);
	ipc_put_str(&o, r >= 0 ? to : e.text);
	if (t.steps.failed || buf_append_view(&o.body, buf_view(&t.steps.body)) < 0)
		o.failed = true;
	trace_clear(&t);
	ipc_conn_reply(c, in->id, &o);
	request_end(w);
}

/* --- lookup tables ---------------------------------------------------------------------------- */

static void
on_lookup(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct ipc_out o;

	request_begin();
	ipc_reply_init(&o);
	lookup_answer(in, &o);
	ipc_conn_reply(c, in->id, &o);
	request_end(arg);
}

/* --- accounts --------------------------------------------------------------------------------- */

static void
reply_account(struct ipc_conn *c, struct ipc_in *in, unsigned status, const char *account,
    const struct user_record *user, const char *home)
{
	struct ipc_out o;

	ipc_reply_init(&o);
	ipc_put_u32(&o, status);
	ipc_put_str(&o, status == AUTHD_OK ? account : "");
	ipc_put_u32(&o, status == AUTHD_OK ? user->uid : 0);
	ipc_put_u32(&o, status == AUTHD_OK ? user->gid : 0);
	ipc_put_str(&o, status == AUTHD_OK ? home : "");
	ipc_conn_reply(c, in->id, &o);
}

/* Which account, and where: r as user_db_get gives it. */
static void
answer_account(struct db_worker *w, struct ipc_conn *c, struct ipc_in *in, int r,
    const char *account, struct user_record *user, struct err *e)
{
	char home[USER_HOME_MAX] = "";

	if (r == 0 && user->uid == 0)
		user->uid = w->conf->owner_uid;
	if (r == 0 && user->gid == 0)
		user->gid = w->conf->owner_gid;
	if (r == 0)
		r = user_home_path(user, w->conf->mail_base, account, home, e);
	if (r < 0)
		log_error("%s", lqs(e->text));
	reply_account(c, in,
	    r == 0   ? AUTHD_OK
	    : r == 1 ? AUTHD_NO
		     : AUTHD_TEMP,
	    account, user, home);
	mem_wipe(user, sizeof *user);
}

static void
on_account(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct db_worker *w = arg;
	const char *account = ipc_get_str(in);
	struct user_record user;
	struct err e;

	request_begin();
	answer_account(w, c, in, user_db_get(w->db, account, &user, &e), account, &user, &e);
	request_end(w);
}

static void
on_mailbox(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct db_worker *w = arg;
	struct resolve_source source = source_of(w);
	char account[USER_ADDRESS_MAX + 1] = "";
	const char *address = ipc_get_str(in);
	struct user_record user;
	struct err e;

	request_begin();
	answer_account(w, c, in, resolve_mailbox(&w->resolve, &source, address, account, &user, &e),
	    account, &user, &e);
	request_end(w);
}

/* As the record says, without the defaults: what `estafeta user show` prints. */
static void
on_show(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct db_worker *w = arg;
	const char *address = ipc_get_str(in);
	struct user_record user = { 0 };
	char kinds[64] = "";
	struct ipc_out o;
	struct err e;
	int r;

	request_begin();
	r = user_db_get(w->db, address, &user, &e);
	if (r < 0)
		log_error("%s", lqs(e.text));
	if (r == 0)
		snprintf(kinds, sizeof kinds, "%s%s", user_password_kind(user.crypt),
		    user.scram[0] == '\0' ? "" : " SCRAM-SHA-256");
	ipc_reply_init(&o);
	ipc_put_u32(&o, r == 0 ? AUTHD_OK : r == 1 ? AUTHD_NO : AUTHD_TEMP);
	ipc_put_str(&o, address);
	ipc_put_u32(&o, user.uid);
	ipc_put_u32(&o, user.gid);
	ipc_put_str(&o, user.home);
	ipc_put_str(&o, kinds);
	ipc_conn_reply(c, in->id, &o);
	mem_wipe(&user, sizeof user);
	request_end(w);
}

struct listing {
	struct ipc_out *o;
	unsigned count;
};

static bool
list_one(void *arg, const char *address)
{
	struct listing *l = arg;

	ipc_put_str(l->o, address);
	return ++l->count < LIST_ENTRIES && l->o->body.len < LIST_BYTES;
}

static void
on_list(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct db_worker *w = arg;
	struct ipc_out o;
	struct listing l = { &o, 0 };
	const char *after = ipc_get_str(in);
	struct err e;

	request_begin();
	ipc_reply_init(&o);
	ipc_put_u32(&o, AUTHD_OK);
	if (user_db_list(w->db, after, list_one, &l, &e) < 0) {
		log_error("%s", lqs(e.text));
		ipc_out_clear(&o);
		ipc_reply_init(&o);
		ipc_put_u32(&o, AUTHD_TEMP);
	}
	ipc_conn_reply(c, in->id, &o);
	request_end(w);
}

/* --- changes ---------------------------------------------------------------------------------- */

/* r: 0 done, 1 refused because of `no`, -1 *e. */
static void
answer_change(struct db_worker *w, struct ipc_conn *c, struct ipc_in *in, int r, const char *no,
    const struct err *e)
{
	struct ipc_out o;

	ipc_reply_init(&o);
	ipc_put_u32(&o, r == 0                  ? AUTHD_OK
			: r == 1                ? AUTHD_NO
			: e->kind == ERR_SYNTAX ? AUTHD_BAD
						: AUTHD_TEMP);
	ipc_put_str(&o, r == 0 ? "" : r == 1 ? no : e->text);
	ipc_conn_reply(c, in->id, &o);
	if (r == 0)
		loop_timer_start(&w->checkpoint, CHECKPOINT_MS);
	request_end(w);
}

static int
copy_field(char *to, size_t size, const char *from, struct err *err)
{
	if (strlen(from) >= size)
		return err_set(err, ERR_SYNTAX, "a field is too long");
	memcpy(to, from, strlen(from) + 1);
	return 0;
}

static int
take_hashes(struct user_record *user, struct ipc_in *in, struct err *err)
{
	int r = copy_field(user->crypt, sizeof user->crypt, ipc_get_str(in), err);

	return r < 0 ? r : copy_field(user->scram, sizeof user->scram, ipc_get_str(in), err);
}

static void
on_add(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct db_worker *w = arg;
	const char *address = ipc_get_str(in);
	struct user_record user = { .uid = ipc_get_u32(in) };
	char home[USER_HOME_MAX];
	struct err e;
	int r;

	request_begin();
	user.gid = ipc_get_u32(in);
	r = copy_field(user.home, sizeof user.home, ipc_get_str(in), &e);
	if (r == 0)
		r = take_hashes(&user, in, &e);
	if (r == 0)
		r = user_home_path(&user, w->conf->mail_base, address, home, &e);
	if (r == 0)
		r = user_db_put(w->db, address, &user, USER_DB_NEW, &e);
	answer_change(w, c, in, r, "the account exists already", &e);
	mem_wipe(&user, sizeof user);
}

static void
on_passwd(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct db_worker *w = arg;
	const char *address = ipc_get_str(in);
	struct user_record user;
	struct err e;
	int r;

	request_begin();
	r = user_db_get(w->db, address, &user, &e);
	if (r == 0)
		r = take_hashes(&user, in, &e);
	if (r == 0)
		r = user_db_put(w->db, address, &user, USER_DB_REPLACE, &e);
	answer_change(w, c, in, r, "no such account", &e);
	mem_wipe(&user, sizeof user);
}

static void
on_del(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct db_worker *w = arg;
	const char *address = ipc_get_str(in);
	struct err e;

	request_begin();
	answer_change(w, c, in, user_db_del(w->db, address, &e), "no such account", &e);
}

static void
on_checkpoint(void *arg)
{
	struct db_worker *w = arg;
	struct err e;

	request_begin();
	if (user_db_checkpoint(w->db, &e) < 0)
		log_error("%s", e.text);
	request_end(w);
}

/* --- the SASL workers' links ------------------------------------------------------------------ */

static void
on_keys(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct db_worker *w = arg;
	const char *address = ipc_get_str(in);
	struct user_record user = { 0 };
	struct ipc_out o;
	struct err e;
	int r;

	request_begin();
	r = user_db_get(w->db, address, &user, &e);
	if (r < 0)
		log_error("%s", lqs(e.text));
	ipc_reply_init(&o);
	ipc_put_u32(&o, r == 0 ? AUTHD_OK : r == 1 ? AUTHD_NO : AUTHD_TEMP);
	ipc_put_str(&o, user.crypt);
	ipc_put_str(&o, user.scram);
	ipc_conn_reply(c, in->id, &o);
	mem_wipe(&user, sizeof user);
	request_end(w);
}

static void
on_secret(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct db_worker *w = arg;
	uint8_t secret[USER_SECRET_BYTES] = { 0 };
	struct ipc_out o;
	struct err e;
	int r = user_db_secret(w->db, secret, &e);

	if (r < 0)
		log_error("%s", e.text);
	ipc_reply_init(&o);
	ipc_put_u32(&o, r == 0 ? AUTHD_OK : AUTHD_TEMP);
	ipc_put_bytes(&o, secret, sizeof secret);
	ipc_conn_reply(c, in->id, &o);
	mem_wipe(secret, sizeof secret);
}

static const struct ipc_handler from_sasl[] = {
	{ DB_KEYS, "s", IPC_STATE_ANY, on_keys },
	{ DB_SECRET, "", IPC_STATE_ANY, on_secret },
	{ 0 },
};

static void
on_link(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	static const struct ipc_conn_ops ops = { .handlers = from_sasl };
	struct db_worker *w = arg;

	(void)c;
	ipc_conn_new(w->loop, ipc_get_fd(in), &ops, w); /* frees itself when the SASL worker goes */
}

/* --- life ------------------------------------------------------------------------------------- */

static const struct ipc_handler from_loop[] = {
	{ WORKER_LINK, "h", IPC_STATE_ANY, on_link },
	{ DB_RESOLVE, "sus", IPC_STATE_ANY, on_resolve },
	{ DB_LOOKUP, "s(us)", IPC_STATE_ANY, on_lookup },
	{ DB_LOOKUP_OWN, "u(us)", IPC_STATE_ANY, on_lookup },
	{ DB_ROUTE, "s(s)", IPC_STATE_ANY, on_route },
	{ DB_REWRITE, "(us)", IPC_STATE_ANY, on_rewrite },
	{ DB_TRACE, "uss", IPC_STATE_ANY, on_trace },
	{ DB_ACCOUNT, "s", IPC_STATE_ANY, on_account },
	{ DB_MAILBOX, "s", IPC_STATE_ANY, on_mailbox },
	{ DB_SHOW, "s", IPC_STATE_ANY, on_show },
	{ DB_LIST, "s", IPC_STATE_ANY, on_list },
	{ DB_ADD, "suusss", IPC_STATE_ANY, on_add },
	{ DB_PASSWD, "sss", IPC_STATE_ANY, on_passwd },
	{ DB_DEL, "s", IPC_STATE_ANY, on_del },
	{ 0 },
};

static void
on_loop_gone(void *arg, struct ipc_conn *c, const struct err *why)
{
	struct db_worker *w = arg;

	(void)c, (void)why;
	loop_stop(w->loop);
}

/* As root: es-auth need not be able to read it. */
static int
srs_prepare(const struct authd_conf *conf, struct err *err)
{
	const char *path = conf->srs_secret_file;
	struct buf text;
	struct stat st;
	int r;

	srs_clear(&srs);
	if (conf->srs_domain[0] == '\0')
		return 0;
	srs.domain = conf->srs_domain;
	srs.max_days = conf->srs_days;
	buf_init(&text, SRS_FILE_MAX);
	if (stat(path, &st) < 0)
		r = err_sys(err, ERR_TEMP, "open %s", path);
	else if (!S_ISREG(st.st_mode) || (st.st_mode & S_IRWXO) != 0)
		r = err_set(
		    err, ERR_PERM, "%s: not a regular file, or one that others may read", path);
	else
		r = file_read(path, &text, err) < 0 ? -1
						    : srs_read_secrets(&srs, buf_view(&text), err);
	if (text.len > 0)
		mem_wipe(text.p, text.len);
	buf_clear(&text);
	return r < 0 ? err_prefix(err, "srs_secret_file: %s", path) : 0;
}

static int
tables_prepare(const struct authd_conf *conf, struct err *err)
{
	directory.path = conf->directory;
	directory.fd = open(conf->directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (directory.fd < 0)
		return err_sys(err, ERR_TEMP, "open %s", conf->directory);
	if (srs_prepare(conf, err) < 0)
		return -1;
	for (int t = 0; t < RESOLVE_TABLES; t++)
		if (table_list_prepare(conf->tables[t], &prepared[t], err) < 0)
			return err_prefix(err, "%s", resolve_table_params[t]);
	return 0;
}

int
db_worker_prepare(const struct authd_conf *conf, struct err *err)
{
	/* in this order: the database's directory is the one we stay in */
	if (tables_prepare(conf, err) < 0)
		return -1;
	lookup_prepare(conf->lookup_tables, conf->own_maps);
	return user_db_enter(conf->user_database, err);
}

static void
resolve_prepare(struct resolve_conf *r, const struct authd_conf *conf)
{
	resolve_conf_init(r, conf->mailbox_domains, conf->destination, conf->relay_domains);
	for (int t = 0; t < RESOLVE_TABLES; t++)
		r->has_table[t] = !table_list_is_empty(prepared[t]);
	r->relay_parents = conf->relay_parents;
	r->transport_parents = conf->transport_parents;
	r->rewrite = conf->rewrite;
	r->keeps_extension = conf->keeps_extension;
	r->keeps_alias_extension = conf->keeps_alias_extension;
	r->keeps_include_extension = conf->keeps_include_extension;
	r->expand_owner = conf->expand_owner;
	r->owner_is_special = conf->owner_is_special;
	r->reset_owner = conf->reset_owner;
	r->srs = srs;
	/* its addresses are ours, wherever else they are named */
	if (srs.nsecrets > 0 && map_get(&r->mailbox_domains, view_of(srs.domain)) == NULL)
		map_put(&r->local_domains, view_of(srs.domain), r);
	r->virtual_way = conf->virtual_way;
	r->relay_way = conf->relay_way;
	r->default_way = conf->default_way;
	r->null_relayhost_key = conf->null_relayhost_key;
	r->null_transport_key = conf->null_transport_key;
	r->origin = conf->origin;
	memcpy(r->sinks, conf->sinks, sizeof r->sinks);
	r->relayhost = conf->relayhost;
	r->delimiter = conf->delimiter;
	r->owner_uid = conf->owner_uid;
	r->owner_gid = conf->owner_gid;
}

/* The database is not for a test to open: whoever runs has it.  What an alias names is believed to be there. */
static int
any_user_but_postmaster(void *arg, const char *address, struct user_record *out, struct err *err)
{
	(void)arg, (void)err;
	*out = (struct user_record){ 0 };
	return view_starts(view_of(address), "postmaster@") ? 1 : 0;
}

/* Values that stand in texts; each bad one would make mail wait. */
static void
on_way(void *arg, const char *where, struct view value)
{
	char *text = x_strndup(value.p, value.len);
	unsigned *said = arg;
	struct way way;
	struct err e;

	/* ":nexthop", DUNNO, and what a match is to fill in */
	if (text[0] != ':' && text[0] != '\0' && strchr(text, '$') == NULL &&
	    strcasecmp(text, "dunno") != 0 && way_parse(text, &way, &e) < 0 && ++*said <= SAID_MAX)
		log_warn("%s: %s", where, lqs(e.text));
	free(text);
}

/* What is in an alias and is not done, or cannot be read. */
static void
on_alias(void *arg, const char *where, struct view value)
{
	unsigned *said = arg;
	struct alias_item item;
	struct err e;
	int r;

	while ((r = alias_next(&value, &item, &e)) == 0 && *said < SAID_MAX)
		if (item.kind == ALIAS_COMMAND || item.kind == ALIAS_FILE) {
			log_warn(
			    "%s: \"%s\": mail to commands and files is not there: it is returned",
			    where, lqs(item.text));
			++*said;
		}
	if (r < 0 && ++*said <= SAID_MAX)
		log_warn("%s: %s; mail for it waits", where, lqs(e.text));
}

static void
test_values(const char *specs, enum table_form form,
    void (*fn)(void *arg, const char *where, struct view value))
{
	struct view rest = view_of(specs), spec;

	while (table_spec_next(&rest, &spec)) {
		char *text = x_strndup(spec.p, spec.len);
		unsigned said = 0;
		struct err e;

		if (table_each_value(text, form, fn, &said, &e) < 0)
			log_warn("%s: values not tested: %s", text, e.text);
		free(text);
	}
}

static void
test_postmaster(const struct authd_conf *conf)
{
	struct db_worker w = { 0 };
	const struct resolve_source aliases = { source_lookup, source_include,
		any_user_but_postmaster, &w };
	struct resolution r;
	struct err e;

	resolve_prepare(&w.resolve, conf);
	if (resolve_address(&w.resolve, &aliases, "postmaster", "", &r, &e) == 0) {
		if (!r.is_known &&
		    (w.resolve.mailbox_domains.count > 0 || w.resolve.local_domains.count > 0))
			log_warn(
			    "virtual_alias_maps: no alias for postmaster: without a mailbox postmaster@%s mail to it is "
			    "refused, which must not be (RFC 5321 4.5.1)",
			    conf->origin);
		resolution_clear(&r);
	}
	resolve_conf_clear(&w.resolve);
}

int
db_worker_test(const struct authd_conf *conf, uid_t uid, gid_t gid, struct err *err)
{
	if (tables_prepare(conf, err) < 0)
		return -1;
	lookup_prepare(conf->lookup_tables, conf->own_maps);
	if (geteuid() == 0 && (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 ||
				  setresuid(uid, uid, uid) < 0))
		return err_sys(err, ERR_PERM, "cannot become user %u", (unsigned)uid);
	if (tables_open(err) < 0 || lookup_test(err) < 0)
		return -1;
	test_postmaster(conf);
	test_values(conf->tables[RESOLVE_TRANSPORTS], TABLE_FORM_MAP, on_way);
	test_values(conf->tables[RESOLVE_SENDER_TRANSPORTS], TABLE_FORM_MAP, on_way);
	test_values(conf->tables[RESOLVE_LOCAL_ALIASES], TABLE_FORM_ALIASES, on_alias);
	return 0;
}

/* -1: not all of it could be opened. */
static int
worker_open(struct db_worker *w, struct err *err)
{
	const struct authd_conf *conf = w->conf;
	struct err second;
	int r;

	resolve_prepare(&w->resolve, conf);
	r = tables_open(err);
	if (user_db_open(conf->user_database, LOCK_WAIT_MS, &w->db, r < 0 ? &second : err) == 0)
		return r;
	loop_timer_start(&w->reopen, REOPEN_MS);
	return -1;
}

static void
on_reopen(void *arg)
{
	struct db_worker *w = arg;
	struct err e;

	request_begin();
	if (user_db_open(w->conf->user_database, 0, &w->db, &e) < 0) {
		log_error("%s", lqs(e.text));
		loop_timer_start(&w->reopen, REOPEN_MS);
	} else {
		log_info("the user database is open again");
	}
	request_end(w);
}

_Noreturn void
db_worker_run(const struct authd_conf *conf, int fd)
{
	static const struct ipc_conn_ops ops = { .handlers = from_loop, .on_close = on_loop_gone };
	struct db_worker w = { .conf = conf, .loop = loop_new() };
	struct ipc_conn *c = ipc_conn_new(w.loop, fd, &ops, &w);
	struct ipc_out hello;
	struct err e = { 0 };
	int r;

	loop_timer_init(&w.checkpoint, w.loop, on_checkpoint, &w);
	loop_timer_init(&w.reopen, w.loop, on_reopen, &w);
	r = worker_open(&w, &e);
	ipc_out_init(&hello, WORKER_HELLO);
	ipc_put_u32(&hello, r < 0);
	ipc_put_str(&hello, e.text);
	/* of the first worker a bad word is the last; a later one serves what it can */
	if (ipc_conn_send(c, &hello) == 0)
		loop_run(w.loop);
	user_db_close(w.db);
	_exit(0);
}
