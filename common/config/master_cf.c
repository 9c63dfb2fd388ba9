#include "common/config/master_cf.h"
#include "common/config/postfix.h"
#include "common/base/fd.h"
#include "common/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCREEN "postscreen" /* is smtpd with an option set */

enum {
	MASTER_CF_BYTES = 1 << 20,
	FAULT_BYTES_MAX = 1 << 16,
	SERVICES_MAX = 500,
	OPTIONS_MAX = 200,
	COLUMNS = 8,
	POSTFIX_MAXPROC = 16 /* more are processes of one client each */
};

void
master_cf_clear(struct master_cf *m)
{
	arena_clear(&m->arena);
	buf_clear(&m->faults);
	m->services = NULL;
	m->notes = NULL;
	m->count = m->nnotes = 0;
}

/* --- Postfix's services -------------------------------------------------------------------------- */

/* clang-format off */
static const struct foreign {
	const char *command;
	bool is_inet;    /* may be of type inet */
	bool is_command; /* its arguments are a command, not options */
	const char *why; /* what is lost; NULL: another service here does its work */
} foreigns[] = {
	{ "anvil",           false, false, NULL },
	{ "bounce",          false, false, NULL },
	{ "cleanup",         false, false, NULL },
	{ "discard",         false, false, NULL },
	{ "dnsblog",         false, false, NULL },
	{ "error",           false, false, NULL },
	{ "flush",           false, false, NULL },
	{ "lmtp",            false, false, NULL },
	{ "local",           false, false, NULL },
	{ "nqmgr",           false, false, NULL },
	{ "oqmgr",           false, false, NULL },
	{ "pickup",          false, false, NULL },
	{ "pipe",            false, true,  "mail is not handed to commands" },
	{ "postlogd",        false, false, NULL },
	{ "proxymap",        false, false, NULL },
	{ "qmqpd",           true,  false, "there is no QMQP server" },
	{ "scache",          false, false, NULL },
	{ "showq",           false, false, NULL },
	{ "smtp",            false, false, NULL },
	{ "smtpd",           false, false, NULL }, /* behind postscreen, or for sendmail -bs */
	{ "spawn",           true,  true,  "no commands are run; start the server by itself (systemd can, on a socket) and name its socket in check_policy_service" },
	{ "tlsmgr",          false, false, NULL },
	{ "tlsproxy",        false, false, NULL },
	{ "trivial-rewrite", false, false, NULL },
	{ "verify",          false, false, NULL },
	{ "virtual",         false, false, NULL },
};
/* clang-format on */

static const struct foreign *
find_foreign(struct view command, bool is_inet)
{
	for (size_t i = 0; i < sizeof foreigns / sizeof foreigns[0]; i++)
		if (view_eq_str(command, foreigns[i].command) && (!is_inet || foreigns[i].is_inet))
			return &foreigns[i];
	return NULL;
}

/* Returns -1. */
static int
take_fault(struct master_cf *m, const struct err *err)
{
	buf_printf(&m->faults, "%s\n", err->text);
	return -1;
}

static char *
keep(struct master_cf *m, struct view v)
{
	return arena_strndup(&m->arena, v.p, v.len);
}

static int
parse_inet_name(struct master_cf *m, struct service *s, struct view name, struct err *err)
{
	struct view host = view_make("", 0), port = name;
	uint64_t number;

	if (name.len > 0 && name.p[0] == '[') {
		struct view after;

		if (!view_cut(view_make(name.p + 1, name.len - 1), ']', &host, &after) || after.len < 2 ||
		    after.p[0] != ':')
			return err_set(err, ERR_SYNTAX, "bad address \"%.*s\"", VIEW_ARG(name));
		port = view_make(after.p + 1, after.len - 1);
	} else if (memchr(name.p, ':', name.len) != NULL)
		view_cut(name, ':', &host, &port);
	if (port.len == 0 || memchr(port.p, ':', port.len) != NULL)
		return err_set(err, ERR_SYNTAX, "bad address \"%.*s\": ADDRESS:PORT or [IPV6]:PORT expected",
		    VIEW_ARG(name));
	if (view_u64(port, UINT64_MAX, &number) ? number == 0 || number > 65535
						: ascii_is_digit(port.p[0]))
		return err_set(err, ERR_SYNTAX,
		    "bad port \"%.*s\": 1 to 65535, or a name of services(5)", VIEW_ARG(port));
	s->host = keep(m, host);
	s->port = keep(m, port);
	return 0;
}

