#include "smtpd/lookup.h"
#include "common/base/mem.h"
#include "common/config/conf.h"
#include "common/ipc/msg/authd.h"
#include "common/log/log.h"
#include "smtpd/server.h"

#include <stdio.h>
#include <stdlib.h>

enum { LOOKUP_TIMEOUT_MS = 30000, VALUE_BYTES = 1 << 20 };

struct smtpd_tables {
	char *name;              /* owned: as in main.cf */
	struct table_list *list; /* owned; open only if it is_resident */
	bool is_resident;
};

struct smtpd_lookup {
	void (*cb)(void *arg, enum lookup_result r, size_t which, const char *value);
	void *arg;
	const char *name; /* borrowed from the tables */
	size_t count;     /* of keys */
	/* of resident tables, the answer is there and waits for its turn of the loop */
	struct loop_timer turn;
	enum lookup_result result;
	size_t which;
	struct buf value;
	/* of the others */
	struct ipc_call *call;
};

/* --- tables ----------------------------------------------------------------------------------- */

int
smtpd_tables_open(struct view specs, struct smtpd_tables **out, struct err *err)
{
	struct smtpd_tables *t = x_calloc(1, sizeof *t);
	int r;

	t->name = x_strndup(specs.p, specs.len);
	r = table_list_new(t->name, &t->list, err);
	t->is_resident = r == 0 && table_list_is_resident(t->list);
	if (t->is_resident)
		r = table_list_refresh(t->list, err);
	if (r < 0) {
		smtpd_tables_close(t);
		t = NULL;
	}
	*out = t;
	return r;
}

int
smtpd_tables_open_of(
    const struct conf *conf, const char *name, struct smtpd_tables **out, struct err *err)
{
	struct view specs = view_of(conf_str(conf, name));

	*out = NULL;
	if (specs.len == 0 || smtpd_tables_open(specs, out, err) == 0)
		return 0;
	return err_prefix(err, "%s", name);
}

void
smtpd_tables_close(struct smtpd_tables *t)
{
	if (t == NULL)
		return;
	table_list_close(t->list);
	free(t->name);
	free(t);
}

const char *
smtpd_tables_name(const struct smtpd_tables *t)
{
	return t->name;
}

bool
smtpd_tables_are_resident(const struct smtpd_tables *t)
{
	return t->is_resident;
}

int
smtpd_tables_need_memory(const struct smtpd_tables *t, struct err *err)
{
	if (t == NULL || t->is_resident)
		return 0;
	return err_set(err, ERR_SYNTAX,
	    "%s: only tables that are read at start (cidr:, pcre:, regexp:, texthash: ...)",
	    t->name);
}

size_t
lookup_address_keys(const char *address, const char *delimiters, char stripped[ADDRESS_MAX + 1],
    struct lookup_key keys[2])
{
	size_t len = address_local_length(address), base = address_base_length(address, delimiters);

	if (address[0] == '\0')
		return 0;
	keys[0] = (struct lookup_key){ .text = view_of(address) };
	if (base == len)
		return 1;
	snprintf(stripped, ADDRESS_MAX + 1, "%.*s%s", (int)base, address, address + len);
	keys[1] = (struct lookup_key){ view_of(stripped), true };
	return 2;
}

enum lookup_result
smtpd_lookup_now(struct smtpd_tables *t, const struct lookup_key *keys, size_t count,
    struct buf *value, size_t *which, struct err *err)
{
	if (!t->is_resident)
		return LOOKUP_ASK;
	switch (table_list_find(t->list, keys, count, value, which, err)) {
	case 0:
		return LOOKUP_FOUND;
	case 1:
		return LOOKUP_NONE;
	default:
		return LOOKUP_TEMP;
	}
}

/* --- one lookup ------------------------------------------------------------------------------- */

static void
say_problem(const struct smtpd_lookup *l, const char *why)
{
	log_warn("%s: table lookup problem: %s", lqs(l->name), lqs(why));
}

static void
lookup_free(struct smtpd_lookup *l)
{
	loop_timer_stop(&l->turn);
	ipc_call_cancel(l->call);
	buf_clear(&l->value);
	free(l);
}

/* The callback may end the session, and what it owns. */
static void
lookup_end(struct smtpd_lookup *l, enum lookup_result r, size_t which, const char *value)
{
	void (*cb)(void *, enum lookup_result, size_t, const char *) = l->cb;
	struct buf kept = l->value;
	void *arg = l->arg;

	buf_init(&l->value, VALUE_BYTES);
	lookup_free(l);
	cb(arg, r, which, value);
	buf_clear(&kept);
}

static void
on_turn(void *arg)
{
	struct smtpd_lookup *l = arg;
	const char *value = buf_cstr(&l->value);

	lookup_end(l, l->result, l->which, l->result == LOOKUP_FOUND && value != NULL ? value : "");
}

static void
look_up_now(struct smtpd_lookup *l, struct smtpd_tables *t, const struct lookup_key *keys)
{
	struct err e;

	l->result = smtpd_lookup_now(t, keys, l->count, &l->value, &l->which, &e);
	if (l->result == LOOKUP_TEMP)
		say_problem(l, e.text);
	loop_timer_start(&l->turn, 0);
}

static void
on_answer(void *arg, struct ipc_in *in)
{
	struct smtpd_lookup *l = arg;
	uint32_t status = in != NULL ? ipc_get_u32(in) : AUTHD_TEMP;
	size_t which = in != NULL ? ipc_get_u32(in) : 0;
	const char *value = in != NULL ? ipc_get_str(in) : "no answer from authd";

	l->call = NULL;
	if (status == AUTHD_OK && which < l->count) {
		lookup_end(l, LOOKUP_FOUND, which, value);
	} else if (status == AUTHD_NO) {
		lookup_end(l, LOOKUP_NONE, 0, "");
	} else {
		say_problem(l, value);
		lookup_end(l, LOOKUP_TEMP, 0, "");
	}
}

static void
ask_authd(struct smtpd_lookup *l, struct ipc_edge *authd, const struct lookup_key *keys)
{
	struct ipc_out o;

	ipc_out_init(&o, AUTHD_LOOKUP);
	ipc_put_str(&o, l->name);
	for (size_t i = 0; i < l->count; i++) {
		ipc_put_u32(&o, keys[i].is_partial);
		ipc_put_view_str(&o, keys[i].text);
	}
	l->call = ipc_edge_ask(authd, &o, AUTHD_LOOKUP_SIG, LOOKUP_TIMEOUT_MS, on_answer, l);
}

struct smtpd_lookup *
smtpd_lookup_start(struct smtpd_server *v, struct smtpd_tables *t, const struct lookup_key *keys,
    size_t count, void (*cb)(void *arg, enum lookup_result r, size_t which, const char *value),
    void *arg)
{
	struct smtpd_lookup *l = x_calloc(1, sizeof *l);

	if (count > LOOKUP_KEYS_MAX)
		bug("%zu keys for one lookup", count);
	l->cb = cb;
	l->arg = arg;
	l->name = t->name;
	l->count = count;
	buf_init(&l->value, VALUE_BYTES);
	loop_timer_init(&l->turn, v->loop, on_turn, l);
	if (t->is_resident)
		look_up_now(l, t, keys);
	else
		ask_authd(l, v->authd, keys);
	return l;
}

void
smtpd_lookup_cancel(struct smtpd_lookup *l)
{
	if (l != NULL)
		lookup_free(l);
}
