#include "qmgr/contain.h"
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/config/conf.h"
#include "common/log/log.h"
#include "common/net/addr.h"
#include "qmgr/contain_state.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
	WATCHED_MAX = 10000, /* logins; he who was seen longest ago is forgotten */
	LOCKS_MAX = 1000,
	STEP = 2000, /* messages looked at in one turn of the loop */
	MOVES_AT_ONCE = 256,
	RETRY_MS = 10000, /* what could not be written */
	FILE_BYTES = 64 << 20,
	NOTICE_BYTES = 8192,
};

struct watched {
	TAILQ_ENTRY(watched) link;
	char *login; /* owned, lower case */
	struct contain_habit habit;
	int64_t warned_ms;
	char address[ADDR_TEXT]; /* that the last message came from */
	struct queue_id last;
};
TAILQ_HEAD(watched_list, watched);

enum lock_state {
	LOCK_LISTING, /* what the admin has on hold is noted */
	LOCK_HOLDING, /* the rest goes on hold, once the lock is on disk */
	LOCK_HELD,
	LOCK_RELEASING, /* the rest goes on its way */
	LOCK_GONE,      /* on its way out of the file */
};

struct lock {
	LIST_ENTRY(lock) link;
	struct contain *all;
	struct contain_lock_line line; /* login, since, reason, kept: owned */
	uint64_t tenant;
	enum lock_state state;
	bool is_written, is_on_its_way; /* to disk, as it is now */
	struct loop_timer step;
	struct queue_id at; /* how far the walk through the queue has come */
	unsigned under_way;
	size_t moved, failed;
	void (*fn)(void *arg, bool ok); /* who waits until it is durable; NULL: nobody */
	void *arg;
};
LIST_HEAD(lock_list, lock);

struct contain {
	struct queue *q;
	struct submit *submit;
	struct contain_conf conf;
	struct map by_login; /* struct watched */
	struct watched_list watched;
	struct map locked; /* struct lock */
	struct lock_list locks;
	bool is_writing_locks, is_writing_habits, has_new_locks, has_new_habits;
	struct loop_timer retry, habits;
};

static void write_locks(struct contain *c);

/* --- files --------------------------------------------------------------------------------------------------- */

struct write_op {
	struct contain *c;
	const char *name;
	bool is_durable;
	struct buf text;
	struct err err;
	int result;
	void (*done)(struct contain *c, bool ok);
};

static void
write_run(void *arg)
{
	struct write_op *op = arg;

	op->result = op->text.failed
			 ? err_set(&op->err, ERR_LIMIT, "contain/%s: too large", op->name)
			 : contain_file_save(op->c->q->root_fd, op->name, buf_view(&op->text),
			       op->is_durable, &op->err);
}

static void
write_done(void *arg)
{
	struct write_op *op = arg;

	op->c->q->operations--;
	if (op->result < 0)
		log_error("%s", op->err.text);
	op->done(op->c, op->result == 0);
	buf_clear(&op->text);
	free(op);
}

static struct write_op *
write_op_new(
    struct contain *c, const char *name, bool is_durable, void (*done)(struct contain *c, bool ok))
{
	struct write_op *op = x_calloc(1, sizeof *op);

	op->c = c;
	op->name = name;
	op->is_durable = is_durable;
	op->done = done;
	buf_init(&op->text, FILE_BYTES);
	return op;
}

static void
write_start(struct write_op *op)
{
	op->c->q->operations++;
	work_submit(op->c->q->tool_pool, write_run, write_done, op);
}

/* --- locks --------------------------------------------------------------------------------------------------- */

/* His tenant, as his messages have it. */
static uint64_t
tenant_of(const char *login)
{
	return tenant_key(&(struct envelope){ .sender = "-", .sasl_username = login });
}

static struct lock *
find_lock(const struct contain *c, const char *login)
{
	char lower[CONTAIN_LOGIN_MAX];

	snprintf(lower, sizeof lower, "%s", login);
	ascii_lower_str(lower);
	return map_get(&c->locked, view_of(lower));
}

static void
lock_free(struct lock *k)
{
	loop_timer_stop(&k->step);
	map_remove(&k->all->locked, view_of(k->line.login));
	LIST_REMOVE(k, link);
	free(k->line.kept);
	free(k);
}

static void
answer(struct lock *k, bool ok)
{
	void (*fn)(void *arg, bool ok) = k->fn;

	k->fn = NULL;
	if (fn != NULL)
		fn(k->arg, ok);
}

static void
set_state(struct lock *k, enum lock_state state)
{
	k->state = state;
	k->line.is_releasing = state == LOCK_RELEASING;
	k->is_written = k->is_on_its_way = false;
	write_locks(k->all);
}

