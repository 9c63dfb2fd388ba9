#include "authd/sasl_exchange.h"
#include "authd/sasl_scram.h"

#include "common/base/mem.h"
#include "common/log/log.h"

#include <openssl/evp.h>
#include <sasl/sasl.h>
#include <sasl/saslplug.h>
#include <sasl/saslutil.h>
#include <stdlib.h>

struct sasl_exchange {
	sasl_conn_t *conn;
	const struct sasl_mechanism *mech;
	char name[USER_ADDRESS_MAX + 1]; /* folded, "" until the client said it */
	bool is_known;
	bool has_no_answer; /* the database did not answer: not the client's fault */
	bool password_failed;
	/* SCRAM: only the client's empty response to the server's last message is missing */
	bool is_proved;
	char account[USER_ADDRESS_MAX + 1];
};

/* libsasl2's callbacks are global, and so is what they need. */
static struct {
	const struct authd_conf *conf;
	struct sasl_source source;
	char dummy[USER_CRYPT_MAX];
	uint8_t secret[USER_SECRET_BYTES];
	bool has_secret;
	struct sasl_exchange *current; /* borrowed: whose step is running */
} lib;

/* clang-format off */
static const struct sasl_mechanism {
	const char *name;
	bool is_plaintext;
	bool takes_nul;
} mechanisms[] = {
	{ "PLAIN",         true,  true  }, /* RFC 4616 */
	{ "LOGIN",         true,  false }, /* the plugin would take what is before the NUL for the whole */
	{ "SCRAM-SHA-256", false, false }, /* RFC 7677 */
};
/* clang-format on */

/* --- what libsasl2 asks for ------------------------------------------------------------------- */

static int
on_getopt(void *context, const char *plugin, const char *option, const char **result, unsigned *len)
{
	static const struct {
		const char *name, *value;
	} options[] = {
		{ "auxprop_plugin", "estafeta" },
		{ "mech_list", "PLAIN LOGIN SCRAM-SHA-256" },
		{ "pwcheck_method", "none" }, /* nothing stands behind our own check */
		{ "auto_transition", "no" },
		{ "canon_user_plugin", "INTERNAL" },
	};

	(void)context, (void)plugin;
	for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
		if (strcmp(option, options[i].name) != 0)
			continue;
		*result = options[i].value;
		if (len != NULL)
			*len = (unsigned)strlen(*result);
		return SASL_OK;
	}
	return SASL_FAIL;
}

static int
on_log(void *context, int level, const char *message)
{
	(void)context;
	if (level != SASL_LOG_NONE && level <= SASL_LOG_ERR)
		log_debug("sasl: %s", lqs(message));
	return SASL_OK;
}

/* Which of the files in the plugin directory are loaded: never a configuration file, two
 * plugins, and libscram by our own hand (sasl_scram.h). */
static int
on_verifyfile(void *context, const char *file, sasl_verify_type_t type)
{
	const char *base = strrchr(file, '/');

	(void)context;
	base = base == NULL ? file : base + 1;
	if (type != SASL_VRFY_PLUGIN)
		return SASL_CONTINUE;
	if (strncmp(base, "libplain.so", 11) == 0 || strncmp(base, "liblogin.so", 11) == 0)
		return SASL_OK;
	if (strncmp(base, "libscram.so", 11) == 0)
		sasl_scram_found(file);
	return SASL_CONTINUE;
}

static int
on_getconfpath(void *context, char **path)
{
	static char nowhere[] = "/nonexistent";

	(void)context;
	*path = nowhere; /* borrowed: libsasl2 does not free it */
	return SASL_OK;
}

/* The name of an account, in the form in which it is a key.  What cannot be one becomes a name
 * that nobody has: it costs as much as any other unknown name, and the LOGIN plugin loses the
 * memory of a password when this fails. */
static int
on_canon_user(sasl_conn_t *conn, void *context, const char *in, unsigned len, unsigned flags,
    const char *realm, char *out, unsigned out_max, unsigned *out_len)
{
	char folded[USER_ADDRESS_MAX + 1] = "?";
	struct err e;
	bool is_name =
	    user_address_fold(view_make(in, len == 0 ? strlen(in) : len), folded, &e) == 0;

	(void)conn, (void)context, (void)realm;
	if (!is_name && !(flags & SASL_CU_AUTHID))
		return SASL_BADPROT;
	if (strlen(folded) >= out_max)
		return SASL_BUFOVER;
	memcpy(out, folded, strlen(folded) + 1);
	*out_len = (unsigned)strlen(folded);
	if (is_name && (flags & SASL_CU_AUTHID) && lib.current != NULL)
		memcpy(lib.current->name, folded, strlen(folded) + 1);
	return SASL_OK;
}

