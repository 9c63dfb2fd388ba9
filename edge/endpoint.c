#include "edge/endpoint.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/config/master_cf.h"
#include "common/config/restrictions.h"
#include "common/log/log.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <sys/un.h>

void
endpoint_clear(struct endpoint *e)
{
	x_free(&e->host);
	x_free(&e->directory);
	x_free(&e->name);
	fd_close(&e->dirfd);
}

static int
parse_port(struct view text, unsigned *port)
{
	struct servent entry, *s = NULL;
	uint64_t number;
	char *name, names[1024];

	if (view_u64(text, 65535, &number)) {
		*port = (unsigned)number;
		return number > 0 ? 0 : -1;
	}
	name = x_strndup(text.p, text.len);
	if (getservbyname_r(name, "tcp", &entry, names, sizeof names, &s) != 0)
		s = NULL;
	free(name);
	*port = s != NULL ? ntohs((uint16_t)s->s_port) : 0;
	return s != NULL ? 0 : -1;
}

static int
parse_inet(struct view text, struct endpoint *out, struct err *err)
{
	struct view host = text, port = view_make("", 0);

	if (text.len > 0 && text.p[0] == '[') {
		if (!view_cut(view_make(text.p + 1, text.len - 1), ']', &host, &port) ||
		    port.len == 0 || port.p[0] != ':')
			port = view_make(":", 1);
		port = view_make(port.p + 1, port.len - 1);
	} else {
		view_cut(text, ':', &host, &port);
	}
	if (host.len == 0 || port.len == 0 || parse_port(port, &out->port) < 0)
		return err_set(
		    err, ERR_SYNTAX, "\"%.*s\": inet:HOST:PORT expected", VIEW_ARG(text));
	out->host = x_strndup(host.p, host.len);
	return 0;
}

static int
parse_unix(struct view path, const char *queue_directory, struct endpoint *out, struct err *err)
{
	char *whole, *slash;

	if (path.len == 0)
		return err_set(err, ERR_SYNTAX, "unix:PATH expected");
	whole = path.p[0] == '/' ? x_strndup(path.p, path.len)
				 : x_asprintf("%s/%.*s", queue_directory, VIEW_ARG(path));
	slash = strrchr(whole, '/');
	out->name = x_strdup(slash + 1);
	slash[slash == whole ? 1 : 0] = '\0';
	out->directory = whole;
	if (out->name[0] == '\0' ||
	    strlen(out->name) >= sizeof((struct sockaddr_un *)NULL)->sun_path)
		return err_set(err, ERR_SYNTAX, "\"%.*s\": not a socket's path", VIEW_ARG(path));
	return 0;
}

int
endpoint_parse(struct view text, const char *queue_directory, struct endpoint *out, struct err *err)
{
	int r;

	*out = (struct endpoint){ .dirfd = -1 };
	if (view_starts(text, "unix:"))
		r = parse_unix(view_make(text.p + 5, text.len - 5), queue_directory, out, err);
	else if (view_starts(text, "local:"))
		r = parse_unix(view_make(text.p + 6, text.len - 6), queue_directory, out, err);
	else if (view_starts(text, "inet:"))
		r = parse_inet(view_make(text.p + 5, text.len - 5), out, err);
	else
		r = parse_inet(text, out, err);
	if (r < 0)
		endpoint_clear(out);
	return r;
}

/* --- the list ------------------------------------------------------------------------------------- */

struct collection {
	struct map *endpoints;
	const struct conf *conf; /* of the service being looked at */
	struct err err;          /* the last fault: it is the caller's to name */
	bool is_faulty;
};

static void
take_fault(struct collection *c, const struct err *err)
{
	if (c->is_faulty)
		log_error("%s", c->err.text);
	c->err = *err;
	c->is_faulty = true;
}

/* Of "ENDPOINT, name=value, ..." the first word is the endpoint.  param: where that stands. */
static void
add(struct collection *c, const char *param, struct view item)
{
	struct endpoint e, *mine;
	struct view text;
	struct err err;

	if (!conf_next(&item, &text) || map_get(c->endpoints, text) != NULL)
		return;
	if (endpoint_parse(text, conf_str(c->conf, "queue_directory"), &e, &err) < 0) {
		conf_err_prefix(&err, c->conf, param);
		take_fault(c, &err);
		return;
	}
	if (e.directory != NULL &&
	    (e.dirfd = open(e.directory, O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0) {
		err_sys(
		    &err, ERR_TEMP, "%.*s: cannot open directory %s", VIEW_ARG(text), e.directory);
		conf_err_prefix(&err, c->conf, param);
		log_warn("%s", err.text);
	}
	mine = x_malloc(sizeof *mine);
	*mine = e;
	map_put(c->endpoints, text, mine);
}

static void
on_restriction(void *arg, const char *param, struct view before, struct view word)
{
	if (view_case_eq_str(before, "check_policy_service"))
		add(arg, param, word);
}

static int
on_conf(void *arg, const struct conf *conf, struct err *err)
{
	struct collection *c = arg;
	struct view rest = view_of(conf_str(conf, "smtpd_milters")), item;

	(void)err;
	c->conf = conf;
	restrictions_each(conf, on_restriction, c);
	while (conf_next(&rest, &item))
		if (!view_case_eq_str(item, "DISABLE"))
			add(c, "smtpd_milters", item);
	return 0;
}

int
endpoints_collect(struct map *endpoints, const char *config_directory, struct err *err)
{
	char *main_cf = x_asprintf("%s/main.cf", config_directory);
	char *master_cf = x_asprintf("%s/master.cf", config_directory);
	struct collection c = { .endpoints = endpoints };
	struct master_cf table = { 0 };
	struct conf base;
	struct err err_of_file;
	int r;

	map_init(endpoints);
	conf_init(&base);
	if (conf_load(&base, main_cf, &err_of_file) < 0)
		take_fault(&c, &err_of_file);
	if (master_cf_load(&table, master_cf, &err_of_file) < 0)
		take_fault(&c, &err_of_file);
	/* what could be read is looked at all the same: who tests a configuration wants to hear it all */
	r = master_cf_each_conf(&table, ROLE_SMTPD, &base, on_conf, &c, err);
	if (c.is_faulty) {
		*err = c.err;
		r = -1;
	}
	master_cf_clear(&table);
	conf_clear(&base);
	free(main_cf);
	free(master_cf);
	return r;
}

void
endpoints_clear(struct map *endpoints)
{
	struct map_walk walk = { 0 };
	struct map_entry *e;

	while ((e = map_next(endpoints, &walk)) != NULL) {
		endpoint_clear(e->value);
		free(e->value);
	}
	map_clear(endpoints);
}
