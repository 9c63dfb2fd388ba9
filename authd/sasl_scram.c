#include "authd/sasl_scram.h"

#include "common/base/random.h"

#include <dlfcn.h>
#include <limits.h>
#include <openssl/evp.h>
#include <sasl/sasl.h>
#include <sasl/saslplug.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static struct {
	char file[PATH_MAX];
	void *library; /* stays for the process's life */
	sasl_server_plug_init_t *init;
	sasl_server_plug_t plug; /* the plugin's own row, with our functions before two of its */
	int (*mech_new)(void *glob, sasl_server_params_t *params, const char *challenge,
	    unsigned len, void **context);
	int (*mech_step)(void *context, sasl_server_params_t *params, const char *in, unsigned len,
	    const char **out, unsigned *out_len, sasl_out_params_t *oparams);
	enum sasl_scram_proof proof;
} scram;

static void
random_from_kernel(sasl_rand_t *pool, char *out, unsigned len)
{
	(void)pool;
	random_bytes(out, len);
}

static int
scram_new(
    void *glob, sasl_server_params_t *params, const char *challenge, unsigned len, void **context)
{
	/* the utility functions are a block of their own for each connection, made by
	 * sasl_server_new */
	((sasl_utils_t *)(uintptr_t)params->utils)->rand = random_from_kernel;
	return scram.mech_new(glob, params, challenge, len, context);
}

static int
scram_step(void *context, sasl_server_params_t *params, const char *in, unsigned len,
    const char **out, unsigned *out_len, sasl_out_params_t *oparams)
{
	bool is_proof = len > 2 && memcmp(in, "c=", 2) == 0 && memmem(in, len, ",p=", 3) != NULL;
	int code;

	*out = NULL;
	*out_len = 0;
	if (len > 0 && in[0] == 'p')
		return SASL_BADPROT; /* RFC 5802 6: there is no -PLUS mechanism to ask for */
	code = scram.mech_step(context, params, in, len, out, out_len, oparams);
	if (is_proof)
		scram.proof = code == SASL_OK ? SCRAM_PROOF_FITS : SCRAM_PROOF_FAILED;
	return code;
}

static int
scram_init(
    const sasl_utils_t *utils, int max_version, int *version, sasl_server_plug_t **list, int *count)
{
	sasl_server_plug_t *theirs = NULL;
	int n = 0, code = scram.init(utils, max_version, version, &theirs, &n);

	if (code != SASL_OK)
		return code;
	for (int i = 0; i < n; i++) {
		if (strcmp(theirs[i].mech_name, "SCRAM-SHA-256") != 0)
			continue;
		scram.plug = theirs[i];
		scram.mech_new = theirs[i].mech_new;
		scram.mech_step = theirs[i].mech_step;
		scram.plug.mech_new = scram_new;
		scram.plug.mech_step = scram_step;
		*list = &scram.plug;
		*count = 1;
		return SASL_OK;
	}
	return SASL_NOMECH;
}

void
sasl_scram_found(const char *file)
{
	snprintf(scram.file, sizeof scram.file, "%s", file);
}

int
sasl_scram_add(struct err *err)
{
	int code;

	if (scram.file[0] == '\0')
		return err_set(
		    err, ERR_PERM, "libsasl2 has no SCRAM plugin: is libsasl2-modules installed?");
	scram.library = dlopen(scram.file, RTLD_NOW | RTLD_LOCAL);
	if (scram.library != NULL)
		scram.init =
		    (sasl_server_plug_init_t *)(uintptr_t)dlsym(scram.library, "sasl_server_plug_init");
	if (scram.init == NULL)
		return err_set(err, ERR_PERM, "%s: %s", scram.file, dlerror());
	/* the plugin looks its digest up by name: the table is filled now, not inside the cage */
	if (EVP_get_digestbyname("SHA256") == NULL)
		return err_set(err, ERR_PERM, "OpenSSL has no SHA-256");
	code = sasl_server_add_plugin("estafeta-scram", scram_init);
	if (code != SASL_OK)
		return err_set(
		    err, ERR_PERM, "libsasl2: SCRAM: %s", sasl_errstring(code, NULL, NULL));
	return 0;
}

void
sasl_scram_step_begin(void)
{
	scram.proof = SCRAM_NO_PROOF;
}

enum sasl_scram_proof
sasl_scram_proof(void)
{
	return scram.proof;
}
