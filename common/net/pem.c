#include "common/net/pem.h"
#include "common/base/fd.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <sys/stat.h>

enum { PEM_BYTES_MAX = 1 << 20 };

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
	if (!S_ISREG(st.st_mode) || st.st_size <= 0 || st.st_size > PEM_BYTES_MAX) {
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

/* Nobody is there to type a passphrase. */
static int
no_passphrase(char *out, int size, int is_writing, void *arg)
{
	(void)out;
	(void)size;
	(void)is_writing;
	(void)arg;
	return -1;
}

EVP_PKEY *
pem_read_key(int fd, struct err *err)
{
	EVP_PKEY *key = NULL;
	size_t len = 0;
	char *text = read_text(fd, &len, err);
	BIO *bio;

	if (text == NULL)
		return NULL;
	bio = BIO_new_mem_buf(text, (int)len);
	if (bio != NULL)
		key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
	BIO_free(bio);
	OPENSSL_secure_clear_free(text, len);
	ERR_clear_error();
	if (key == NULL) {
		err_set(err, ERR_SYNTAX, "no private key in PEM without passphrase");
	} else if (!EVP_PKEY_is_a(key, "RSA") && !EVP_PKEY_is_a(key, "EC") &&
		   !EVP_PKEY_is_a(key, "ED25519")) {
		EVP_PKEY_free(key);
		key = NULL;
		err_set(err, ERR_PERM, "not RSA, EC or Ed25519");
	}
	return key;
}

static int
read_certs(BIO *bio, X509 *certs[PEM_CHAIN_MAX], struct err *err)
{
	int count = 0;
	X509 *cert;

	while ((cert = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)) != NULL) {
		if (count < PEM_CHAIN_MAX) {
			certs[count++] = cert;
			continue;
		}
		X509_free(cert);
		while (count > 0)
			X509_free(certs[--count]);
		return err_set(err, ERR_LIMIT, "more than %d certificates", PEM_CHAIN_MAX);
	}
	ERR_clear_error();
	return count > 0 ? count : err_set(err, ERR_SYNTAX, "no certificate in PEM");
}

int
pem_read_chain(int fd, X509 *certs[PEM_CHAIN_MAX], struct err *err)
{
	size_t len = 0;
	char *text = read_text(fd, &len, err);
	BIO *bio;
	int r;

	if (text == NULL)
		return -1;
	bio = BIO_new_mem_buf(text, (int)len);
	r = bio != NULL ? read_certs(bio, certs, err) : err_set(err, ERR_TEMP, "out of memory");
	BIO_free(bio);
	OPENSSL_secure_clear_free(text, len);
	return r;
}
