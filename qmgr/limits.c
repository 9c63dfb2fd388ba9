#include "qmgr/limits.h"
#include "common/base/mem.h"
#include "common/ipc/msg/authd.h"
#include "common/log/log.h"

#include <stdlib.h>
#include <string.h>

enum { TIMEOUT_MS = 30000 };

struct limits_query {
	void (*cb)(void *arg, const struct limits *l);
	void *arg;
	const char *tables; /* for the log */
	struct ipc_call *call;
};

static void
on_answer(void *arg, struct ipc_in *in)
{
	struct limits_query q = *(struct limits_query *)arg;
	uint32_t status = in != NULL ? ipc_get_u32(in) : AUTHD_TEMP;
	struct limits l = { 0 };
	const char *value;
	struct err err;

	free(arg);
	if (in != NULL)
		(void)ipc_get_u32(in); /* which key it was */
	value = in != NULL ? ipc_get_str(in) : "no answer from authd";
	if (status != AUTHD_OK && status != AUTHD_NO) {
		log_warn("%s: table lookup error: %s", q.tables, lqs(value));
		q.cb(q.arg, NULL);
		return;
	}
	/* what nobody can read limits nobody */
	if (status == AUTHD_OK && limits_parse(value, &l, &err) < 0) {
		log_warn("%s: %s", q.tables, lqs(err.text));
		l = (struct limits){ 0 };
	}
	q.cb(q.arg, &l);
}

static struct limits_query *
ask(struct ipc_edge *authd, uint16_t question, const char *const *keys, size_t nkeys,
    void (*cb)(void *arg, const struct limits *l), void *arg)
{
	struct limits_query *q = x_calloc(1, sizeof *q);
	struct ipc_out o;

	q->cb = cb;
	q->arg = arg;
	q->tables = question == AUTHD_LIMITS ? "destination_limit_maps" : "tenant_limit_maps";
	ipc_out_init(&o, question);
	for (size_t i = 0; i < nkeys; i++) {
		ipc_put_u32(&o, 0);
		ipc_put_str(&o, keys[i]);
	}
	q->call = ipc_edge_ask(authd, &o, AUTHD_LOOKUP_SIG, TIMEOUT_MS, on_answer, q);
	return q;
}

/* Each name, and its parents: ".example.com". */
static size_t
put_keys(char *names, const char **keys, size_t max)
{
	char *rest = names, *name;
	size_t n = 0;

	while ((name = strsep(&rest, ",")) != NULL) {
		const char *key = name;

		while (key != NULL && n < max) {
			keys[n++] = key;
			/* [host] and host:port have no parents */
			key = strpbrk(name, "[:") == NULL ? strchr(key + 1, '.') : NULL;
		}
	}
	return n;
}

struct limits_query *
limits_ask_destination(struct ipc_edge *authd, const char *names,
    void (*cb)(void *arg, const struct limits *l), void *arg)
{
	const char *keys[AUTHD_LOOKUP_KEYS];
	char *copy = x_strdup(names);
	size_t n = put_keys(copy, keys, AUTHD_LOOKUP_KEYS);
	struct limits_query *q = ask(authd, AUTHD_LIMITS, keys, n, cb, arg);

	free(copy);
	return q;
}

struct limits_query *
limits_ask_tenant(struct ipc_edge *authd, const char *name,
    void (*cb)(void *arg, const struct limits *l), void *arg)
{
	const char *keys[2] = { name, strchr(name, '@') };
	size_t n = keys[1] != NULL && keys[1] != keys[0] ? 2 : 1;

	return ask(authd, AUTHD_TENANT_LIMITS, keys, n, cb, arg);
}

void
limits_cancel(struct limits_query *q)
{
	if (q == NULL)
		return;
	ipc_call_cancel(q->call);
	free(q);
}