static int
unknown_command(struct view name, struct err *err)
{
	char known[150] = "";
	size_t used = 0;

	for (int r = 0; r < ROLE_COUNT && used < sizeof known; r++)
		if (r != ROLE_MASTER && r != ROLE_TOOL)
			used += (size_t)snprintf(known + used, sizeof known - used, "%s%s",
			    used > 0 ? ", " : "", role_row((enum role)r)->name);
	return err_set(
	    err, ERR_SYNTAX, "unknown command \"%.*s\"; known are %s", VIEW_ARG(name), known);
}

/* Postfix's own SMTP client is our relay. */
static bool
is_relay(const struct view *column)
{
	return view_eq_str(column[0], "smtp") && view_eq_str(column[1], "unix") &&
	       view_eq_str(column[7], "smtp");
}

/* -1: none.  postscreen hands its clients to smtpd by a service of type pass: that is none of ours. */
static int
find_role(const struct view *column)
{
	char text[64];
	int role;

	if (is_relay(column))
		return ROLE_RELAY;
	snprintf(text, sizeof text, "%.*s", VIEW_ARG(column[7]));
	role = strcmp(text, SCREEN) == 0 ? ROLE_SMTPD : role_by_name(text);
	return role == ROLE_MASTER || role == ROLE_TOOL || view_eq_str(column[1], "pass") ? -1
											  : role;
}

static int
parse_maxproc(struct service *s, struct view column, struct err *err)
{
	uint64_t n = 0;

	if (!view_eq_str(column, "-") && !view_u64(column, 1000, &n))
		return err_set(err, ERR_SYNTAX, "bad maxproc \"%.*s\"", VIEW_ARG(column));
	if (role_row(s->role)->is_exclusive && n > 1)
		return err_set(err, ERR_SYNTAX, "%s: there can be only one: maxproc must be 1",
		    role_row(s->role)->name);
	s->maxproc = (unsigned)n;
	return 0;
}

/* "y", "n" or "-" columns have no meaning of their own here: every worker is unprivileged and chrooted. */
static int
check_flag(struct view column, const char *what, struct err *err)
{
	if (column.len == 1 && strchr("yn-", column.p[0]) != NULL)
		return 0;
	return err_set(err, ERR_SYNTAX, "bad %s \"%.*s\": y, n or - expected", what, VIEW_ARG(column));
}

static int
parse_option(struct master_cf *m, struct service *s, struct service_option *o, struct view text,
    struct err *err)
{
	struct view name, value;
	const char *near;

	if (!view_cut(text, '=', &name, &value))
		return err_set(err, ERR_SYNTAX, "-o %.*s: missing '='", VIEW_ARG(text));
	o->name = keep(m, view_trim(name));
	o->value = keep(m, view_trim(value));
	if (o->name == NULL || o->value == NULL)
		return err_set(err, ERR_LIMIT, "file too large");
	if (conf_param_find(o->name) == NULL && !postfix_knows(NULL, o->name)) {
		near = conf_nearest(o->name);
		return err_set(err, ERR_SYNTAX, "unknown parameter \"%s\"%s%s%s", o->name,
		    near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
	}
	s->noptions++;
	return 0;
}

/* Mostly the rest of a value with blanks in it. */
static int
stray_word(const struct service *s, struct view word, struct err *err)
{
	const struct service_option *last =
	    s->noptions > 0 ? &s->options[s->noptions - 1] : NULL;

	if (view_starts(word, "="))
		return err_set(err, ERR_SYNTAX, "\"=\" behind white space: write -o name=value, or -o { name = value }");
	if (last == NULL || word.p[0] == '-')
		return err_set(err, ERR_SYNTAX, "unknown argument \"%.*s\"", VIEW_ARG(word));
	return err_set(err, ERR_SYNTAX,
	    "unknown argument \"%.*s\": white space ends a value; write -o { %s = %s %.*s ... }",
	    VIEW_ARG(word), last->name, last->value, VIEW_ARG(word));
}

static int
parse_arguments(struct master_cf *m, struct service *s, bool is_screen, struct view rest,
    struct err *err)
{
	struct service_option *list = arena_alloc(&m->arena, OPTIONS_MAX * sizeof *list);
	struct view word;
	struct err one;
	int r = 0;

