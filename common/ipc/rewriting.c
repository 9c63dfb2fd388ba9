#include "common/ipc/rewriting.h"

#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/log/log.h"
#include "common/mime/message.h"

#include <stdlib.h>

enum { REWRITE_TIMEOUT_MS = 30000, ARENA_MAX = 16 << 20 };

struct entry {
	enum rewrite_class class;
	const char *from, *to; /* in the arena; to NULL: it stays */
};

struct rewriting {
	unsigned classes;
	struct arena arena;
	struct map entries[REWRITE_CLASSES]; /* address -> its struct entry */
	struct entry **list;                 /* owned; entries are in the arena */
	size_t count, cap, answered;
	bool is_full;
	struct ipc_edge *authd;
	struct ipc_call *call;
	void (*cb)(void *arg, bool ok);
	void *arg;
};

/* --- the configuration ------------------------------------------------------------------------ */

unsigned
rewriting_mask(const struct conf *c, const char *param)
{
	static const char *const names[] = { [REWRITE_ENVELOPE_SENDER] = "envelope_sender",
		[REWRITE_ENVELOPE_RECIPIENT] = "envelope_recipient",
		[REWRITE_HEADER_SENDER] = "header_sender",
		[REWRITE_HEADER_RECIPIENT] = "header_recipient" };
	struct view rest = view_of(conf_str(c, param)), word;
	unsigned mask = 0;

	while (conf_next(&rest, &word))
		for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
			if (view_eq_str(word, names[i]))
				mask |= 1U << i;
	return mask;
}

unsigned
rewriting_classes(const struct conf *c)
{
	static const struct {
		const char *what, *classes;
	} rows[] = { { "canonical_maps", "canonical_classes" },
		{ "sender_canonical_maps", "sender_canonical_classes" },
		{ "recipient_canonical_maps", "recipient_canonical_classes" },
		{ "masquerade_domains", "masquerade_classes" } };
	unsigned mask = 0;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (conf_str(c, rows[i].what)[0] != '\0')
			mask |= rewriting_mask(c, rows[i].classes);
	return mask;
}

/* --- one message ------------------------------------------------------------------------------ */

struct rewriting *
rewriting_new(unsigned classes)
{
	struct rewriting *r = x_calloc(1, sizeof *r);

	r->classes = classes;
	arena_init(&r->arena, ARENA_MAX);
	for (unsigned i = 0; i < REWRITE_CLASSES; i++)
		map_init(&r->entries[i]);
	return r;
}

void
rewriting_free(struct rewriting *r)
{
	if (r == NULL)
		return;
	ipc_call_cancel(r->call);
	for (unsigned i = 0; i < REWRITE_CLASSES; i++)
		map_clear(&r->entries[i]);
	arena_clear(&r->arena);
	free(r->list);
	free(r);
}

void
rewriting_add(struct rewriting *r, enum rewrite_class class, struct view address)
{
	struct entry *e;

	if (address.len == 0 || !(r->classes & 1U << class) || r->is_full ||
	    map_get(&r->entries[class], address) != NULL)
		return;
	e = r->count < REWRITING_MAX ? arena_alloc(&r->arena, sizeof *e) : NULL;
	if (e == NULL || (e->from = arena_strndup(&r->arena, address.p, address.len)) == NULL) {
		r->is_full = true;
		log_warn(
		    "a message with more than %zu addresses: the rest is not rewritten", r->count);
		return;
	}
	e->class = class;
	if (r->count == r->cap) {
		r->cap = r->cap == 0 ? 16 : r->cap * 2;
		r->list = x_realloc(r->list, r->cap, sizeof(struct entry *));
	}
	r->list[r->count++] = e;
	map_put(&r->entries[class], address, e);
}

const char *
rewriting_find(const struct rewriting *r, enum rewrite_class class, struct view address)
{
	const struct entry *e = map_get(&r->entries[class], address);

	return e != NULL ? e->to : NULL;
}

/* --- asking ----------------------------------------------------------------------------------- */

static void ask_next(struct rewriting *r);

/* As many answers as were asked for. */
static bool
take_answers(struct rewriting *r, struct ipc_in *in)
{
	size_t upto =
	    r->count - r->answered > AUTHD_REWRITES ? r->answered + AUTHD_REWRITES : r->count;

	if (in == NULL || ipc_get_u32(in) != AUTHD_OK)
		return false;
	while (r->answered < upto && ipc_in_more(in)) {
		const char *to = ipc_get_str(in);

		if (to[0] != '\0' &&
		    (r->list[r->answered]->to = arena_strdup(&r->arena, to)) == NULL)
			return false;
		r->answered++;
	}
	return r->answered == upto && !ipc_in_more(in);
}

