#include "qmgr/relay/source.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/ipc/msg/authd.h"
#include "common/log/log.h"
#include "common/net/addr.h"
#include "common/proto/address.h"

#include <stdlib.h>

enum { TIMEOUT_MS = 30000 };

struct relay_source_lookup {
	void (*cb)(void *arg, bool is_known, const char *value);
	void *arg;
	struct ipc_call *call;
};

const struct sockaddr_storage *
relay_source_for(const struct relay_source *s, int family)
{
	if (family == AF_INET)
		return s->has4 ? &s->ip4 : NULL;
	return family == AF_INET6 && s->has6 ? &s->ip6 : NULL;
}

static int
count_addresses(const char *value, size_t count[2], struct err *err)
{
	struct view rest = view_of(value), word;
	struct sockaddr_storage a;

	count[0] = count[1] = 0;
	while (view_token(&rest, ", \t", &word)) {
		if (!addr_parse(word, &a))
			return err_set(
			    err, ERR_SYNTAX, "\"%.*s\" is no address", (int)word.len, word.p);
		count[a.ss_family == AF_INET6]++;
	}
	return count[0] + count[1] > 0 ? 0 : err_set(err, ERR_SYNTAX, "no address");
}

int
relay_source_pick(const char *value, const char *queue_id, const char *nexthop,
    struct relay_source *s, struct err *err)
{
	static const uint8_t key[16]; /* nobody gains by a collision */
	struct view rest = view_of(value), word;
	struct sockaddr_storage a;
	size_t count[2], seen[2] = { 0 };
	char *text;
	uint64_t turn;

	if (count_addresses(value, count, err) < 0)
		return -1;
	text = x_asprintf("%s\n%s", queue_id, nexthop);
	turn = siphash24(key, text, strlen(text));
	free(text);
	*s = (struct relay_source){ .must_bind = s->must_bind,
		.is_pool = true,
		.has4 = count[0] > 0 || (s->has4 && !s->must_bind),
		.has6 = count[1] > 0 || (s->has6 && !s->must_bind),
		.ip4 = s->ip4,
		.ip6 = s->ip6 };
	while (view_token(&rest, ", \t", &word)) {
		bool is6;

		(void)addr_parse(word, &a);
		is6 = a.ss_family == AF_INET6;
		if (seen[is6]++ == turn % count[is6])
			*(is6 ? &s->ip6 : &s->ip4) = a;
	}
	return 0;
}

static void
on_answer(void *arg, struct ipc_in *in)
{
	struct relay_source_lookup l = *(struct relay_source_lookup *)arg;
	uint32_t status = in != NULL ? ipc_get_u32(in) : AUTHD_TEMP;
	const char *value;

	free(arg);
	if (in != NULL)
		(void)ipc_get_u32(in); /* which key it was */
	value = in != NULL ? ipc_get_str(in) : "no answer from authd";
	if (status != AUTHD_OK && status != AUTHD_NO)
		log_warn("smtp_bind_address_maps: table lookup problem: %s", lqs(value));
	l.cb(l.arg, status == AUTHD_OK || status == AUTHD_NO, status == AUTHD_OK ? value : NULL);
}

static void
put_key(struct ipc_out *o, bool is_partial, const char *key)
{
	if (*key == '\0')
		return;
	ipc_put_u32(o, is_partial ? 1 : 0);
	ipc_put_str(o, key);
}

struct relay_source_lookup *
relay_source_lookup_start(struct ipc_edge *authd, const char *sender, const char *login,
    void (*cb)(void *arg, bool is_known, const char *value), void *arg)
{
	struct relay_source_lookup *l = x_calloc(1, sizeof *l);
	struct ipc_out o;

	l->cb = cb;
	l->arg = arg;
	ipc_out_init(&o, AUTHD_BIND_ADDRESS);
	put_key(&o, false, *sender != '\0' ? sender : "<>");
	put_key(&o, true, sender + address_local_length(sender)); /* @domain */
	put_key(&o, false, login);
	l->call = ipc_edge_ask(authd, &o, AUTHD_LOOKUP_SIG, TIMEOUT_MS, on_answer, l);
	return l;
}

void
relay_source_lookup_cancel(struct relay_source_lookup *l)
{
	if (l == NULL)
		return;
	ipc_call_cancel(l->call);
	free(l);
}