	if (list == NULL)
		return err_set(err, ERR_LIMIT, "file too large");
	s->options = list;
	if (is_screen)
		list[s->noptions++] = (struct service_option){ "postscreen_enable", "yes" };
	while (conf_next(&rest, &word)) {
		if (view_eq_str(word, "-v"))
			continue;
		if (!view_eq_str(word, "-o"))
			return stray_word(s, word, err);
		/* a value may hold commas: only white space ends it, but for -o { name = value } */
		rest = view_trim(rest);
		if (rest.len > 0 && rest.p[0] == '{')
			conf_next(&rest, &word);
		else if (!view_token(&rest, " \t", &word))
			return err_set(err, ERR_SYNTAX, "-o: missing name=value");
		if (s->noptions == OPTIONS_MAX)
			return err_set(err, ERR_LIMIT, "too many -o options");
		if (parse_option(m, s, &list[s->noptions], word, &one) == 0)
			continue;
		/* all that are faulty are named, the last one by the caller */
		if (r < 0) {
			err_prefix(err, "%s:%d", s->file, s->line);
			take_fault(m, err);
		}
		r = -1;
		*err = one;
	}
	return r;
}

static int
note(struct master_cf *m, const struct service *s, const char *what, const char *why,
    struct err *err)
{
	char *text = arena_printf(
	    &m->arena, "%s:%d: %s: not honoured: %s", s->file, s->line, what, why);

	if (m->nnotes == SERVICES_MAX || text == NULL)
		return err_set(err, ERR_LIMIT, "too many services");
	m->notes[m->nnotes++] = text;
	return 0;
}

/* A transport of the admin's own, for transport_maps and such. */
static bool
is_other_client(const struct foreign *f, const struct service *s)
{
	return (strcmp(f->command, "smtp") == 0 && strcmp(s->name, "relay") != 0) ||
	       (strcmp(f->command, "lmtp") == 0 && strcmp(s->name, "lmtp") != 0);
}

static int
take_foreign(struct master_cf *m, struct service *s, const struct foreign *f, struct view rest,
    struct err *err)
{
	m->is_postfix |= strcmp(f->command, "cleanup") == 0;
	if (f->why != NULL && note(m, s, s->name, f->why, err) < 0)
		return -1;
	if (f->is_command)
		return 0;
	if (parse_arguments(m, s, false, rest, err) < 0)
		return -1;
	if (is_other_client(f, s))
		return note(m, s, s->name, "the only SMTP client is relay", err);
	for (size_t i = 0; i < s->noptions; i++) {
		char what[200];

		snprintf(what, sizeof what, "%s: -o %s", s->name, s->options[i].name);
		if (strcmp(s->options[i].name, "syslog_name") != 0 &&
		    note(m, s, what, "its work is done by services without options of their own",
			err) < 0)
			return -1;
	}
	return 0;
}

static int
check_type(struct view type, const struct foreign *f, struct err *err)
{
	static const char *const known[] = { "inet", "unix", "fifo", "pass", "unix-dgram" };
	size_t count = f != NULL ? sizeof known / sizeof known[0] : 2;

	for (size_t i = 0; i < count; i++)
		if (view_eq_str(type, known[i]))
			return 0;
	return err_set(err, ERR_SYNTAX, "bad type \"%.*s\": inet or unix expected", VIEW_ARG(type));
}

/* Whose role is not known yet. */
static int
parse_columns(
    struct master_cf *m, struct service *s, struct view *column, struct view *rest, struct err *err)
{
	static const char *const flags[] = { "private", "unpriv", "chroot" };