static bool
is_kept(const struct lock *k, struct queue_id id)
{
	for (size_t i = 0; i < k->line.nkept; i++)
		if (queue_id_compare(k->line.kept[i], id) == 0)
			return true;
	return false;
}

static void
walk(struct lock *k)
{
	k->at = (struct queue_id){ 0 };
	k->moved = k->failed = 0;
	loop_timer_soon(&k->step);
}

static void
walk_end(struct lock *k)
{
	if (k->failed > 0)
		log_error("contain: login=<%s>: %zu messages could not be moved",
		    lqs(k->line.login), k->failed);
	if (k->state == LOCK_LISTING) {
		set_state(k, LOCK_HOLDING);
		return;
	}
	log_info("contain: login=<%s>: %zu messages %s", lqs(k->line.login), k->moved,
	    k->state == LOCK_HOLDING ? "placed on hold" : "released from hold");
	if (k->state == LOCK_HOLDING)
		k->state = LOCK_HELD; /* on disk that is the same */
	else
		set_state(k, LOCK_GONE);
}

static void
on_moved(void *arg, bool ok)
{
	struct lock *k = arg;

	k->under_way--;
	k->moved += ok;
	k->failed += !ok;
	loop_timer_soon(&k->step);
}

static void
move(struct lock *k, struct message *m, unsigned wants)
{
	k->under_way++;
	queue_want(k->all->q, m, wants, on_moved, k);
}

static void
keep(struct lock *k, struct queue_id id)
{
	if (k->line.nkept == CONTAIN_KEPT_MAX)
		return;
	if (k->line.kept == NULL)
		k->line.kept = x_calloc(CONTAIN_KEPT_MAX, sizeof *k->line.kept);
	k->line.kept[k->line.nkept++] = id;
}

static void
visit(struct lock *k, struct message *m)
{
	if (m->tenant->key != k->tenant || m->is_deleted)
		return;
	if (k->state == LOCK_LISTING && m->is_held)
		keep(k, m->id);
	else if (k->state == LOCK_HOLDING && !m->is_held)
		move(k, m, WANT_HOLD);
	else if (k->state == LOCK_RELEASING && m->is_held && !is_kept(k, m->id))
		move(k, m, WANT_RELEASE);
}

static void
on_step(void *arg)
{
	struct lock *k = arg;
	struct message *m = NULL;

	for (int i = 0; i < STEP && k->under_way < MOVES_AT_ONCE; i++) {
		if ((m = queue_from(k->all->q, k->at)) == NULL)
			break;
		k->at = queue_id_after(m->id);
		visit(k, m);
	}
	if (m != NULL && k->under_way < MOVES_AT_ONCE)
		loop_timer_soon(&k->step);
	else if (k->under_way == 0)
		walk_end(k);
}

/* What a lock waited for: it is on disk as it is. */
static void
lock_written(struct lock *k)
{
	k->is_written = true;
	answer(k, true);
	if (k->state == LOCK_GONE)
		lock_free(k);
	else if (k->state == LOCK_HOLDING || k->state == LOCK_RELEASING)
		walk(k);
}

static void
on_locks_written(struct contain *c, bool ok)
{
	struct lock *k, *next;

	c->is_writing_locks = false;
	for (k = LIST_FIRST(&c->locks); k != NULL; k = next) {
		next = LIST_NEXT(k, link);
		if (!k->is_on_its_way)
			continue;
		k->is_on_its_way = false;
		if (ok)
			lock_written(k);
		else
			answer(k, false);
	}
	if (!ok)
		loop_timer_start(&c->retry, RETRY_MS);
	else if (c->has_new_locks)
		write_locks(c);
}

static void
write_locks(struct contain *c)
{
	struct write_op *op;
	struct lock *k;

	c->has_new_locks = c->is_writing_locks;
	if (c->is_writing_locks)
		return;
	c->is_writing_locks = true;
	op = write_op_new(c, "locks", true, on_locks_written);
	LIST_FOREACH (k, &c->locks, link) {
		k->is_on_its_way = !k->is_written;
		/* who is still being listed has nothing on hold that the file would have to know of */
		if (k->state != LOCK_GONE && k->state != LOCK_LISTING)
			contain_lock_write(&k->line, &op->text);
		else if (k->state == LOCK_LISTING)
			k->is_on_its_way = false;
	}
	write_start(op);
}

static void
on_retry(void *arg)
{
	write_locks(arg);
}

