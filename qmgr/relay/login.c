#include "qmgr/relay/login.h"
#include "common/base/mem.h"
#include "common/ipc/msg/authd.h"
#include "common/log/log.h"
#include "common/proto/address.h"

#include <stdlib.h>

enum { TIMEOUT_MS = 30000 };

struct relay_login {
	void (*cb)(void *arg, enum relay_login_result r, const char *user, const char *password);
	void *arg;
	struct ipc_call *call;
};

static void
on_answer(void *arg, struct ipc_in *in)
{
	struct relay_login l = *(struct relay_login *)arg;
	uint32_t status = in != NULL ? ipc_get_u32(in) : AUTHD_TEMP;
	const char *value, *colon;
	char *user;

	free(arg);
	if (in != NULL)
		(void)ipc_get_u32(in); /* which key it was */
	value = in != NULL ? ipc_get_str(in) : "no answer from authd";
	if (status == AUTHD_NO) {
		l.cb(l.arg, RELAY_LOGIN_NONE, "", "");
	} else if (status != AUTHD_OK) {
		log_warn("smtp_sasl_password_maps: table lookup problem: %s", lqs(value));
		l.cb(l.arg, RELAY_LOGIN_TEMP, "", "");
	} else {
		colon = strchr(value, ':');
		user = x_strndup(value, colon != NULL ? (size_t)(colon - value) : strlen(value));
		l.cb(l.arg, RELAY_LOGIN_FOUND, user, colon != NULL ? colon + 1 : "");
		free(user);
	}
}

static void
put_key(struct ipc_out *o, bool is_partial, const char *key)
{
	ipc_put_u32(o, is_partial ? 1 : 0);
	ipc_put_str(o, key);
}

static void
put_sender(struct ipc_out *o, const char *sender, const char *delimiters)
{
	size_t len = address_local_length(sender), base = address_base_length(sender, delimiters);
	char *stripped;

	put_key(o, false, sender);
	if (base < len) {
		stripped = x_asprintf("%.*s%s", (int)base, sender, sender + len);
		put_key(o, true, stripped);
		free(stripped);
	}
	if (sender[len] == '@')
		put_key(o, true, sender + len);
}

struct relay_login *
relay_login_start(struct ipc_edge *authd, const char *sender, const char *delimiters,
    const char *host, const char *nexthop,
    void (*cb)(void *arg, enum relay_login_result r, const char *user, const char *password),
    void *arg)
{
	struct relay_login *l = x_calloc(1, sizeof *l);
	struct ipc_out o;

	l->cb = cb;
	l->arg = arg;
	ipc_out_init(&o, AUTHD_PASSWORD);
	if (sender != NULL && *sender != '\0')
		put_sender(&o, sender, delimiters);
	put_key(&o, false, host);
	put_key(&o, false, nexthop);
	l->call = ipc_edge_ask(authd, &o, AUTHD_LOOKUP_SIG, TIMEOUT_MS, on_answer, l);
	return l;
}

void
relay_login_cancel(struct relay_login *l)
{
	if (l == NULL)
		return;
	ipc_call_cancel(l->call);
	free(l);
}
