#include "smtpd/anvil/store.h"
#include "common/base/clock.h"
#include "common/base/mem.h"

#include <db.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { CACHE_BYTES = 32 << 20, LOG_FILE_BYTES = 10 << 20, LOG_BUFFER_BYTES = 1 << 20 };

struct store {
	char *directory; /* owned */
	DB_ENV *env;     /* owned; NULL while closed */
	DB *tables[STORE_TABLES];
	int64_t closed_until_ms;
	bool is_dirty;
	struct {
		char key[STORE_KEY_MAX];
		size_t len;
	} swept[STORE_TABLES]; /* where the round goes on */
};

static const char *const names[STORE_TABLES] = { "greylist.db", "screen.db" };

static void
quiet(const DB_ENV *env, const char *prefix, const char *text)
{
	(void)env, (void)prefix, (void)text; /* the caller says it in its own words */
}

struct store *
store_new(const char *directory)
{
	struct store *s = x_calloc(1, sizeof *s);

	s->directory = x_strdup(directory);
	return s;
}

static void
store_close(struct store *s)
{
	for (size_t t = 0; t < STORE_TABLES; t++)
		if (s->tables[t] != NULL)
			s->tables[t]->close(s->tables[t], DB_NOSYNC);
	memset(s->tables, 0, sizeof s->tables);
	if (s->env != NULL) {
		s->env->set_flags(s->env, DB_NOPANIC, 1); /* so that it frees what it holds */
		s->env->close(s->env, 0);
	}
	s->env = NULL;
}

void
store_free(struct store *s)
{
	struct err err;

	if (s == NULL)
		return;
	store_sync(s, &err); /* else the log has it, and the next open takes it from there */
	store_close(s);
	free(s->directory);
	free(s);
}

/* --- what goes wrong ------------------------------------------------------------------------------------ */

static bool
is_ours(const char *name)
{
	for (size_t t = 0; t < STORE_TABLES; t++)
		if (strcmp(name, names[t]) == 0)
			return true;
	return strncmp(name, "log.", 4) == 0 || strncmp(name, "__db", 4) == 0;
}

static int
move_aside(struct store *s, struct err *err)
{
	char from[4096], to[4096];
	DIR *d = opendir(s->directory);
	struct dirent *e;
	int r = 0;

	snprintf(to, sizeof to, "%s/damaged", s->directory);
	if (d == NULL || (mkdir(to, 0700) < 0 && errno != EEXIST))
		r = err_sys(err, ERR_TEMP, "cannot move the damaged database aside");
	while (r == 0 && (e = readdir(d)) != NULL) {
		if (!is_ours(e->d_name))
			continue;
		snprintf(from, sizeof from, "%s/%s", s->directory, e->d_name);
		snprintf(to, sizeof to, "%s/damaged/%s", s->directory, e->d_name);
		if (rename(from, to) < 0)
			r = err_sys(err, ERR_TEMP, "cannot move %s aside", e->d_name);
	}
	if (d != NULL)
		closedir(d);
	return r;
}

/* Not the files' fault. */
static bool
is_passing(int code)
{
	static const int codes[] = { ENOSPC, EDQUOT, EFBIG, EIO, ENOMEM, EMFILE, ENFILE, EACCES,
		EPERM, EROFS };

	for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
		if (codes[i] == code)
			return true;
	return false;
}

static int
failed(struct store *s, int code, const char *what, struct err *err)
{
	store_close(s);
	s->closed_until_ms = clock_mono_ms() + STORE_RETRY_MS;
	err_set(err, ERR_TEMP, "%s: %s", what, db_strerror(code));
	if (is_passing(code))
		return -1;
	if (move_aside(s, err) == 0) {
		err_set(err, ERR_TEMP,
		    "%s: %s; the damaged files are in the directory \"damaged\" now, new ones are made",
		    what, db_strerror(code));
		s->closed_until_ms = 0;
	}
	return -1;
}

/* --- opening -------------------------------------------------------------------------------------------- */

static int
open_env(struct store *s)
{
	int code = db_env_create(&s->env, 0);

	if (code != 0)
		return code;
	s->env->set_errcall(s->env, quiet);
	code = s->env->set_cachesize(s->env, 0, CACHE_BYTES, 1);
	if (code == 0)
		code = s->env->set_lg_bsize(s->env, LOG_BUFFER_BYTES);
	if (code == 0)
		code = s->env->set_lg_max(s->env, LOG_FILE_BYTES);
	if (code == 0)
		code = s->env->log_set_config(s->env, DB_LOG_AUTO_REMOVE, 1);
	if (code == 0)
		code = s->env->set_flags(s->env, DB_TXN_WRITE_NOSYNC, 1);
	if (code == 0)
		code = s->env->open(s->env, s->directory,
		    DB_CREATE | DB_INIT_MPOOL | DB_INIT_TXN | DB_INIT_LOG | DB_PRIVATE | DB_RECOVER,
		    0600);
	return code;
}

