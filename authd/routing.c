#include "authd/routing.h"

#include "authd/find.h"
#include "common/base/utf8.h"
#include "common/log/log.h"
#include "common/proto/address.h"

enum { VALUE_MAX = 1 << 16 };

/* --- "transport:nexthop" ------------------------------------------------------------------------ */

/* What stands here ends up in protocol lines and in the log. */
static bool
is_clean(struct view text)
{
	for (size_t i = 0; i < text.len; i++)
		if ((unsigned char)text.p[i] < ' ' || text.p[i] == 127)
			return false;
	return utf8_is_valid(text);
}

static int
check_nexthop(struct way *w, struct err *err)
{
	if (strlen(w->nexthop) > AUTHD_NEXTHOP_MAX || !is_clean(view_of(w->nexthop)))
		return err_set(
		    err, ERR_SYNTAX, "a nexthop too long, or with bytes that are no text");
	return 0;
}

int
way_parse(const char *text, struct way *out, struct err *err)
{
	static const struct {
		const char *name;
		enum transport transport;
	} rows[] = {
		{ "smtp", TRANSPORT_SMTP },
		{ "relay", TRANSPORT_SMTP },
		{ "lmtp", TRANSPORT_LMTP },
		{ "virtual", TRANSPORT_VIRTUAL },
		{ "local", TRANSPORT_VIRTUAL },
		{ "error", TRANSPORT_ERROR },
		{ "retry", TRANSPORT_RETRY },
		{ "discard", TRANSPORT_DISCARD },
	};
	const size_t count = sizeof rows / sizeof rows[0];
	struct view name;
	size_t i = 0;

	view_cut(view_of(text), ':', &name, NULL);
	while (i < count && !view_eq_str(name, rows[i].name))
		i++;
	if (i == count)
		return err_set(err, ERR_SYNTAX,
		    "there is no transport \"%.*s\"; there are smtp, relay, lmtp, virtual, local, error, retry and discard",
		    (int)(name.len < 40 ? name.len : 40), name.p);
	out->transport = rows[i].transport;
	out->nexthop = text + name.len + (text[name.len] == ':' ? 1 : 0);
	out->nexthop += strspn(out->nexthop, " \t");
	if (out->transport == TRANSPORT_LMTP && view_starts(view_of(out->nexthop), "unix:"))
		return err_set(err, ERR_SYNTAX,
		    "lmtp:unix: is not there: LMTP is spoken over TCP, lmtp:inet:HOST:PORT");
	if (out->transport == TRANSPORT_LMTP && view_starts(view_of(out->nexthop), "inet:"))
		out->nexthop += strlen("inet:");
	if (out->transport == TRANSPORT_VIRTUAL)
		out->nexthop = "";
	if (out->nexthop[0] == '\0' &&
	    (out->transport == TRANSPORT_ERROR || out->transport == TRANSPORT_RETRY))
		out->nexthop = "Address is undeliverable";
	return check_nexthop(out, err);
}

/* --- classes ------------------------------------------------------------------------------------ */

int
routing_class(const struct resolve_conf *c, const struct resolve_source *s, const char *address,
    enum address_class *out, struct err *err)
{
	struct view domain = view_of(address_domain(address));
	int r;

	*out = CLASS_LOCAL;
	if (map_get(&c->local_domains, domain) != NULL)
		return 0;
	*out = CLASS_MAILBOX;
	if (map_get(&c->mailbox_domains, domain) != NULL)
		return 0;
	r = find_relay_domain(c, s, domain.p, err);
	*out = r == 0 ? CLASS_RELAY : CLASS_FOREIGN;
	return r < 0 ? err_prefix(err, "relay_domains") : 0;
}

/* --- ways --------------------------------------------------------------------------------------- */

struct search {
	const struct resolve_conf *conf;
	const struct resolve_source *source;
	struct arena *arena;
	struct way *way;
	bool *is_unavailable;
	struct err *err;
};

/* 0 and *text in the arena, 1, -1; r and value: what a table said. */
static int
take_value(const struct search *x, const char *param, int r, struct buf *value, const char **text)
{
	*text = NULL;
	if (r == 0) {
		*text = value->failed
			    ? NULL
			    : arena_strndup(x->arena, value->len > 0 ? value->p : "", value->len);
		if (*text == NULL)
			r = err_set(x->err, ERR_TEMP, "a value too long");
	}
	buf_clear(value);
	return r < 0 ? err_prefix(x->err, "%s", param) : r;
}