/* Nobody acts for another: the authorization identity is empty or the same. */
static int
on_proxy(sasl_conn_t *conn, void *context, const char *user, unsigned ulen, const char *login,
    unsigned llen, const char *realm, unsigned rlen, struct propctx *props)
{
	(void)conn, (void)context, (void)realm, (void)rlen, (void)props;
	return ulen == llen && memcmp(user, login, ulen) == 0 ? SASL_OK : SASL_NOAUTHZ;
}

static int
keys_of(const char *name, struct sasl_keys *keys)
{
	struct err e;

	if (lib.current == NULL || lib.source.keys == NULL ||
	    lib.source.keys(lib.source.arg, name, keys, &e) < 0) {
		if (lib.current != NULL)
			lib.current->has_no_answer = true;
		return -1;
	}
	lib.current->is_known = keys->is_known;
	return 0;
}

/* PLAIN and LOGIN.  Someone unknown, or without a password, is checked against a hash that
 * nothing fits. */
static int
on_checkpass(sasl_conn_t *conn, void *context, const char *user, const char *pass, unsigned len,
    struct propctx *props)
{
	char password[USER_PASSWORD_MAX + 1];
	struct sasl_keys keys = { 0 };
	bool fits;

	(void)conn, (void)context, (void)props;
	if (keys_of(user, &keys) < 0)
		return SASL_UNAVAIL;
	/* too long: refused, but not sooner than a wrong one */
	memcpy(password, pass, len > USER_PASSWORD_MAX ? 0 : len);
	password[len > USER_PASSWORD_MAX ? 0 : len] = '\0';
	fits = user_password_fits(keys.crypt[0] == '\0' ? lib.dummy : keys.crypt, password) &&
	       keys.crypt[0] != '\0' && len <= USER_PASSWORD_MAX && strlen(password) == len;
	mem_wipe(password, sizeof password);
	mem_wipe(&keys, sizeof keys);
	lib.current->password_failed = !fits;
	return fits ? SASL_OK : SASL_BADAUTH;
}

/* --- the auxprop plugin: SCRAM keys ----------------------------------------------------------- */

static int
secret_fetch(void)
{
	struct err e;

	if (lib.has_secret)
		return 0;
	if (lib.source.secret == NULL || lib.source.secret(lib.source.arg, lib.secret, &e) < 0)
		return -1;
	lib.has_secret = true;
	return 0;
}

static int
scram_keys_of(const char *name, struct sasl_keys *keys)
{
	char fake[USER_SCRAM_MAX];

	if (keys_of(name, keys) < 0)
		return -1;
	if (secret_fetch() < 0) {
		lib.current->has_no_answer = true;
		return -1;
	}
	/* made for a known user too: it costs the same */
	user_scram_fake(fake, lib.secret, name, lib.conf->policy.scram_iterations);
	if (!keys->is_known || keys->scram[0] == '\0')
		memcpy(keys->scram, fake, sizeof fake);
	return 0;
}

static int
auxprop_lookup(
    void *glob, sasl_server_params_t *params, unsigned flags, const char *user, unsigned len)
{
	const struct propval *wanted = params->utils->prop_get(params->propctx);
	struct sasl_keys keys = { 0 };
	int r = SASL_OK;

	(void)glob;
	if (flags & SASL_AUXPROP_AUTHZID)
		return SASL_OK; /* nothing of the authorization identity is ever asked */
	for (; wanted != NULL && wanted->name != NULL && r == SASL_OK; wanted++) {
		char *name;

		if (strcmp(wanted->name, "*authPassword") != 0 || wanted->values != NULL)
			continue;
		name = x_strndup(user, len);
		if (scram_keys_of(name, &keys) < 0)
			r = SASL_UNAVAIL;
		else
			r = params->utils->prop_set(params->propctx, wanted->name, keys.scram, -1);
		free(name);
	}
	mem_wipe(&keys, sizeof keys);
	return r;
}

static int
auxprop_init(const sasl_utils_t *utils, int max_version, int *version, sasl_auxprop_plug_t **plug,
    const char *plugname)
{
	static char name[] = "estafeta";
	static sasl_auxprop_plug_t plugin = { .name = name, .auxprop_lookup = auxprop_lookup };

	(void)utils, (void)plugname;
	if (max_version < SASL_AUXPROP_PLUG_VERSION)
		return SASL_BADVERS;
	*version = SASL_AUXPROP_PLUG_VERSION;
	*plug = &plugin;
	return SASL_OK;
}