static int
open_table(struct store *s, size_t t)
{
	int code = db_create(&s->tables[t], s->env, 0);

	if (code != 0)
		return code;
	code = s->tables[t]->set_flags(s->tables[t], DB_CHKSUM);
	if (code == 0)
		code = s->tables[t]->open(
		    s->tables[t], NULL, names[t], NULL, DB_BTREE, DB_CREATE | DB_AUTO_COMMIT, 0600);
	return code;
}

/* 0, or -1 as all calls. */
static int
store_open(struct store *s, struct err *err)
{
	int code;

	err_clear(err);
	if (s->env != NULL)
		return 0;
	if (clock_mono_ms() < s->closed_until_ms)
		return -1;
	code = open_env(s);
	for (size_t t = 0; t < STORE_TABLES && code == 0; t++)
		code = open_table(s, t);
	return code == 0 ? 0 : failed(s, code, "opening the database", err);
}

/* --- using it ------------------------------------------------------------------------------------------- */

static DBT
dbt(const void *p, size_t len)
{
	return (DBT){ .data = (void *)(uintptr_t)p, .size = (u_int32_t)len };
}

int
store_get(
    struct store *s, enum store_table t, struct view key, void *value, size_t size, struct err *err)
{
	DBT k = dbt(key.p, key.len), v = { 0 };
	int code;

	if (store_open(s, err) < 0)
		return -1;
	code = s->tables[t]->get(s->tables[t], NULL, &k, &v, 0);
	if (code == DB_NOTFOUND || (code == 0 && v.size != size))
		return 1;
	if (code != 0)
		return failed(s, code, "reading the database", err);
	memcpy(value, v.data, size);
	return 0;
}

int
store_put(struct store *s, enum store_table t, struct view key, const void *value, size_t size,
    struct err *err)
{
	DBT k = dbt(key.p, key.len), v = dbt(value, size);
	int code;

	if (store_open(s, err) < 0)
		return -1;
	code = s->tables[t]->put(s->tables[t], NULL, &k, &v, 0);
	s->is_dirty = true;
	return code == 0 ? 0 : failed(s, code, "writing the database", err);
}

int
store_sync(struct store *s, struct err *err)
{
	int code;

	err_clear(err);
	if (s->env == NULL || !s->is_dirty)
		return 0;
	s->is_dirty = false;
	code = s->env->txn_checkpoint(s->env, 0, 0, 0);
	return code == 0 ? 0 : failed(s, code, "syncing the database", err);
}

static int
sweep_step(struct store *s, enum store_table t, DBC *c, unsigned max,
    bool (*is_expired)(void *arg, struct view key, struct view value), void *arg)
{
	DBT k = dbt(s->swept[t].key, s->swept[t].len), v = { 0 };
	int code = c->get(c, &k, &v, DB_SET_RANGE);

	while (code == 0 && max-- > 0) {
		if (is_expired(arg, view_make(k.data, k.size), view_make(v.data, v.size)))
			code = c->del(c, 0);
		if (code == 0)
			code = c->get(c, &k, &v, DB_NEXT);
	}
	s->swept[t].len = 0;
	if (code == 0 && k.size <= STORE_KEY_MAX) {
		memcpy(s->swept[t].key, k.data, k.size);
		s->swept[t].len = k.size;
	}
	return code == DB_NOTFOUND ? 0 : code;
}

int
store_sweep(struct store *s, enum store_table t, unsigned max,
    bool (*is_expired)(void *arg, struct view key, struct view value), void *arg, struct err *err)
{
	DB_TXN *txn = NULL;
	DBC *c = NULL;
	int code, end;

	if (store_open(s, err) < 0)
		return -1;
	code = s->env->txn_begin(s->env, NULL, &txn, 0);
	if (code == 0)
		code = s->tables[t]->cursor(s->tables[t], txn, &c, 0);
	if (code == 0) {
		code = sweep_step(s, t, c, max, is_expired, arg);
		end = c->close(c);
		code = code == 0 ? end : code;
	}
	if (txn != NULL) {
		end = code == 0 ? txn->commit(txn, 0) : txn->abort(txn);
		code = code == 0 ? end : code;
	}
	s->is_dirty = true;
	return code == 0 ? 0 : failed(s, code, "sweeping the database", err);
}