static struct lock *
lock_new(struct contain *c, const struct contain_lock_line *line)
{
	struct lock *k = x_calloc(1, sizeof *k);

	k->all = c;
	k->line = *line;
	ascii_lower_str(k->line.login);
	k->tenant = tenant_of(k->line.login);
	loop_timer_init(&k->step, c->q->loop, on_step, k);
	map_put(&c->locked, view_of(k->line.login), k);
	LIST_INSERT_HEAD(&c->locks, k, link);
	return k;
}

static bool
is_shut(const struct lock *k)
{
	return k != NULL &&
	       (k->state == LOCK_LISTING || k->state == LOCK_HOLDING || k->state == LOCK_HELD);
}

bool
contain_is_locked(const struct contain *c, const char *login)
{
	return login[0] != '\0' && c->locked.count > 0 && is_shut(find_lock(c, login));
}

/* --- the admin is told ----------------------------------------------------------------------------------------- */

static void
write_notice(
    const struct contain *c, const struct lock *k, const struct watched *w, struct buf *out)
{
	char id[QUEUE_ID_TEXT] = "none";

	if (w->last.us != 0)
		queue_id_format(w->last, id);
	buf_printf(out, "From: Mail Delivery System <%s>\nTo: %s\nSubject: Mail of %s is on hold\n",
	    c->conf.notice_sender, c->conf.recipient, lqs(k->line.login));
	buf_append_str(out, "Auto-Submitted: auto-generated\n\n");
	buf_printf(out, "The mail of the login %s has suddenly changed:\n\n    %s\n\n",
	    lqs(k->line.login), k->line.reason);
	buf_printf(out,
	    "Its messages in the queue are on hold, and it cannot hand in more.\n"
	    "The last message, %s, came from %s.\n\n",
	    id, w->address[0] != '\0' ? w->address : "an unknown address");
	buf_printf(out,
	    "What is on hold:     estafeta queue list --queue hold\n"
	    "All is as it should: estafeta contain release '%s'\n"
	    "It was stolen:       change its password, delete the mail, then release it.\n",
	    lqs(k->line.login));
}

static void
tell_admin(struct contain *c, const struct lock *k, const struct watched *w)
{
	struct buf text;
	struct err err;
	int content = -1, recipient = -1;

	buf_init(&text, NOTICE_BYTES);
	write_notice(c, k, w, &text);
	if (!text.failed) {
		content = memfd_sealed("notice", text.p, text.len, &err);
		recipient = memfd_sealed(
		    "recipient", c->conf.recipient, strlen(c->conf.recipient) + 1, &err);
	}
	if (content >= 0 && recipient >= 0) {
		submit_start(
		    c->submit, 0, c->conf.notice_sender, 0, "", content, recipient, NULL, NULL);
	} else {
		log_error("contain: login=<%s>: no notice: %s", lqs(k->line.login), err.text);
		fd_close(&content);
		fd_close(&recipient);
	}
	buf_clear(&text);
}

/* --- who is watched -------------------------------------------------------------------------------------------- */

static void
watched_free(struct contain *c, struct watched *w)
{
	map_remove(&c->by_login, view_of(w->login));
	TAILQ_REMOVE(&c->watched, w, link);
	free(w->login);
	free(w);
}

static struct watched *
watch(struct contain *c, const char *login)
{
	char lower[CONTAIN_LOGIN_MAX];
	struct watched *w;

	snprintf(lower, sizeof lower, "%s", login);
	ascii_lower_str(lower);
	w = map_get(&c->by_login, view_of(lower));
	if (w != NULL) {
		TAILQ_REMOVE(&c->watched, w, link);
	} else {
		if (c->by_login.count == WATCHED_MAX)
			watched_free(c, TAILQ_LAST(&c->watched, watched_list));
		w = x_calloc(1, sizeof *w);
		w->login = x_strdup(lower);
		map_put(&c->by_login, view_of(lower), w);
	}
	TAILQ_INSERT_HEAD(&c->watched, w, link);
	return w;
}

static bool
is_watched(const struct contain *c, const char *login)
{
	struct view rest = view_of(c->conf.exceptions), word;

	if (c->conf.action == CONTAIN_NONE || login == NULL || login[0] == '\0' ||
	    strlen(login) >= CONTAIN_LOGIN_MAX)
		return false;
	while (conf_next(&rest, &word))
		if (view_case_eq_str(word, login))
			return false;
	return true;
}

