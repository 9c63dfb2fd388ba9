/* services.c - from main.cf and master.cf to running services, at start and at reload. */
#include "master/master.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/config/postfix.h"
#include "common/log/log.h"
#include "common/table/table_config.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct fault {
	char text[400];
	unsigned count;
};

static void
on_fault(void *arg, const char *name, const char *text)
{
	struct fault *f = arg;

	(void)name;
	if (f->count++ == 0)
		snprintf(f->text, sizeof f->text, "%s", text);
	log_error("%s", text);
}

/* arg: the file of which lines are named; NULL: all */
static void
on_unmet(void *arg, const struct conf_setting *s, enum postfix_fate fate, const char *text)
{
	if (fate == POSTFIX_IGNORED && (arg == NULL || strcmp(s->file, arg) == 0))
		log_warn("%s", text);
}

static void
on_needed(void *arg, const struct conf_setting *s, enum postfix_fate fate, const char *text)
{
	(void)s;
	if (fate == POSTFIX_NEEDED)
		on_fault(arg, "", text);
}

int
services_check_conf(struct conf *c, struct err *err)
{
	struct fault first = { 0 };

	postfix_each_unmet(c, on_needed, &first);
	if (conf_check(c, on_fault, &first) == 0 && first.count == 0)
		return 0;
	return err_set(err, ERR_SYNTAX, "%s%s", first.text, first.count > 1 ? " (and more)" : "");
}

static unsigned
default_maxproc(enum role r)
{
	switch (r) {
	case ROLE_SMTPD:
	case ROLE_RELAY:
	case ROLE_IMAPD_LOGIN:
	case ROLE_POP3D_LOGIN:
		return 2; /* event-driven: a process a core, not a process a client */
	default:
		return 1;
	}
}

static bool
is_on_demand(enum role r)
{
	return role_row(r)->user == NULL;
}

void
service_drop_previous(struct service_state *s)
{
	if (s->previous != NULL)
		conf_clear(s->previous);
	x_free(&s->previous);
}

void
service_free(struct service_state *s)
{
	for (size_t i = 0; i < s->nlisteners; i++)
		listener_clear(&s->listeners[i]);
	loop_timer_stop(&s->restart);
	conf_clear(&s->conf);
	service_drop_previous(s);
	free(s->listeners);
	free(s->name);
	free(s);
}

static void
on_restart(void *arg)
{
	service_keep_running(arg);
}

static struct service_state *
find_service(struct service_list *list, const struct service *row)
{
	struct service_state *s;

	LIST_FOREACH(s, list, link)
	{
		if (s->role == row->role && strcmp(s->name, row->name) == 0)
			return s;
	}
	return NULL;
}

static int
build_service(struct master *m, const struct service *row, const struct conf *conf,
    struct service_list *list, struct err *err)
{
	struct service_state *s = x_calloc(1, sizeof *s);
	const struct role_row *role = role_row(row->role);

	s->master = m;
	s->name = x_strdup(row->name);
	s->role = row->role;
	s->maxproc = is_on_demand(row->role) ? 0 : row->maxproc ? row->maxproc : default_maxproc(row->role);
	LIST_INIT(&s->processes);
	loop_timer_init(&s->restart, m->loop, on_restart, s);
	LIST_INSERT_HEAD(list, s, link);
	if (service_conf(row, conf, &s->conf, err) < 0 || services_check_conf(&s->conf, err) < 0)
		return err_prefix(err, "%s:%d", row->file, row->line);
	postfix_each_unmet(&s->conf, on_unmet, (void *)(uintptr_t)row->file);
	if (role->user != NULL && setup_user(role->user, &s->uid, &s->gid, err) < 0)
		return -1;
	if (setup_listeners(s, row, find_service(&m->services, row), err) < 0)
		return err_prefix(err, "%s:%d", row->file, row->line);
	return 0;
}

static void
free_services(struct service_list *list)
{
	struct service_state *s;

	while ((s = LIST_FIRST(list)) != NULL) {
		LIST_REMOVE(s, link);
		service_free(s);
	}
}

/* Everything that can fail happens here, before anything of the running suite has changed. */
static int
build_all(struct master *m, struct conf *conf, struct service_list *list, struct err *err)
{
	struct master_cf table;
	struct service_state *s;
	char *path = x_asprintf("%s/master.cf", m->config_directory);
	int r = master_cf_load(&table, path, err);

	if (r == 0)
		postfix_each_unmet(conf, on_unmet, NULL);
	for (size_t i = 0; i < table.nnotes && r == 0; i++)
		log_warn("%s", table.notes[i]);
	for (size_t i = 0; i < table.count && r == 0; i++)
		r = build_service(m, &table.services[i], conf, list, err);
	LIST_FOREACH(s, list, link)
	{
		if (r == 0 && s->role == ROLE_AUTHD)
			r = table_config_collect(&table, conf, &s->conf, err);
	}
	master_cf_clear(&table);
	free(path);
	return r;
}