/* --- the library ------------------------------------------------------------------------------ */

#define PROC(f) ((int (*)(void))(uintptr_t)(f))

/* libsasl2's list is that of the files it loaded itself: SCRAM is sasl_scram_add's affair. */
static int
plain_mechanisms_are_there(struct err *err)
{
	const char **have = sasl_global_listmech();

	for (size_t i = 0; i < sizeof mechanisms / sizeof mechanisms[0]; i++) {
		const char **m = have;

		if (!mechanisms[i].is_plaintext)
			continue;
		while (m != NULL && *m != NULL && strcmp(*m, mechanisms[i].name) != 0)
			m++;
		if (m == NULL || *m == NULL)
			return err_set(err, ERR_PERM,
			    "libsasl2 has no %s: is libsasl2-modules installed?",
			    mechanisms[i].name);
	}
	return 0;
}

int
sasl_library_open(const struct authd_conf *conf, struct err *err)
{
	static sasl_callback_t callbacks[] = {
		{ SASL_CB_GETOPT, NULL, NULL },
		{ SASL_CB_LOG, NULL, NULL },
		{ SASL_CB_VERIFYFILE, NULL, NULL },
		{ SASL_CB_GETCONFPATH, NULL, NULL },
		{ SASL_CB_CANON_USER, NULL, NULL },
		{ SASL_CB_PROXY_POLICY, NULL, NULL },
		{ SASL_CB_SERVER_USERDB_CHECKPASS, NULL, NULL },
		{ SASL_CB_LIST_END, NULL, NULL },
	};
	char warm_up[USER_SCRAM_MAX];
	int code;

	callbacks[0].proc = PROC(on_getopt);
	callbacks[1].proc = PROC(on_log);
	callbacks[2].proc = PROC(on_verifyfile);
	callbacks[3].proc = PROC(on_getconfpath);
	callbacks[4].proc = PROC(on_canon_user);
	callbacks[5].proc = PROC(on_proxy);
	callbacks[6].proc = PROC(on_checkpass);
	lib.conf = conf;
	/* OpenSSL loads its configuration and providers now */
	user_scram_fake(warm_up, lib.secret, "", conf->policy.scram_iterations);
	if (user_password_dummy(lib.dummy, &conf->policy, err) < 0)
		return -1;
	code = sasl_server_init(callbacks, "estafeta");
	if (code == SASL_OK)
		code = sasl_auxprop_add_plugin("estafeta", auxprop_init);
	if (code != SASL_OK)
		return err_set(err, ERR_PERM, "libsasl2: %s", sasl_errstring(code, NULL, NULL));
	if (sasl_scram_add(err) < 0)
		return -1;
	return plain_mechanisms_are_there(err);
}

void
sasl_library_set_source(const struct sasl_source *source)
{
	lib.source = *source;
}

/* --- an exchange ------------------------------------------------------------------------------ */

static void
answer_set(struct sasl_answer *a, enum authd_step step, const char *account, const char *reason)
{
	*a = (struct sasl_answer){
		.step = step, .account = account, .reason = reason, .challenge = ""
	};
}

static const char *
reason_for(const struct sasl_exchange *x, int code)
{
	if (x->name[0] == '\0')
		return "no valid user name";
	if (!x->is_known)
		return "unknown user";
	if (code == SASL_NOAUTHZ)
		return "acting for another user is not allowed";
	if (x->password_failed || sasl_scram_proof() == SCRAM_PROOF_FAILED)
		return "password mismatch";
	return "malformed exchange";
}

static void
answer_done(struct sasl_exchange *x, struct sasl_answer *a)
{
	const void *name = NULL;

	if (sasl_getprop(x->conn, SASL_USERNAME, &name) != SASL_OK || name == NULL ||
	    strcmp(name, x->name) != 0 || !x->is_known) {
		answer_set(
		    a, AUTHD_STEP_FAILED, x->name, "no user name at the end of the exchange");
		return;
	}
	memcpy(x->account, x->name, sizeof x->account);
	answer_set(a, AUTHD_STEP_DONE, x->account, "");
}