static void
judge(struct contain *c, struct watched *w)
{
	struct contain_lock_line line = { .since_ms = clock_wall_ms() };
	struct lock *k;

	c->has_new_habits = true;
	if (map_get(&c->locked, view_of(w->login)) != NULL ||
	    !contain_is_unusual(&w->habit, &c->conf.limits, line.reason))
		return;
	if (c->conf.action == CONTAIN_WARN || c->locked.count >= LOCKS_MAX) {
		if (w->warned_ms == 0 || clock_mono_ms() - w->warned_ms >= c->conf.limits.span_ms)
			log_warn("contain: login=<%s>: %s", lqs(w->login), line.reason);
		w->warned_ms = clock_mono_ms();
		return;
	}
	snprintf(line.login, sizeof line.login, "%s", w->login);
	log_warn("contain: login=<%s>: %s: its mail is on hold and it hands in no more",
	    lqs(w->login), line.reason);
	k = lock_new(c, &line);
	walk(k);
	tell_admin(c, k, w);
}

void
contain_accepted(struct contain *c, struct message *m)
{
	const struct envelope *e = &m->active->env;
	const char *login = e->sasl_username;
	int64_t now = clock_mono_ms();
	struct watched *w;

	/* taken before the lock, and in the queue behind the walk */
	if (login != NULL && contain_is_locked(c, login)) {
		queue_want(c->q, m, WANT_HOLD, NULL, NULL);
		return;
	}
	if (!is_watched(c, login))
		return;
	w = watch(c, login);
	contain_note_message(&w->habit, &c->conf.limits, now, e->client_address);
	for (size_t i = 0; i < e->nrcpts; i++) {
		const char *at = strrchr(e->rcpts[i].address, '@');

		contain_note_recipient(&w->habit, view_of(at != NULL ? at + 1 : ""));
	}
	snprintf(w->address, sizeof w->address, "%s", e->client_address);
	w->last = m->id;
	judge(c, w);
}

void
contain_failed(struct contain *c, const struct message *m)
{
	const char *login = m->active->env.sasl_username;
	struct watched *w;

	if (!is_watched(c, login))
		return;
	w = watch(c, login);
	if (!contain_counts_since(&w->habit, &c->conf.limits, m->born_ms))
		return;
	contain_note_failures(&w->habit, &c->conf.limits, clock_mono_ms(), 1);
	judge(c, w);
}

void
contain_refused(struct contain *c, const char *login, uint32_t n)
{
	struct watched *w;

	if (!is_watched(c, login) || n == 0)
		return;
	w = watch(c, login);
	contain_note_refused(&w->habit, &c->conf.limits, clock_mono_ms(), n);
	judge(c, w);
}

static void
put_habits(const struct contain *c, struct buf *out)
{
	const struct watched *w;

	TAILQ_FOREACH (w, &c->watched, link)
		contain_habit_write(w->login, &w->habit, out);
}

static void
on_habits_written(struct contain *c, bool ok)
{
	c->is_writing_habits = false;
	c->has_new_habits |= !ok;
}

static void
on_habits(void *arg)
{
	struct contain *c = arg;
	struct write_op *op;

	loop_timer_start(&c->habits, c->conf.limits.span_ms);
	if (!c->has_new_habits || c->is_writing_habits)
		return;
	c->is_writing_habits = true;
	c->has_new_habits = false;
	op = write_op_new(c, "habits", false, on_habits_written);
	put_habits(c, &op->text);
	write_start(op);
}

/* --- the admin's side -------------------------------------------------------------------------------------------- */

void
contain_list(const struct contain *c, struct buf *out)
{
	const struct lock *k;

	LIST_FOREACH (k, &c->locks, link) {
		json_t *o;
		char *text;

		if (k->state == LOCK_GONE)
			continue;
		o = json_pack("{s:s, s:I, s:s, s:s}", "login", k->line.login, "since",
		    (json_int_t)k->line.since_ms / 1000, "state",
		    is_shut(k) ? "held" : "being released", "reason", k->line.reason);
		text = o != NULL ? json_dumps(o, JSON_COMPACT) : NULL;
		if (text == NULL) /* a login that is no UTF-8 */
			text = x_strdup("{\"login\":null}");
		buf_printf(out, "%s\n", text);
		free(text);
		json_decref(o);
	}
}

int
contain_hold(struct contain *c, const char *login, const char *reason,
    void (*fn)(void *arg, bool ok), void *arg, struct err *err)
{
	struct contain_lock_line line = { .since_ms = clock_wall_ms() };
	struct lock *k = find_lock(c, login);

	if (login[0] == '\0' || strlen(login) >= sizeof line.login)
		return err_set(err, ERR_SYNTAX, "no login");
	if (k != NULL)
		return err_set(
		    err, ERR_PERM, is_shut(k) ? "it is on hold already" : "it is being released");
	if (c->locked.count >= LOCKS_MAX)
		return err_set(err, ERR_LIMIT, "more than %d logins are on hold", LOCKS_MAX);
	snprintf(line.login, sizeof line.login, "%s", login);
	log_quote(line.reason, sizeof line.reason, view_of(reason));
	k = lock_new(c, &line);
	k->fn = fn;
	k->arg = arg;
	log_info("contain: login=<%s>: placed on hold: %s", lqs(k->line.login), k->line.reason);
	walk(k);
	return 0;
}