/* What a table has for a sender.  0 and *text, NULL when it says DUNNO; 1 nothing; -1. */
static int
by_sender(const struct search *x, enum resolve_table t, const char *param, const char *sender,
    const char *null_key, const char **text)
{
	struct buf value;
	int r;

	if (sender == NULL)
		return 1;
	buf_init(&value, VALUE_MAX);
	r = sender[0] == '\0' ? find_key(x->conf, x->source, t, null_key, &value, x->err)
			      : find_address(x->conf, x->source, t, sender, NULL, &value, x->err);
	r = take_value(x, param, r, &value, text);
	if (r == 0 && (*text)[0] == '\0')
		log_warn("%s: ignoring null lookup result for %s", param, lqs(sender));
	if (r == 0 && ((*text)[0] == '\0' || view_case_eq_str(view_of(*text), "dunno")))
		*text = NULL;
	return r;
}

static void
set_unavailable(const struct search *x, const char *param, const char *text)
{
	log_warn("%s: \"%s\": %s", param, lqs(text), lqs(x->err->text));
	*x->way = (struct way){ TRANSPORT_RETRY, "4.3.0 mail transport unavailable" };
	*x->is_unavailable = true;
}

static int
set_default(const struct search *x, const char *sender)
{
	static const char param[] = "sender_dependent_default_transport_maps";
	const char *text;
	int r = by_sender(
	    x, RESOLVE_SENDER_TRANSPORTS, param, sender, x->conf->null_transport_key, &text);

	if (r < 0)
		return -1;
	*x->way = x->conf->default_way;
	if (r == 0 && text != NULL && way_parse(text, x->way, x->err) < 0)
		set_unavailable(x, param, text);
	return 0;
}

/* Of what leaves this machine without a destination of the transport's own. */
static int
set_relayhost(const struct search *x, const char *sender)
{
	static const char param[] = "sender_dependent_relayhost_maps";
	struct way *w = x->way;
	const char *text;
	int r;

	if (w->nexthop[0] != '\0' ||
	    (w->transport != TRANSPORT_SMTP && w->transport != TRANSPORT_LMTP))
		return 0;
	r = by_sender(
	    x, RESOLVE_SENDER_RELAYHOSTS, param, sender, x->conf->null_relayhost_key, &text);
	if (r < 0)
		return -1;
	/* DUNNO: the recipient's domain, and not relayhost */
	w->nexthop = r == 1 ? x->conf->relayhost : text != NULL ? text : "";
	if (check_nexthop(w, x->err) < 0)
		set_unavailable(x, param, text != NULL ? text : w->nexthop);
	return 0;
}

/* ":nexthop" changes no more than that, ":" nothing; "transport" resets the nexthop. */
static int
apply_transport_maps(const struct search *x, const char *address)
{
	static const char param[] = "transport_maps";
	struct buf value;
	const char *text;
	int r;

	buf_init(&value, VALUE_MAX);
	r = find_transport(x->conf, x->source, address, &value, x->err);
	r = take_value(x, param, r, &value, &text);
	if (r != 0)
		return r < 0 ? -1 : 0;
	if (text[0] == ':' && text[1] != '\0' && !*x->is_unavailable) {
		x->way->nexthop = text + 1;
		r = check_nexthop(x->way, x->err);
	} else if (text[0] != ':' && text[0] != '\0') {
		r = way_parse(text, x->way, x->err);
		*x->is_unavailable = false;
	}
	if (r < 0)
		set_unavailable(x, param, text);
	return 0;
}

int
routing_find(const struct resolve_conf *c, const struct resolve_source *s, const char *address,
    enum address_class class, const char *sender, struct arena *a, struct way *out,
    bool *is_unavailable, struct err *err)
{
	const struct search x = { c, s, a, out, is_unavailable, err };
	int r = 0;

	*is_unavailable = false;
	switch (class) {
	case CLASS_LOCAL:
		*out = (struct way){ TRANSPORT_VIRTUAL, "" };
		break;
	case CLASS_MAILBOX:
		*out = c->virtual_way;
		break;
	case CLASS_RELAY:
		*out = c->relay_way;
		break;
	case CLASS_FOREIGN:
		r = set_default(&x, sender);
	}
	if (r == 0 && (class == CLASS_RELAY || class == CLASS_FOREIGN))
		r = set_relayhost(&x, sender);
	return r < 0 ? -1 : apply_transport_maps(&x, address);
}