static void
answer_make(struct sasl_exchange *x, int code, const char *out, unsigned len, struct sasl_answer *a)
{
	if (x->has_no_answer) {
		answer_set(a, AUTHD_STEP_TEMP, x->name, "the user database does not answer");
	} else if (code == SASL_CONTINUE) {
		answer_set(a, AUTHD_STEP_MORE, x->name, "");
		x->is_proved = sasl_scram_proof() == SCRAM_PROOF_FITS;
		a->challenge = out == NULL ? "" : out;
		a->challenge_len = out == NULL ? 0 : len;
	} else if (code == SASL_OK) {
		answer_done(x, a);
	} else if (code == SASL_NOMEM) {
		answer_set(a, AUTHD_STEP_TEMP, x->name, "out of memory");
	} else {
		answer_set(a, AUTHD_STEP_FAILED, x->name, reason_for(x, code));
	}
}

static const struct sasl_mechanism *
mechanism_find(const char *name)
{
	for (size_t i = 0; i < sizeof mechanisms / sizeof mechanisms[0]; i++)
		if (strcmp(mechanisms[i].name, name) == 0)
			return &mechanisms[i];
	return NULL;
}

static sasl_conn_t *
conn_new(const char *service, const char *server_name)
{
	sasl_security_properties_t props = { .maxbufsize = 0,
		.security_flags = SASL_SEC_NOANONYMOUS };
	sasl_conn_t *conn = NULL;

	/* without SASL_SUCCESS_DATA: the last server message of SCRAM is a challenge that the
	 * client answers with an empty response, as SMTP, IMAP and POP3 want it (RFC 4954 4, RFC
	 * 3501 6.2.2, RFC 5034 4) */
	if (sasl_server_new(service, server_name[0] == '\0' ? "localhost" : server_name, NULL, NULL,
		NULL, NULL, 0, &conn) != SASL_OK)
		return NULL;
	if (sasl_setprop(conn, SASL_SEC_PROPS, &props) != SASL_OK)
		sasl_dispose(&conn);
	return conn;
}

/* What no plugin needs to see. */
static bool
response_is_bad(const struct sasl_exchange *x, struct view response, struct sasl_answer *answer)
{
	const char *reason = NULL;

	if (response.len > SASL_RESPONSE_MAX)
		reason = "response too long";
	else if (response.len > 0 && !x->mech->takes_nul &&
		 memchr(response.p, '\0', response.len) != NULL)
		reason = "malformed exchange";
	else if (x->is_proved && response.len > 0) /* libsasl2 does not look */
		reason = "malformed exchange";
	if (reason != NULL)
		answer_set(answer, AUTHD_STEP_FAILED, x->name, reason);
	return reason != NULL;
}

void
sasl_exchange_start(const char *service, const char *mech, unsigned flags, const char *server_name,
    struct view initial, struct sasl_exchange **out, struct sasl_answer *answer)
{
	const struct sasl_mechanism *m = mechanism_find(mech);
	const char *challenge = NULL;
	struct sasl_exchange *x;
	unsigned len = 0;
	int code;

	*out = NULL;
	if (m == NULL ||
	    (m->is_plaintext && lib.conf->plain_needs_tls && !(flags & AUTHD_HAS_TLS))) {
		answer_set(answer, AUTHD_STEP_NO_MECH, "", "mechanism not available");
		return;
	}
	x = x_calloc(1, sizeof *x);
	x->conn = conn_new(service, server_name);
	if (x->conn == NULL) {
		free(x);
		answer_set(answer, AUTHD_STEP_TEMP, "", "out of memory");
		return;
	}
	x->mech = m;
	*out = x;
	if (response_is_bad(x, initial, answer))
		return;
	lib.current = x;
	sasl_scram_step_begin();
	code = sasl_server_start(x->conn, m->name,
	    flags & AUTHD_HAS_INITIAL ? (initial.len == 0 ? "" : initial.p) : NULL,
	    flags & AUTHD_HAS_INITIAL ? (unsigned)initial.len : 0, &challenge, &len);
	answer_make(x, code, challenge, len, answer);
	lib.current = NULL;
}

void
sasl_exchange_step(struct sasl_exchange *x, struct view response, struct sasl_answer *answer)
{
	const char *challenge = NULL;
	unsigned len = 0;
	int code;

	if (response_is_bad(x, response, answer))
		return;
	lib.current = x;
	sasl_scram_step_begin();
	code = sasl_server_step(
	    x->conn, response.len == 0 ? "" : response.p, (unsigned)response.len, &challenge, &len);
	answer_make(x, code, challenge, len, answer);
	lib.current = NULL;
}

void
sasl_exchange_free(struct sasl_exchange **x)
{
	if (*x == NULL)
		return;
	sasl_dispose(&(*x)->conn);
	mem_wipe(*x, sizeof **x);
	free(*x);
	*x = NULL;
}
