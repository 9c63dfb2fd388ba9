/* The files that keyd is given: only root may read them, so no daemon's own test can look at them. */
#include "common/base/mem.h"
#include "common/net/cert_set.h"
#include "common/table/cert_names.h"
#include "tools/check.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Whom a complaint is about. */
struct subject {
	struct check *check;
	const struct service *service;
	const struct conf *conf;
};

/* Both are set or neither.  The default of the key is the certificate's file, which may hold both. */
static bool
is_pair(const struct subject *s, const char *cert_name, const char *key_name)
{
	bool has_cert = conf_str(s->conf, cert_name)[0] != '\0',
	     has_key = conf_str(s->conf, key_name)[0] != '\0';

	if (has_cert && !has_key)
		check_say(s->check, s->service, s->conf, CHECK_ERROR,
		    "%s: must not be empty when %s is set", key_name, cert_name);
	if (has_key && !has_cert)
		check_say(s->check, s->service, s->conf, CHECK_ERROR,
		    "%s: must not be empty when %s is set", cert_name, key_name);
	return has_cert && has_key;
}

static void
say_dates(const struct subject *s, const char *name, const char *files, const struct cert_set *set)
{
	for (size_t i = 0; i < set->nchains; i++) {
		const X509 *leaf = set->chains[i].certs[0];

		if (X509_cmp_current_time(X509_get0_notAfter(leaf)) < 0)
			check_say(s->check, s->service, s->conf, CHECK_WARNING,
			    "%s: %s: the certificate has expired", name, files);
		if (X509_cmp_current_time(X509_get0_notBefore(leaf)) > 0)
			check_say(s->check, s->service, s->conf, CHECK_WARNING,
			    "%s: %s: the certificate is not valid yet", name, files);
	}
}

/* However well the daemons keep it. */
static void
say_readable(const struct subject *s, const char *name, const char *file)
{
	struct stat st;

	if (stat(file, &st) == 0 && (st.st_mode & S_IROTH) != 0)
		check_say(s->check, s->service, s->conf, CHECK_WARNING,
		    "%s: everybody can read the private key %s", name, file);
}

static bool
add_file(const struct subject *s, struct cert_set *set, const char *name, unsigned what)
{
	struct err err;

	if (cert_set_add_file(set, conf_str(s->conf, name), what, &err) == 0)
		return true;
	check_say(s->check, s->service, s->conf, CHECK_ERROR, "%s: %s", name, err.text);
	return false;
}

static void
check_pair(const struct subject *s, const char *cert_param, const char *key_param)
{
	const char *cert_name = conf_origin(s->conf, cert_param),
		   *key_name = conf_origin(s->conf, key_param);
	bool has_cert, has_key;
	struct cert_set set;
	struct err err;

	if (!is_pair(s, cert_name, key_name))
		return;
	cert_set_init(&set);
	has_key = add_file(s, &set, key_name, CERT_SET_KEYS);
	has_cert = add_file(s, &set, cert_name, CERT_SET_CERTS);
	if (has_key)
		say_readable(s, key_name, conf_str(s->conf, key_name));
	say_dates(s, cert_name, conf_str(s->conf, cert_name), &set);
	if (has_key && has_cert && cert_set_match(&set, &err) < 0)
		check_say(s->check, s->service, s->conf, CHECK_ERROR,
		    "%s: the key in %s does not belong to the certificate in %s", key_name,
		    conf_str(s->conf, key_name), conf_str(s->conf, cert_name));
	cert_set_clear(&set);
}

/* name: the parameter, and for a table the name of the server too. */
static void
check_list(const struct subject *s, const char *name, const char *files, bool is_fatal)
{
	struct view rest = view_of(files), file;
	struct cert_set set;
	struct err err;
	int r = 0;

	cert_set_init(&set);
	while (r == 0 && conf_next(&rest, &file)) {
		char *path = x_strndup(file.p, file.len);
		size_t keys = set.nkeys;

		r = cert_set_add_file(&set, path, CERT_SET_KEYS | CERT_SET_CERTS, &err);
		if (set.nkeys > keys)
			say_readable(s, name, path);
		free(path);
	}
	if (r < 0 || cert_set_match(&set, &err) < 0)
		check_say(s->check, s->service, s->conf, is_fatal ? CHECK_ERROR : CHECK_WARNING,
		    "%s: %s", name, err.text);
	else
		say_dates(s, name, files, &set);
	cert_set_clear(&set);
}

/* One customer's bad file is no reason not to start: keyd does without it. */
static int
check_host(void *arg, const char *host, const char *files, struct err *err)
{
	char *name = x_asprintf("tls_server_sni_maps: %s", host);

	(void)err;
	check_list(arg, name, files, false);
	free(name);
	return 0;
}

void
check_tls(struct check *c, const struct service *service, const struct conf *conf)
{
	const struct role_tls *tls = role_tls(service->role);
	struct subject s = { c, service, conf };
	struct err err;

	if (tls == NULL)
		return;
	if (conf_str(conf, tls->chains)[0] != '\0') {
		check_list(&s, conf_origin(conf, tls->chains), conf_str(conf, tls->chains), true);
	} else {
		check_pair(&s, tls->cert, tls->key);
		if (tls->eccert != NULL)
			check_pair(&s, tls->eccert, tls->eckey);
	}
	if (cert_names_read(conf_str(conf, tls->names), check_host, &s, &err) < 0)
		check_say(c, service, conf, CHECK_ERROR, "%s: %s", tls->names, err.text);
}
