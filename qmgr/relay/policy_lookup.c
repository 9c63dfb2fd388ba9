#include "qmgr/relay/policy_lookup.h"
#include "common/base/mem.h"
#include "common/ipc/msg/authd.h"
#include "common/log/log.h"
#include "qmgr/relay/nexthop.h"

#include <stdlib.h>

enum { TIMEOUT_MS = 30000 };

struct relay_policy_lookup {
	void (*cb)(void *arg, bool is_known, const char *entry);
	void *arg;
	struct ipc_call *call;
};

static void
on_answer(void *arg, struct ipc_in *in)
{
	struct relay_policy_lookup l = *(struct relay_policy_lookup *)arg;
	uint32_t status = in != NULL ? ipc_get_u32(in) : AUTHD_TEMP;
	const char *value;

	free(arg);
	if (in != NULL)
		(void)ipc_get_u32(in); /* which key it was */
	value = in != NULL ? ipc_get_str(in) : "no answer from authd";
	if (status != AUTHD_OK && status != AUTHD_NO)
		log_warn("smtp_tls_policy_maps: policy table lookup error: %s", lqs(value));
	l.cb(l.arg, status == AUTHD_OK || status == AUTHD_NO, status == AUTHD_OK ? value : NULL);
}

struct relay_policy_lookup *
relay_policy_lookup_start(struct ipc_edge *authd, const char *nexthop,
    void (*cb)(void *arg, bool is_known, const char *entry), void *arg)
{
	struct relay_policy_lookup *l = x_calloc(1, sizeof *l);
	const char *key = nexthop;
	struct ipc_out o;
	size_t n = 0;

	l->cb = cb;
	l->arg = arg;
	ipc_out_init(&o, AUTHD_TLS_POLICY);
	/* Postfix: [host], host:port and the like are nobody's recipient domain, and have no parents */
	do {
		ipc_put_u32(&o, 0);
		ipc_put_str(&o, key);
		key = relay_hostname_is_usable(nexthop) ? strchr(key + 1, '.') : NULL;
	} while (key != NULL && ++n < AUTHD_LOOKUP_KEYS);
	l->call = ipc_edge_ask(authd, &o, AUTHD_LOOKUP_SIG, TIMEOUT_MS, on_answer, l);
	return l;
}

void
relay_policy_lookup_cancel(struct relay_policy_lookup *l)
{
	if (l == NULL)
		return;
	ipc_call_cancel(l->call);
	free(l);
}