int
contain_release(struct contain *c, const char *login, bool keeps, void (*fn)(void *arg, bool ok),
    void *arg, struct err *err)
{
	struct lock *k = find_lock(c, login);
	struct watched *w;

	if (k == NULL || k->state == LOCK_GONE)
		return err_set(err, ERR_GONE, "it is not on hold");
	if (k->state != LOCK_HELD)
		return err_set(err, ERR_TEMP, "its mail is still being moved");
	if (!keeps && k->line.nkept == CONTAIN_KEPT_MAX)
		return err_set(err, ERR_LIMIT,
		    "more than %d of its messages had been on hold before; use -k, then estafeta queue release",
		    CONTAIN_KEPT_MAX);
	if ((w = map_get(&c->by_login, view_of(k->line.login))) != NULL)
		contain_accept_habit(&w->habit);
	k->fn = fn;
	k->arg = arg;
	log_info("contain: login=<%s>: released", lqs(k->line.login));
	set_state(k, keeps ? LOCK_GONE : LOCK_RELEASING);
	return 0;
}

/* --- life ---------------------------------------------------------------------------------------------------------- */

static void
load(struct contain *c, const char *name, bool (*take)(struct contain *c, struct view line))
{
	struct view rest, line;
	struct buf text;
	size_t bad = 0;
	struct err err;

	buf_init(&text, FILE_BYTES);
	if (contain_file_load(c->q->root_fd, name, &text, &err) < 0)
		log_error("%s", err.text);
	for (rest = buf_view(&text); rest.len > 0;) {
		view_cut(rest, '\n', &line, &rest);
		bad += line.len > 0 && !take(c, line);
	}
	if (bad > 0)
		log_error("contain/%s: %zu lines cannot be read", name, bad);
	buf_clear(&text);
}

static bool
take_lock(struct contain *c, struct view line)
{
	struct contain_lock_line l;
	struct lock *k;

	if (c->locked.count >= LOCKS_MAX || contain_lock_read(line, &l) < 0)
		return false;
	if (find_lock(c, l.login) != NULL) {
		free(l.kept);
		return false;
	}
	k = lock_new(c, &l);
	k->is_written = true;
	k->state = l.is_releasing ? LOCK_RELEASING : LOCK_HOLDING;
	walk(k);
	return true;
}

static bool
take_habit(struct contain *c, struct view line)
{
	char login[CONTAIN_LOGIN_MAX];
	struct contain_habit h;

	if (c->by_login.count >= WATCHED_MAX || contain_habit_read(line, login, &h) < 0)
		return false;
	watch(c, login)->habit = h;
	return true;
}

struct contain *
contain_new(struct queue *q, struct submit *submit, const struct contain_conf *conf)
{
	struct contain *c = x_calloc(1, sizeof *c);

	c->q = q;
	c->submit = submit;
	c->conf = *conf;
	map_init(&c->by_login);
	map_init(&c->locked);
	TAILQ_INIT(&c->watched);
	LIST_INIT(&c->locks);
	loop_timer_init(&c->retry, q->loop, on_retry, c);
	loop_timer_init(&c->habits, q->loop, on_habits, c);
	load(c, "locks", take_lock);
	if (conf->action != CONTAIN_NONE) {
		load(c, "habits", take_habit);
		loop_timer_start(&c->habits, conf->limits.span_ms);
	}
	return c;
}

void
contain_save(struct contain *c)
{
	struct buf text;
	struct err err;

	if (!c->has_new_habits)
		return;
	buf_init(&text, FILE_BYTES);
	put_habits(c, &text);
	if (!text.failed &&
	    contain_file_save(c->q->root_fd, "habits", buf_view(&text), false, &err) < 0)
		log_error("%s", err.text);
	buf_clear(&text);
}

void
contain_free(struct contain *c)
{
	struct watched *w;
	struct lock *k;

	while ((k = LIST_FIRST(&c->locks)) != NULL)
		lock_free(k);
	while ((w = TAILQ_FIRST(&c->watched)) != NULL)
		watched_free(c, w);
	map_clear(&c->by_login);
	map_clear(&c->locked);
	loop_timer_stop(&c->retry);
	loop_timer_stop(&c->habits);
	free(c);
}
