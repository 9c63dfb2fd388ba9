#include "authd/lookup.h"
#include "authd/worker_msg.h"

#include "common/base/clock.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/ipc/msg/authd.h"
#include "common/log/log.h"
#include "common/table/table.h"
#include "common/table/table_config.h"

#include <stdlib.h>

enum { REFRESH_MS = 1000, TABLES_OF_REQUEST = 64, VALUE_BYTES = IPC_MAX_PACKET / 2 };

struct held {
	char *spec;              /* owned: as it is written */
	struct table_list *list; /* of this one; NULL: its directory was not there */
	int64_t seen_ms;         /* when its file was looked at */
	bool is_warned;
};

/* as written -> struct held: what smtpd may ask for */
static struct map held_tables;
/* What is asked for without naming tables is looked for in all of these. */
static struct own_tables {
	const char *specs;
	struct map held;
} own_tables[LOOKUP_OWN];

const char *const lookup_own_params[LOOKUP_OWN] = {
	[LOOKUP_PASSWORDS] = "smtp_sasl_password_maps",
	[LOOKUP_TLS_POLICIES] = "smtp_tls_policy_maps",
	[LOOKUP_BIND_ADDRESSES] = "smtp_bind_address_maps",
	[LOOKUP_DESTINATION_LIMITS] = "destination_limit_maps",
	[LOOKUP_TENANT_LIMITS] = "tenant_limit_maps",
};

static void
hold(struct map *tables, struct view spec)
{
	struct held *h = x_calloc(1, sizeof *h);
	struct err e;

	h->spec = x_strndup(spec.p, spec.len);
	h->seen_ms = -REFRESH_MS;
	if (table_list_prepare(h->spec, &h->list, &e) < 0)
		log_warn("%s: %s", h->spec, e.text);
	map_put(tables, spec, h);
}

static void
hold_all(struct map *tables, const char *specs)
{
	struct view rest = view_of(specs), spec;

	map_init(tables);
	while (table_spec_next(&rest, &spec))
		if (map_get(tables, spec) == NULL)
			hold(tables, spec);
}

void
lookup_prepare(const char *specs, const char *const own[LOOKUP_OWN])
{
	hold_all(&held_tables, specs);
	for (int i = 0; i < LOOKUP_OWN; i++) {
		own_tables[i].specs = own[i] != NULL ? own[i] : "";
		hold_all(&own_tables[i].held, own_tables[i].specs);
	}
}

static int
held_refresh(struct held *h, struct err *err)
{
	int r = h->list == NULL ? err_set(err, ERR_GONE, "there is no such directory")
				: table_list_refresh(h->list, err);

	return r < 0 ? err_prefix(err, "%s", h->spec) : 0;
}

static int
test_all(const struct map *tables, const char *param, struct err *err)
{
	struct map_walk w = { 0 };
	struct map_entry *entry;
	struct err e;
	int r = 0;

	while ((entry = map_next(tables, &w)) != NULL) {
		if (held_refresh(entry->value, &e) == 0)
			continue;
		if (r < 0)
			log_error("%s", err->text);
		*err = e;
		r = err_prefix(err, "%s", param);
	}
	return r;
}

int
lookup_test(struct err *err)
{
	struct err e;
	int r = test_all(&held_tables, TABLE_CONFIG_PARAM, err);

	for (int i = 0; i < LOOKUP_OWN; i++) {
		if (test_all(&own_tables[i].held, lookup_own_params[i], r < 0 ? &e : err) == 0)
			continue;
		if (r < 0)
			log_error("%s", e.text);
		r = -1;
	}
	return r;
}

/* The old version stays in use while it is there; else the lookup says why not. */
static void
look_at_file(struct held *h)
{
	int64_t now = clock_mono_ms();
	struct err e;

	if (now - h->seen_ms < REFRESH_MS)
		return;
	h->seen_ms = now;
	if (held_refresh(h, &e) == 0) {
		h->is_warned = false;
	} else if (!h->is_warned) {
		h->is_warned = true;
		log_warn("%s", lqs(e.text));
	}
}

static int
find_tables(const struct map *held, struct held *tables[TABLES_OF_REQUEST], size_t *count,
    const char *specs, struct err *err)
{
	struct view rest = view_of(specs), spec;

	for (*count = 0; table_spec_next(&rest, &spec); ++*count) {
		struct held *h = map_get(held, spec);

		if (h == NULL || *count == TABLES_OF_REQUEST)
			return err_set(err, ERR_PERM, "%.*s: not a table of the configuration",
			    VIEW_ARG(spec));
		look_at_file(h);
		tables[*count] = h;
	}
	return 0;
}

static int
look_up(struct held *const *tables, size_t count, struct lookup_key key, struct buf *value,
    struct err *err)
{
	int r = 1;

	for (size_t i = 0; i < count && r == 1; i++)
		r = tables[i]->list == NULL
			? err_set(err, ERR_TEMP, "table %s: not open", tables[i]->spec)
			: table_list_lookup(tables[i]->list, key, value, err);
	return r;
}

static int
look_up_all(struct ipc_in *in, struct buf *value, uint32_t *which, struct err *err)
{
	bool is_own = in->type == DB_LOOKUP_OWN;
	uint32_t own = is_own ? ipc_get_u32(in) : 0;
	const char *specs = is_own ? own_tables[own % LOOKUP_OWN].specs : ipc_get_str(in);
	const struct map *held = is_own ? &own_tables[own % LOOKUP_OWN].held : &held_tables;
	struct held *tables[TABLES_OF_REQUEST];
	size_t count;
	int r = 1;

	if (find_tables(held, tables, &count, specs, err) < 0)
		return -1;
	for (*which = 0; ipc_in_more(in) && *which < AUTHD_LOOKUP_KEYS; ++*which) {
		bool is_partial = ipc_get_u32(in) != 0;
		struct lookup_key key = { view_of(ipc_get_str(in)), is_partial };

		r = look_up(tables, count, key, value, err);
		if (r != 1)
			return r;
	}
	return ipc_in_more(in) ? err_set(err, ERR_PERM, "too many keys") : 1;
}

void
lookup_answer(struct ipc_in *in, struct ipc_out *o)
{
	struct buf value;
	struct err e = { 0 };
	uint32_t which = 0;
	int r;

	buf_init(&value, VALUE_BYTES);
	r = look_up_all(in, &value, &which, &e);
	if (r == 0 && (value.failed || memchr(buf_cstr(&value), '\0', value.len) != NULL))
		r = err_set(&e, ERR_TEMP, "a value too long, or with a NUL byte");
	if (r < 0)
		log_warn("%s", lqs(e.text));
	ipc_put_u32(o, r == 0               ? AUTHD_OK
		       : r == 1             ? AUTHD_NO
		       : e.kind == ERR_PERM ? AUTHD_BAD
					    : AUTHD_TEMP);
	ipc_put_u32(o, r == 0 ? which : 0);
	ipc_put_str(o, r == 0 ? buf_cstr(&value) : r == 1 ? "" : e.text);
	buf_wipe(&value);
}
