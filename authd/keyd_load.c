#include "authd/keyd_load.h"
#include "common/table/cert_names.h"

struct load {
	struct keyd *keyd;
	const char *maps;
	void (*report)(void *arg, const char *text);
	void *arg;
	size_t *count;
};

static int
finish_set(struct load *l, const char *name, struct cert_set *set, int r, struct err *err)
{
	if (r == 0)
		r = keyd_add_set(l->keyd, name, set, err);
	if (r == 0)
		++*l->count;
	cert_set_clear(set);
	return r;
}

static int
load_list(struct load *l, const char *files, struct err *err)
{
	struct cert_set set;

	if (keyd_has_set(l->keyd, files))
		return 0;
	cert_set_init(&set);
	return finish_set(l, files, &set, cert_set_add_list(&set, files, err), err);
}

static int
load_pair(struct load *l, const char *cert, const char *key, struct err *err)
{
	struct cert_set set;
	int r;

	if (keyd_has_set(l->keyd, cert))
		return 0;
	cert_set_init(&set);
	r = cert_set_add_file(&set, key, CERT_SET_KEYS, err);
	if (r == 0)
		r = cert_set_add_file(&set, cert, CERT_SET_CERTS, err);
	if (r == 0 && cert_set_match(&set, err) < 0)
		r = err_prefix(err, "%s", cert);
	return finish_set(l, cert, &set, r, err);
}

static int
load_host(void *arg, const char *host, const char *files, struct err *err)
{
	struct load *l = arg;

	if (load_list(l, files, err) == 0) {
		keyd_add_host(l->keyd, l->maps, host, files);
	} else {
		err_prefix(err, "tls_server_sni_maps: %s", host);
		l->report(l->arg, err->text);
	}
	return 0;
}

static int
load_default(struct load *l, const struct role_tls *tls, const struct conf *conf, struct err *err)
{
	const char *chains = conf_str(conf, tls->chains), *cert = conf_str(conf, tls->cert);

	if (chains[0] != '\0')
		return load_list(l, chains, err);
	if (cert[0] != '\0' && load_pair(l, cert, conf_str(conf, tls->key), err) < 0)
		return -1;
	if (tls->eccert == NULL || (cert = conf_str(conf, tls->eccert))[0] == '\0')
		return 0;
	return load_pair(l, cert, conf_str(conf, tls->eckey), err);
}

int
keyd_load_service(struct keyd *k, const struct role_tls *tls, const struct conf *conf,
    void (*report)(void *arg, const char *text), void *arg, size_t *count, struct err *err)
{
	struct load l = { k, conf_str(conf, tls->names), report, arg, count };

	if (load_default(&l, tls, conf, err) < 0)
		return -1;
	if (l.maps[0] == '\0' || keyd_has_maps(k, l.maps))
		return 0;
	return cert_names_read(l.maps, load_host, &l, err);
}
