#include "smtpd/anvil_client.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/log/log.h"
#include "common/net/addr.h"

#include <stdio.h>
#include <stdlib.h>

struct anvil_call {
	struct smtpd_server *server;
	struct ipc_call *call;
	void (*read)(struct ipc_in *in, struct anvil_answer *a);
	anvil_cb *cb;
	void *arg;
};

static bool
is_there(const struct smtpd_server *v)
{
	return v->anvil != NULL && clock_mono_ms() >= v->anvil_pause_until_ms;
}

static void
note_answer(struct smtpd_server *v, bool is_answer)
{
	if (is_answer && v->anvil_is_lost)
		log_info("anvil answers again");
	if (!is_answer && !v->anvil_is_lost)
		log_warn("anvil does not answer: clients are not limited");
	v->anvil_is_lost = !is_answer;
	v->anvil_pause_until_ms = is_answer ? 0 : clock_mono_ms() + ANVIL_PAUSE_MS;
}

static void
on_answer(void *arg, struct ipc_in *in)
{
	struct anvil_call *c = arg;
	struct anvil_answer a = { .is_known = in != NULL };

	note_answer(c->server, in != NULL);
	if (in != NULL)
		c->read(in, &a);
	c->cb(c->arg, &a);
	free(c);
}

/* Asked again when anvil is exchanged meanwhile: what the one before had counted is gone with it. */
static struct anvil_call *
ask(struct smtpd_server *v, struct ipc_out *o, const char *signature,
    void (*read)(struct ipc_in *in, struct anvil_answer *a), anvil_cb *cb, void *arg)
{
	struct anvil_call *c = x_calloc(1, sizeof *c);

	c->server = v;
	c->read = read;
	c->cb = cb;
	c->arg = arg;
	c->call = ipc_edge_ask(v->anvil, o, signature, ANVIL_TIMEOUT_MS, on_answer, c);
	return c;
}

void
anvil_call_cancel(struct anvil_call *c)
{
	if (c == NULL)
		return;
	ipc_call_cancel(c->call);
	free(c);
}

static void
read_connect(struct ipc_in *in, struct anvil_answer *a)
{
	a->connections = ipc_get_u32(in);
	a->rate = ipc_get_u32(in);
}

static void
put_client(struct ipc_out *o, struct smtpd_server *v, const char *client)
{
	ipc_put_str(o, v->service);
	ipc_put_str(o, client);
}

struct anvil_call *
anvil_connect(struct smtpd_server *v, const char *client, anvil_cb *cb, void *arg)
{
	struct ipc_out o;

	if (!is_there(v))
		return NULL;
	ipc_out_init(&o, ANVIL_CONNECT);
	put_client(&o, v, client);
	return ask(v, &o, "uu", read_connect, cb, arg);
}

void
anvil_disconnect(struct smtpd_server *v, const char *client)
{
	struct ipc_out o;

	if (v->anvil == NULL || ipc_edge_conn(v->anvil) == NULL)
		return; /* whom we told of the connection is gone */
	ipc_out_init(&o, ANVIL_DISCONNECT);
	put_client(&o, v, client);
	ipc_edge_send(v->anvil, &o);
}

static void
put_count(struct ipc_out *o, struct smtpd_server *v, enum anvil_event event, int64_t unit_s,
    const char *key, uint32_t n)
{
	char *full = event < ANVIL_LOGIN_MESSAGE ? x_asprintf("%s:%s", v->service, key) : NULL;

	ipc_out_init(o, ANVIL_COUNT);
	ipc_put_u32(o, event);
	ipc_put_u32(o, unit_s < UINT32_MAX ? (uint32_t)unit_s : UINT32_MAX);
	ipc_put_str(o, full != NULL ? full : key);
	ipc_put_u32(o, n);
	free(full);
}

static void
read_count(struct ipc_in *in, struct anvil_answer *a)
{
	a->rate = ipc_get_u32(in);
}

struct anvil_call *
anvil_count(struct smtpd_server *v, enum anvil_event event, int64_t unit_s, const char *key,
    uint32_t n, anvil_cb *cb, void *arg)
{
	struct ipc_out o;

	if (!is_there(v))
		return NULL;
	put_count(&o, v, event, unit_s, key, n);
	return ask(v, &o, "u", read_count, cb, arg);
}

void
anvil_note(
    struct smtpd_server *v, enum anvil_event event, int64_t unit_s, const char *key, uint32_t n)
{
	struct ipc_out o;

	if (!is_there(v))
		return;
	put_count(&o, v, event, unit_s, key, n);
	ipc_edge_send(v->anvil, &o);
}

static void
read_greylist(struct ipc_in *in, struct anvil_answer *a)
{
	a->greylist = ipc_get_u32(in);
	a->seconds = ipc_get_u32(in);
}

struct anvil_call *
anvil_ask_greylist(struct smtpd_server *v, const char *network, const char *sender,
    const char *recipient, const char *client_name, anvil_cb *cb, void *arg)
{
	struct ipc_out o;

	if (!is_there(v))
		return NULL;
	ipc_out_init(&o, ANVIL_GREYLIST);
	ipc_put_str(&o, network);
	ipc_put_str(&o, sender);
	ipc_put_str(&o, recipient);
	ipc_put_str(&o, client_name);
	return ask(v, &o, "uu", read_greylist, cb, arg);
}

static void
read_screen(struct ipc_in *in, struct anvil_answer *a)
{
	for (size_t i = 0; i < ANVIL_SCREEN_TESTS; i++)
		a->until[i] = (int64_t)ipc_get_u64(in);
}

struct anvil_call *
anvil_screen_get(struct smtpd_server *v, const char *client, anvil_cb *cb, void *arg)
{
	struct ipc_out o;

	if (!is_there(v))
		return NULL;
	ipc_out_init(&o, ANVIL_SCREEN_GET);
	ipc_put_str(&o, client);
	return ask(v, &o, "qqqqq", read_screen, cb, arg);
}

void
anvil_screen_put(
    struct smtpd_server *v, const char *client, const int64_t until[ANVIL_SCREEN_TESTS])
{
	struct ipc_out o;

	if (!is_there(v))
		return;
	ipc_out_init(&o, ANVIL_SCREEN_PUT);
	ipc_put_str(&o, client);
	for (size_t i = 0; i < ANVIL_SCREEN_TESTS; i++)
		ipc_put_u64(&o, (uint64_t)until[i]);
	ipc_edge_send(v->anvil, &o);
}

/* Only the first bits stay. */
static void
mask(unsigned char *bytes, size_t size, unsigned bits)
{
	for (size_t i = 0; i < size; i++, bits -= bits < 8 ? bits : 8)
		if (bits < 8)
			bytes[i] &= (unsigned char)(0xff00 >> bits);
}

void
anvil_network(
    const struct sockaddr_storage *a, unsigned ipv4_bits, unsigned ipv6_bits, char out[ADDR_TEXT])
{
	struct sockaddr_storage network;
	unsigned bits = ipv6_bits, all = 128;
	size_t len;

	/* as text and back: a mapped address is an IPv4 one */
	addr_text(a, out);
	if (!addr_parse(view_of(out), &network))
		return;
	if (network.ss_family == AF_INET) {
		bits = ipv4_bits;
		all = 32;
		mask((unsigned char *)&((struct sockaddr_in *)&network)->sin_addr, 4, bits);
	} else {
		mask((unsigned char *)&((struct sockaddr_in6 *)&network)->sin6_addr, 16, bits);
	}
	if (bits >= all)
		return;
	addr_text(&network, out);
	len = strlen(out);
	snprintf(out + len, ADDR_TEXT - len, "/%u", bits);
}