int
open_log_file(const struct conf *conf, struct err *err)
{
	const char *path = conf_str(conf, "log_file");
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0640);

	if (fd < 0) {
		err_sys(err, ERR_PERM, "open %s", path);
		conf_err_prefix(err, conf, "log_file");
	}
	return fd;
}

/* The running processes of the old service go on under the new one. */
static void
adopt_processes(struct service_state *s, struct service_state *old)
{
	struct process *p;

	while ((p = LIST_FIRST(&old->processes)) != NULL) {
		LIST_REMOVE(p, link);
		p->service = s;
		LIST_INSERT_HEAD(&s->processes, p, link);
	}
}

/* What an exclusive role goes back to when its new process does not come to serve: there is no old one then. */
static void
keep_previous(struct service_state *s, struct service_state *old)
{
	if (!role_row(s->role)->is_exclusive || s->role == ROLE_LOG)
		return;
	s->previous = old->previous;
	old->previous = NULL;
	if (s->previous == NULL) {
		s->previous = x_calloc(1, sizeof *s->previous);
		conf_copy(s->previous, &old->conf);
	}
}

static struct service_state *
same_service(struct service_list *list, const struct service_state *like)
{
	struct service_state *s;

	LIST_FOREACH(s, list, link)
	{
		if (s->role == like->role && strcmp(s->name, like->name) == 0)
			return s;
	}
	return NULL;
}

static void
drain_old(struct service_state *s)
{
	struct process *p, *next;

	for (p = LIST_FIRST(&s->processes); p != NULL; p = next) {
		next = LIST_NEXT(p, link);
		/* the log goes on: it has no configuration of its own but its file */
		if (p->generation != s->master->generation && s->role != ROLE_LOG)
			process_drain(p);
	}
}

static void
swap_services(struct master *m, struct service_list *fresh)
{
	struct service_state *s, *old;

	while ((old = LIST_FIRST(&m->services)) != NULL) {
		LIST_REMOVE(old, link);
		s = same_service(fresh, old);
		if (s != NULL) {
			adopt_processes(s, old);
			keep_previous(s, old);
		}
		/* who got its certificate from one keyd can have signatures of that one only */
		if (s != NULL && s->role == ROLE_KEYD)
			setup_renew_edges(s);
		if (LIST_EMPTY(&old->processes)) {
			service_free(old);
			continue;
		}
		/* taken out of master.cf: it goes with its last process */
		old->is_removed = true;
		for (size_t i = 0; i < old->nlisteners; i++)
			listener_clear(&old->listeners[i]);
		old->nlisteners = 0;
		LIST_INSERT_HEAD(fresh, old, link);
	}
	LIST_INIT(&m->services);
	while ((s = LIST_FIRST(fresh)) != NULL) {
		LIST_REMOVE(s, link);
		LIST_INSERT_HEAD(&m->services, s, link);
	}
}

static void
start_services(struct master *m)
{
	struct service_state *s, *next;

	/* the log first: the others have things to say */
	if ((s = service_by_role(m, ROLE_LOG)) != NULL)
		service_keep_running(s);
	for (s = LIST_FIRST(&m->services); s != NULL; s = next) {
		next = LIST_NEXT(s, link);
		if (s->is_removed || role_row(s->role)->is_exclusive || role_row(s->role)->user == NULL)
			drain_old(s);
		service_keep_running(s);
	}
}

/* The control socket, the queue and the user database would be left behind. */
static int
check_same_place(const struct master *m, const struct conf *conf, struct err *err)
{
	static const char *const places[] = { "data_directory", "queue_directory" };

	for (size_t i = 0; m->generation > 0 && i < sizeof places / sizeof places[0]; i++) {
		const char *was = conf_str(&m->conf, places[i]);

		if (strcmp(was, conf_str(conf, places[i])) != 0)
			return err_set(err, ERR_PERM, "%s cannot change from %s while the suite runs: stop, then start",
			    places[i], was);
	}
	return 0;
}

int
services_load(struct master *m, struct err *err)
{
	struct service_list fresh = LIST_HEAD_INITIALIZER(fresh);
	struct conf conf;
	char *path = x_asprintf("%s/main.cf", m->config_directory);
	int log_file = -1, r;

	conf_init(&conf);
	r = conf_load(&conf, path, err);
	if (r == 0)
		r = services_check_conf(&conf, err);
	if (r == 0)
		r = check_same_place(m, &conf, err);
	free(path);
	if (r == 0) {
		struct conf old = m->conf;

		m->conf = conf;
		r = setup_directories(m, err);
		if (r == 0 && (log_file = open_log_file(&conf, err)) < 0)
			r = -1;
		if (r == 0)
			r = build_all(m, &m->conf, &fresh, err);
		conf = m->conf;
		m->conf = old;
	}
	if (r < 0) {
		free_services(&fresh);
		conf_clear(&conf);
		fd_close(&log_file);
		return -1;
	}
	conf_clear(&m->conf);
	m->conf = conf;
	m->generation++;
	swap_services(m, &fresh);
	master_set_log_file(m, log_file);
	start_services(m);
	return 0;
}
