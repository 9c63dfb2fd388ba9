#include "edge/endpoint.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/config/master_cf.h"
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

/* Of "ENDPOINT, name=value, ..." the first word is the endpoint. */
static int
add(struct map *endpoints, const struct conf *conf, struct view item, struct err *err)
{
	struct endpoint e, *mine;
	struct view text;

	if (!conf_next(&item, &text) || map_get(endpoints, text) != NULL)
		return 0;
	if (endpoint_parse(text, conf_str(conf, "queue_directory"), &e, err) < 0)
		return -1;
	if (e.host == NULL && (e.dirfd = open(e.directory, O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0)
		log_warn("%.*s: cannot open directory %s: %m", VIEW_ARG(text), e.directory);
	mine = x_malloc(sizeof *mine);
	*mine = e;
	map_put(endpoints, text, mine);
	return 0;
}

static int
add_milters(struct map *endpoints, const struct conf *conf, const char *name, struct err *err)
{
	struct view rest = view_of(conf_str(conf, name)), item;

	while (conf_next(&rest, &item))
		if (!view_case_eq_str(item, "DISABLE") && add(endpoints, conf, item, err) < 0)
			return err_prefix(err, "%s", name);
	return 0;
}

/* Restrictions whose name is followed by an endpoint. */
static int
add_policies(struct map *endpoints, const struct conf *conf, const char *name, struct err *err)
{
	struct view rest = view_of(conf_str(conf, name)), item;

	while (conf_next(&rest, &item))
		if (view_case_eq_str(item, "check_policy_service") && conf_next(&rest, &item) &&
		    add(endpoints, conf, item, err) < 0)
			return err_prefix(err, "%s", name);
	return 0;
}

/* A class is a parameter of the admin's own name. */
static int
add_classes(struct map *endpoints, const struct conf *conf, struct err *err)
{
	struct view rest, item;
	int r = 0;

	if (conf_param_find("smtpd_restriction_classes") == NULL)
		return 0;
	rest = view_of(conf_str(conf, "smtpd_restriction_classes"));
	while (r == 0 && conf_next(&rest, &item)) {
		char *name = x_strndup(item.p, item.len);

		if (conf_is_set(conf, name))
			r = add_policies(endpoints, conf, name, err);
		free(name);
	}
	return r;
}

static bool
is_restriction_list(const char *name)
{
	return strncmp(name, "smtpd_", 6) == 0 && view_ends(view_of(name), "_restrictions");
}

static int
add_service(struct map *endpoints, const struct conf *conf, struct err *err)
{
	size_t count;
	const struct conf_param *p = conf_params(&count);

	for (size_t i = 0; i < count; i++)
		if (is_restriction_list(p[i].name) &&
		    add_policies(endpoints, conf, p[i].name, err) < 0)
			return -1;
	if (add_milters(endpoints, conf, "smtpd_milters", err) < 0)
		return -1;
	return add_classes(endpoints, conf, err);
}

static int
collect(
    struct map *endpoints, const struct conf *base, const struct master_cf *table, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < table->count && r == 0; i++) {
		struct conf conf;

		if (table->services[i].role != ROLE_SMTPD)
			continue;
		r = service_conf(&table->services[i], base, &conf, err);
		if (r == 0)
			r = add_service(endpoints, &conf, err);
		conf_clear(&conf);
	}
	return r;
}

int
endpoints_collect(struct map *endpoints, const char *config_directory, struct err *err)
{
	char *main_cf = x_asprintf("%s/main.cf", config_directory);
	char *master_cf = x_asprintf("%s/master.cf", config_directory);
	struct master_cf table = { 0 };
	struct conf base;
	int r;

	map_init(endpoints);
	conf_init(&base);
	r = conf_load(&base, main_cf, err);
	if (r == 0 && (r = master_cf_load(&table, master_cf, err)) == 0)
		r = collect(endpoints, &base, &table, err);
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