	for (int i = 0; i < COLUMNS; i++)
		if (!view_token(rest, " \t", &column[i]))
			return err_set(err, ERR_SYNTAX, "%d columns instead of at least %d", i, COLUMNS);
	s->name = keep(m, column[0]);
	s->is_inet = view_eq_str(column[1], "inet");
	for (int i = 0; i < 3; i++)
		if (check_flag(column[2 + i], flags[i], err) < 0)
			return -1;
	return s->is_inet ? parse_inet_name(m, s, column[0], err) : 0;
}

/* 1: it is Postfix's and there is nothing to run. */
static int
parse_service(struct master_cf *m, struct service *s, struct view rest, struct err *err)
{
	struct view column[COLUMNS];
	const struct foreign *f = NULL;
	int role;

	if (parse_columns(m, s, column, &rest, err) < 0)
		return -1;
	role = find_role(column);
	if (role < 0 && (f = find_foreign(column[7], s->is_inet)) == NULL)
		return unknown_command(column[7], err);
	if (check_type(column[1], f, err) < 0)
		return -1;
	if (f != NULL)
		return take_foreign(m, s, f, rest, err) < 0 ? -1 : 1;
	s->role = (enum role)role;
	if (!s->is_inet && (strchr(s->name, '/') != NULL || s->name[0] == '.'))
		return err_set(err, ERR_SYNTAX, "bad service name \"%s\"", s->name);
	if (parse_maxproc(s, column[6], err) < 0)
		return -1;
	s->is_public = view_eq_str(column[2], "n");
	/* smtpd also listens in the queue directory: LMTP, and proxies on this machine */
	if (s->role != ROLE_SMTPD &&
	    s->is_inet != (s->role == ROLE_IMAPD_LOGIN || s->role == ROLE_POP3D_LOGIN))
		return err_set(err, ERR_SYNTAX, "%s is not a service of type %.*s", role_row(s->role)->name,
		    VIEW_ARG(column[1]));
	return parse_arguments(m, s, view_eq_str(column[7], SCREEN), rest, err);
}

static int
add_service(struct master_cf *m, struct view logical, const char *file, int line, struct err *err)
{
	struct service *s = &m->services[m->count];
	int r;

	if (m->count == SERVICES_MAX)
		return err_set(err, ERR_LIMIT, "%s:%d: too many services", file, line);
	*s = (struct service){ .file = m->file, .line = line };
	if ((r = parse_service(m, s, logical, err)) != 0)
		return r < 0 ? err_prefix(err, "%s:%d", file, line) : 0;
	for (size_t i = 0; i < m->count; i++) {
		const struct service *o = &m->services[i];

		if (o->is_inet == s->is_inet && strcmp(o->name, s->name) == 0)
			return err_set(err, ERR_SYNTAX, "%s:%d: service %s stands already in line %d", file,
			    line, s->name, o->line);
		if (!s->is_inet && o->role == s->role && s->role != ROLE_SMTPD)
			return err_set(err, ERR_SYNTAX, "%s:%d: %s stands already in line %d", file, line,
			    role_row(s->role)->name, o->line);
	}
	m->count++;
	return 0;
}

/* A login front without the sessions it hands its clients to would refuse every one of them. */
static bool
is_needed(const struct master_cf *m, enum role r)
{
	enum role front = r == ROLE_IMAPD ? ROLE_IMAPD_LOGIN : r == ROLE_POP3D ? ROLE_POP3D_LOGIN : ROLE_COUNT;

	for (size_t i = 0; i < m->count; i++)
		if (m->services[i].role == front)
			return true;
	return r != ROLE_MASTER && role_row(r)->is_required;
}

static bool
has_role(const struct master_cf *m, enum role r)
{
	for (size_t i = 0; i < m->count; i++)
		if (m->services[i].role == r)
			return true;
	return false;
}

/* What smtpd and relay ask and, in a file of Postfix's, all that Postfix's admins need not know of. */
static bool
is_implied(const struct master_cf *m, enum role r)
{
	const struct role_row *row = role_row(r);

	return r != ROLE_MASTER &&
	       ((row->implied_by != ROLE_MASTER && has_role(m, row->implied_by)) ||
		   (row->is_required && m->is_postfix));
}

static int
add_implied(struct master_cf *m, const char *file, struct err *err)
{
	for (int r = 0; r < ROLE_COUNT; r++) {
		const char *name = role_row((enum role)r)->name;
		char text[100];

		snprintf(text, sizeof text, "%s unix y - y - - %s", name, name);
		if (is_implied(m, (enum role)r) && !has_role(m, (enum role)r) &&
		    add_service(m, view_of(text), file, 0, err) < 0)
			return -1;
	}
	return 0;
}

/* Postfix counts clients where we count processes, of which each has thousands of them. */
static int
drop_maxproc(struct master_cf *m, struct err *err)
{
	for (size_t i = 0; i < m->count && m->is_postfix; i++) {
		struct service *s = &m->services[i];

		if (s->maxproc > POSTFIX_MAXPROC &&
		    note(m, s, "maxproc",
			"it would be that many processes of thousands of clients each; see smtpd_client_limit",
			err) < 0)
			return -1;
		s->maxproc = s->maxproc > POSTFIX_MAXPROC ? 0 : s->maxproc;
	}
	return 0;
}

static int
check_complete(struct master_cf *m, const char *file, struct err *err)
{
	int r = 0;

	for (int i = ROLE_COUNT - 1; i >= 0; i--)
		if (is_needed(m, (enum role)i) && !has_role(m, (enum role)i)) {
			err_set(err, ERR_SYNTAX, "%s: no service runs %s", file, role_row((enum role)i)->name);
			r = take_fault(m, err);
		}
	return r;
}

/* Every line is looked at; *err is the fault of one. */
static int
parse_services(struct master_cf *m, struct view text, const char *file, struct err *err)
{
	struct buf logical;
	int line = 0, start = 0, r = 0;

	buf_init(&logical, MASTER_CF_BYTES * 2);
	while (text.len > 0) {
		struct view l, trimmed;

		view_cut(text, '\n', &l, &text);
		line++;
		trimmed = view_trim(l);
		if (trimmed.len == 0 || trimmed.p[0] == '#')
			continue;
		if (!ascii_is_space(l.p[0])) {
			if (logical.len > 0 && add_service(m, buf_view(&logical), file, start, err) < 0)
				r = take_fault(m, err);
			buf_reset(&logical);
			start = line;
		}
		buf_append_byte(&logical, ' ');
		buf_append_view(&logical, trimmed);
	}
	if (logical.len > 0 && add_service(m, buf_view(&logical), file, start, err) < 0)
		r = take_fault(m, err);
	buf_clear(&logical);
	return r;
}

int
master_cf_parse(struct master_cf *m, struct view text, const char *file, struct err *err)
{
	struct err one;

	*m = (struct master_cf){ 0 };
	arena_init(&m->arena, MASTER_CF_BYTES * 16);
	buf_init(&m->faults, FAULT_BYTES_MAX);
	m->file = arena_strdup(&m->arena, file);
	m->services = arena_alloc(&m->arena, SERVICES_MAX * sizeof *m->services);
	m->notes = arena_alloc(&m->arena, SERVICES_MAX * sizeof *m->notes);
	if (m->services == NULL || m->notes == NULL || m->file == NULL)
		return err_set(err, ERR_LIMIT, "%s: out of memory", file);
	if (parse_services(m, text, file, err) < 0) {
		/* what is missing may be what is faulty */
		add_implied(m, file, &one);
		return -1;
	}
	if (drop_maxproc(m, err) < 0 || add_implied(m, file, err) < 0)
		return take_fault(m, err);
	return check_complete(m, file, err);
}

int
master_cf_load(struct master_cf *m, const char *path, struct err *err)
{
	struct buf text;
	int r;

	*m = (struct master_cf){ 0 };
	buf_init(&m->faults, FAULT_BYTES_MAX);
	buf_init(&text, MASTER_CF_BYTES);
	if (file_read(path, &text, err) < 0)
		r = take_fault(m, err);
	else
		r = master_cf_parse(m, buf_view(&text), path, err);
	buf_clear(&text);
	return r;
}

int
service_conf(const struct service *s, const struct conf *base, struct conf *out, struct err *err)
{
	conf_copy(out, base);
	/* syslog_name=postfix/$service_name; nobody wrote it, so it stands at no line */
	if (conf_set(out, "service_name", s->name, s->file, 0, err) < 0)
		return -1;
	for (size_t i = 0; i < s->noptions; i++)
		if (conf_set(out, s->options[i].name, s->options[i].value, s->file, s->line, err) <
		    0)
			return -1;
	return 0;
}

int
master_cf_each_conf(const struct master_cf *m, enum role role, const struct conf *base,
    int (*fn)(void *arg, const struct conf *conf, struct err *err), void *arg, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < m->count && r == 0; i++) {
		struct conf conf;

		if (m->services[i].role != role)
			continue;
		r = service_conf(&m->services[i], base, &conf, err);
		/* what is faulty is named where the service is checked */
		if (r == 0 && conf_settle(&conf, NULL, NULL))
			r = fn(arg, &conf, err);
		conf_clear(&conf);
	}
	return r;
}

