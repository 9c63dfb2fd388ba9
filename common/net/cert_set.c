#include "common/net/cert_set.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/config/conf.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PEM_BYTES_MAX = 1 << 20 };

void
cert_set_init(struct cert_set *s)
{
	*s = (struct cert_set){ .is_behind_key = true };
}

void
cert_set_clear(struct cert_set *s)
{
	for (size_t i = 0; i < s->nchains; i++)
		for (size_t k = 0; k < s->chains[i].count; k++)
			X509_free(s->chains[i].certs[k]);
	for (size_t i = 0; i < s->nkeys; i++)
		EVP_PKEY_free(s->keys[i]);
	cert_set_init(s);
}

/* The file's text in OpenSSL's secure heap (locked, not dumped); OPENSSL_secure_clear_free it. */
static char *
read_text(int fd, size_t *len, struct err *err)
{
	struct stat st;
	char *text;

	if (fstat(fd, &st) < 0) {
		err_sys(err, ERR_TEMP, "fstat");
		return NULL;
	}
	if (!S_ISREG(st.st_mode)) {
		err_set(err, ERR_PERM, "is not a regular file");
		return NULL;
	}
	if (st.st_size <= 0 || st.st_size > PEM_BYTES_MAX) {
		err_set(err, ERR_SYNTAX, "empty, or larger than %d bytes", PEM_BYTES_MAX);
		return NULL;
	}
	*len = (size_t)st.st_size;
	text = OPENSSL_secure_malloc(*len);
	if (text == NULL) {
		err_set(err, ERR_TEMP, "out of secure memory");
		return NULL;
	}
	if (fd_pread_all(fd, text, *len, 0, err) < 0) {
		OPENSSL_secure_clear_free(text, *len);
		return NULL;
	}
	return text;
}

/* A passphrase makes the header: nobody is there to type it. */
static int
add_key(struct cert_set *s, const char *header, const unsigned char *der, long len, struct err *err)
{
	EVP_PKEY *key = header[0] == '\0' ? d2i_AutoPrivateKey(NULL, &der, len) : NULL;

	if (key == NULL)
		return err_set(err, ERR_SYNTAX, "no private key in PEM without passphrase");
	if (!EVP_PKEY_is_a(key, "RSA") && !EVP_PKEY_is_a(key, "EC") &&
	    !EVP_PKEY_is_a(key, "ED25519")) {
		EVP_PKEY_free(key);
		return err_set(err, ERR_PERM, "not RSA, EC or Ed25519");
	}
	if (s->nkeys == CERT_SET_MAX) {
		EVP_PKEY_free(key);
		return err_set(err, ERR_LIMIT, "more than %d keys", CERT_SET_MAX);
	}
	s->keys[s->nkeys++] = key;
	s->is_behind_key = true;
	return 0;
}

static int
add_cert(struct cert_set *s, const unsigned char *der, long len, struct err *err)
{
	bool begins_chain = s->is_behind_key || s->nchains == 0;
	struct cert_chain *c = &s->chains[begins_chain ? s->nchains : s->nchains - 1];
	X509 *cert;

	if (begins_chain && s->nchains == CERT_SET_MAX)
		return err_set(err, ERR_LIMIT, "more than %d chains", CERT_SET_MAX);
	if (!begins_chain && c->count == CERT_CHAIN_MAX)
		return err_set(err, ERR_LIMIT, "more than %d certificates", CERT_CHAIN_MAX);
	cert = d2i_X509(NULL, &der, len);
	if (cert == NULL || X509_get0_pubkey(cert) == NULL) {
		X509_free(cert);
		return err_set(err, ERR_SYNTAX, "no certificate in PEM");
	}
	s->nchains += begins_chain;
	s->is_behind_key = false;
	c->certs[c->count++] = cert;
	return 0;
}

static bool
is_named(const char *name, const char *what)
{
	size_t len = strlen(name), end = strlen(what);

	return len >= end && strcmp(name + len - end, what) == 0;
}

/* One object of the text.  0, 1 = the end, -1. */
static int
add_next(struct cert_set *s, BIO *bio, unsigned what, struct err *err)
{
	char *name = NULL, *header = NULL;
	unsigned char *der = NULL;
	long len = 0;
	int r = 0;

	if (PEM_read_bio_ex(bio, &name, &header, &der, &len, PEM_FLAG_SECURE) != 1)
		return 1;
	if ((what & CERT_SET_KEYS) && is_named(name, "PRIVATE KEY"))
		r = add_key(
		    s, is_named(name, "ENCRYPTED PRIVATE KEY") ? "x" : header, der, len, err);
	else if ((what & CERT_SET_CERTS) && is_named(name, "CERTIFICATE"))
		r = add_cert(s, der, len, err);
	OPENSSL_secure_free(name);
	OPENSSL_secure_free(header);
	OPENSSL_secure_clear_free(der, (size_t)len);
	return r;
}

int
cert_set_add(struct cert_set *s, int fd, unsigned what, struct err *err)
{
	size_t len = 0, before = s->nkeys + s->nchains, certs = 0;
	char *text = read_text(fd, &len, err);
	BIO *bio;
	int r = 0;

	if (text == NULL)
		return -1;
	if (s->nchains > 0)
		certs = s->chains[s->nchains - 1].count;
	bio = BIO_new_mem_buf(text, (int)len);
	while (bio != NULL && r == 0)
		r = add_next(s, bio, what, err);
	BIO_free(bio);
	OPENSSL_secure_clear_free(text, len);
	ERR_clear_error();
	if (r < 0)
		return -1;
	if (s->nkeys + s->nchains == before &&
	    (s->nchains == 0 || s->chains[s->nchains - 1].count == certs))
		return err_set(err, ERR_SYNTAX,
		    what == CERT_SET_KEYS ? "no private key in PEM without passphrase"
					  : "no certificate in PEM");
	return 0;
}

int
cert_set_add_file(struct cert_set *s, const char *path, unsigned what, struct err *err)
{
	/* whoever owns the directory of a certificate must not hold us up with a FIFO */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), r;

	if (fd < 0)
		return err_sys(err, ERR_PERM, "cannot read %s", path);
	r = cert_set_add(s, fd, what, err);
	fd_close(&fd);
	return r < 0 ? err_prefix(err, "%s", path) : 0;
}

int
cert_set_add_list(struct cert_set *s, const char *files, struct err *err)
{
	struct view rest = view_of(files), file;
	int r = 0;

	while (r == 0 && conf_next(&rest, &file)) {
		char *path = x_strndup(file.p, file.len);

		r = cert_set_add_file(s, path, CERT_SET_KEYS | CERT_SET_CERTS, err);
		free(path);
	}
	return r < 0 ? -1 : cert_set_match(s, err);
}

int
cert_set_match(struct cert_set *s, struct err *err)
{
	for (size_t i = 0; i < s->nchains; i++) {
		struct cert_chain *c = &s->chains[i];

		for (size_t k = 0; k < s->nkeys && c->key == NULL; k++)
			if (EVP_PKEY_eq(X509_get0_pubkey(c->certs[0]), s->keys[k]) == 1)
				c->key = s->keys[k];
		ERR_clear_error();
		if (c->key == NULL)
			return err_set(err, ERR_PERM, "no key belongs to certificate %zu", i + 1);
	}
	return s->nchains > 0 ? 0 : err_set(err, ERR_PERM, "no certificate");
}
