/* The files that keyd is given: only root may read them, so no daemon's own test can look at them. */
#include "common/base/fd.h"
#include "common/net/pem.h"
#include "tools/check.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Both are set or neither.  The default of the key is the certificate's file, which may hold both. */
static bool
is_pair(struct check *c, const struct service *s, const struct conf *conf, const char *cert_name,
    const char *key_name)
{
	bool has_cert = conf_str(conf, cert_name)[0] != '\0',
	     has_key = conf_str(conf, key_name)[0] != '\0';

	if (has_cert && !has_key)
		check_say(
		    c, s, conf, true, "%s: must not be empty when %s is set", key_name, cert_name);
	if (has_key && !has_cert)
		check_say(
		    c, s, conf, true, "%s: must not be empty when %s is set", cert_name, key_name);
	return has_cert && has_key;
}

static void
say_dates(
    struct check *c, const struct service *s, const struct conf *conf, const char *name, X509 *leaf)
{
	const char *file = conf_str(conf, name);

	if (X509_cmp_current_time(X509_get0_notAfter(leaf)) < 0)
		check_say(c, s, conf, false, "%s: %s: the certificate has expired", name, file);
	if (X509_cmp_current_time(X509_get0_notBefore(leaf)) > 0)
		check_say(
		    c, s, conf, false, "%s: %s: the certificate is not valid yet", name, file);
}

/* The certificate itself, its issuers freed; NULL: complained of. */
static X509 *
read_leaf(struct check *c, const struct service *s, const struct conf *conf, const char *name)
{
	const char *file = conf_str(conf, name);
	int fd = open(file, O_RDONLY | O_NONBLOCK | O_CLOEXEC), count;
	X509 *certs[PEM_CHAIN_MAX];
	struct err err;

	if (fd < 0) {
		check_say(
		    c, s, conf, true, "%s: cannot read %s: %s", name, file, strerrordesc_np(errno));
		return NULL;
	}
	count = pem_read_chain(fd, certs, &err);
	fd_close(&fd);
	if (count < 0) {
		check_say(c, s, conf, true, "%s: %s: %s", name, file, err.text);
		return NULL;
	}
	while (count > 1)
		X509_free(certs[--count]);
	say_dates(c, s, conf, name, certs[0]);
	return certs[0];
}

static EVP_PKEY *
read_key(struct check *c, const struct service *s, const struct conf *conf, const char *name)
{
	const char *file = conf_str(conf, name);
	int fd = open(file, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	EVP_PKEY *key;
	struct stat st;
	struct err err;

	if (fd < 0) {
		check_say(
		    c, s, conf, true, "%s: cannot read %s: %s", name, file, strerrordesc_np(errno));
		return NULL;
	}
	/* however well the daemons keep it */
	if (fstat(fd, &st) == 0 && (st.st_mode & S_IROTH) != 0)
		check_say(
		    c, s, conf, false, "%s: everybody can read the private key %s", name, file);
	key = pem_read_key(fd, &err);
	fd_close(&fd);
	if (key == NULL)
		check_say(c, s, conf, true, "%s: %s: %s", name, file, err.text);
	return key;
}

void
check_tls(struct check *c, const struct service *s, const struct conf *conf)
{
	const struct role_tls *tls = role_tls(s->role);
	const char *cert_name, *key_name;
	EVP_PKEY *key;
	X509 *leaf;

	if (tls == NULL)
		return;
	cert_name = conf_origin(conf, tls->cert);
	key_name = conf_origin(conf, tls->key);
	if (!is_pair(c, s, conf, cert_name, key_name))
		return;
	leaf = read_leaf(c, s, conf, cert_name);
	key = read_key(c, s, conf, key_name);
	if (leaf != NULL && key != NULL && EVP_PKEY_eq(X509_get0_pubkey(leaf), key) != 1)
		check_say(c, s, conf, true,
		    "%s: the key in %s does not belong to the certificate in %s", key_name,
		    conf_str(conf, key_name), conf_str(conf, cert_name));
	ERR_clear_error();
	X509_free(leaf);
	EVP_PKEY_free(key);
}