static bool
family_is_wanted(const struct conf *conf, int family)
{
	struct view rest = view_of(conf_str(conf, "inet_protocols")), word;
	const char *name = family == AF_INET6 ? "ipv6" : "ipv4";

	while (conf_next(&rest, &word))
		if (view_eq_str(word, "all") || view_eq_str(word, name))
			return true;
	return false;
}

/* host NULL: any */
static int
each_address_of(const struct service *s, const struct conf *conf, const char *host,
    int (*fn)(void *arg, const struct addrinfo *ai, struct err *err), void *arg, struct err *err)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE }, *list;
	int r = getaddrinfo(host, s->port, &hints, &list);

	if (r == EAI_SERVICE)
		return err_set(err, ERR_SYNTAX, "port \"%s\": %s", s->port, gai_strerror(r));
	if (r != 0)
		return err_set(err, ERR_SYNTAX, "%shost \"%s\": %s",
		    s->host[0] == '\0' ? "inet_interfaces: " : "", host ? host : "*",
		    gai_strerror(r));
	for (const struct addrinfo *ai = list; ai != NULL && r == 0; ai = ai->ai_next)
		if (family_is_wanted(conf, ai->ai_family))
			r = fn(arg, ai, err);
	freeaddrinfo(list);
	return r;
}