static void
on_answer(void *arg, struct ipc_in *in)
{
	struct rewriting *r = arg;

	r->call = NULL;
	if (!take_answers(r, in))
		r->cb(r->arg, false);
	else if (r->answered == r->count)
		r->cb(r->arg, true);
	else
		ask_next(r);
}

static void
ask_next(struct rewriting *r)
{
	struct ipc_out o;

	ipc_out_init(&o, AUTHD_REWRITE);
	for (size_t i = r->answered; i < r->count && i < r->answered + AUTHD_REWRITES; i++) {
		ipc_put_u32(&o, r->list[i]->class);
		ipc_put_str(&o, r->list[i]->from);
	}
	r->call = ipc_edge_ask(r->authd, &o, AUTHD_REWRITE_SIG, REWRITE_TIMEOUT_MS, on_answer, r);
}

bool
rewriting_ask(
    struct rewriting *r, struct ipc_edge *authd, void (*cb)(void *arg, bool ok), void *arg)
{
	if (r->count == 0)
		return false;
	r->authd = authd;
	r->cb = cb;
	r->arg = arg;
	ask_next(r);
	return true;
}

/* --- header fields ---------------------------------------------------------------------------- */

static const char *
collect(void *arg, struct view address)
{
	const struct rewriting_field *f = arg;

	rewriting_add(f->r, f->class, address);
	return NULL;
}

static const char *
apply(void *arg, struct view address)
{
	const struct rewriting_field *f = arg;

	return rewriting_find(f->r, f->class, address);
}

static enum rewrite_class
class_of(const struct rewriting *r, enum address_field kind)
{
	if (r->classes & 1U << REWRITE_GENERIC)
		return REWRITE_GENERIC;
	if (r->classes & 1U << REWRITE_LMTP_GENERIC)
		return REWRITE_LMTP_GENERIC;
	return kind == ADDRESS_FIELD_SENDER ? REWRITE_HEADER_SENDER : REWRITE_HEADER_RECIPIENT;
}

struct address_completion
rewriting_of_field(const struct address_completion *how, struct rewriting_field *f,
    struct rewriting *r, enum address_field kind, enum rewriting_pass pass)
{
	struct address_completion result = *how;

	f->r = r;
	f->class = class_of(r, kind);
	result.map = pass == REWRITING_COLLECT ? collect : apply;
	result.arg = f;
	return result;
}

/* The value with CRLF. */
static void
put_value(struct rewriting *r, const struct address_completion *how, struct header_field *field,
    enum rewriting_pass pass, size_t *growth, struct buf *out)
{
	struct buf plain, rewritten;
	struct rewriting_field f;
	const struct address_completion here =
	    rewriting_of_field(how, &f, r, address_field_kind(field->name), pass);

	buf_init(&plain, 2 * field->value.len + 1);
	crlf_append(field->value, &plain);
	buf_init(&rewritten, plain.len + *growth);
	if (address_complete(buf_view(&plain), &here, &rewritten) == 1) {
		*growth -= rewritten.len - plain.len;
		buf_append_view(out, buf_view(&rewritten));
	} else {
		buf_append_view(out, buf_view(&plain));
	}
	buf_clear(&plain);
	buf_clear(&rewritten);
}

size_t
rewriting_fields(struct rewriting *r, const struct address_completion *how, struct view start,
    bool is_all, enum rewriting_pass pass, struct buf *out)
{
	const char *at = start.p, *end = start.p + start.len;
	size_t growth = REWRITING_GROWTH;
	struct view rest = start;
	struct header_field f;

	while (header_next(&rest, &f)) {
		const char *next = f.raw.p + f.raw.len, *behind = f.value.p + f.value.len;

		if (f.raw.p != at || (next == end && !is_all))
			break;
		if (address_field_kind(f.name) != ADDRESS_FIELD_NONE) {
			crlf_append(view_make(at, (size_t)(f.value.p - at)), out);
			put_value(r, how, &f, pass, &growth, out);
			crlf_append(view_make(behind, (size_t)(next - behind)), out);
		} else {
			crlf_append(f.raw, out);
		}
		at = next;
	}
	return (size_t)(at - start.p);
}