int
service_each_address(const struct service *s, const struct conf *conf,
    int (*fn)(void *arg, const struct addrinfo *ai, struct err *err), void *arg, struct err *err)
{
	struct view rest = view_of(conf_str(conf, "inet_interfaces")), item;
	int r = 0;

	if (s->host[0] != '\0')
		return each_address_of(s, conf, s->host, fn, arg, err);
	while (r == 0 && conf_next(&rest, &item)) {
		char *host = x_strndup(item.p, item.len);
		bool is_any = strcmp(host, "all") == 0;
		const char *name = strcmp(host, "loopback-only") == 0 ? "localhost" : host;

		r = each_address_of(s, conf, is_any ? NULL : name, fn, arg, err);
		free(host);
	}
	return r;
}

const struct role_tls *
role_tls(enum role r)
{
	/* clang-format off */
	static const struct role_tls rows[ROLE_COUNT] = {
		[ROLE_SMTPD]       = { "smtpd_tls_chain_files", "smtpd_tls_cert_file", "smtpd_tls_key_file",
		                       "smtpd_tls_eccert_file", "smtpd_tls_eckey_file", "tls_server_sni_maps" },
		[ROLE_IMAPD_LOGIN] = { "imap_tls_chain_files", "imap_tls_cert_file", "imap_tls_key_file",
		                       NULL, NULL, "tls_server_sni_maps" },
		[ROLE_POP3D_LOGIN] = { "pop3_tls_chain_files", "pop3_tls_cert_file", "pop3_tls_key_file",
		                       NULL, NULL, "tls_server_sni_maps" },
	};
	/* clang-format on */

	return rows[r].cert != NULL ? &rows[r] : NULL;
}

size_t
role_tls_sets(const struct role_tls *t, const struct conf *conf, const char *sets[ROLE_TLS_SETS])
{
	const char *const params[] = { t->cert, t->eccert };
	size_t count = 0;

	if (conf_str(conf, t->chains)[0] != '\0') {
		sets[0] = conf_str(conf, t->chains);
		return 1;
	}
	for (size_t i = 0; i < ROLE_TLS_SETS; i++)
		if (params[i] != NULL && conf_str(conf, params[i])[0] != '\0')
			sets[count++] = conf_str(conf, params[i]);
	return count;
}
