#include "qmgr/listing.h"
#include "common/base/mem.h"
#include "qmgr/deferred.h"

#include <jansson.h>
#include <stdlib.h>

enum { ENVELOPE_ARENA = 256 << 20, RCPT_OVERHEAD = 64 };

static const char *
queue_name(const struct message *m)
{
	if (m->is_held)
		return "hold";
	/* a deferred message whose time has come is not tried yet: before it may be a million others */
	if (m->state == MESSAGE_WAITING || (m->state == MESSAGE_READY && m->segment == NULL))
		return "deferred";
	return "active";
}

void
listing_source_of(const struct message *m, struct listing_source *out)
{
	*out = (struct listing_source){ .id = m->id,
		.queue_name = queue_name(m),
		.in_journal = m->segment != NULL,
		.is_expired = m->is_expired,
		.offset = m->offset,
		.arrival_ms = m->arrival_ms,
		.size = m->size };
	if (m->segment != NULL)
		out->seg = m->segment->header;
}

/* Key order is postqueue's; scripts that read it with a regular expression exist. */
static json_t *
entry_begin(const struct listing_source *s, const char *sender)
{
	json_t *e = json_object();
	char id[QUEUE_ID_TEXT];

	queue_id_format(s->id, id);
	json_object_set_new(e, "queue_name", json_string(s->queue_name));
	json_object_set_new(e, "queue_id", json_string(id));
	json_object_set_new(e, "arrival_time", json_integer(s->arrival_ms / 1000));
	json_object_set_new(e, "message_size", json_integer((json_int_t)s->size));
	json_object_set_new(e, "forced_expire", json_boolean(s->is_expired));
	json_object_set_new(e, "sender", json_string(sender));
	json_object_set_new(e, "recipients", json_array());
	return e;
}

/* false: it does not fit any more. */
static bool
entry_add(json_t *e, size_t *used, const struct recipient *r, const char *reason)
{
	json_t *x;
	size_t bytes = strlen(r->address) + strlen(r->orig) + RCPT_OVERHEAD +
		       (reason != NULL ? strlen(reason) : 0);

	if (*used + 2 * bytes > LISTING_MAX)
		return false;
	*used +=
	    2 *
	    bytes; /* quoting at worst doubles it, but for control characters, which are not in it */
	x = json_object();
	if (r->orig[0] != '\0' && strcmp(r->orig, r->address) != 0)
		json_object_set_new(x, "orig_address", json_string(r->orig));
	json_object_set_new(x, "address", json_string(r->address));
	if (reason != NULL && reason[0] != '\0')
		json_object_set_new(x, "delay_reason", json_string(reason));
	json_array_append_new(json_object_get(e, "recipients"), x);
	return true;
}

static char *
entry_end(json_t *e, size_t omitted)
{
	char *text;

	if (omitted > 0)
		json_object_set_new(e, "recipients_omitted", json_integer((json_int_t)omitted));
	text = json_dumps(e, JSON_COMPACT | JSON_PRESERVE_ORDER);
	json_decref(e);
	return text;
}

/* --- an envelope and what became of its recipients ------------------------------------------------------ */
struct listed {
	const struct envelope *env;
	const char **reasons; /* owned; by recipient, NULL elements: finished */
};

static char *
listed_entry(const struct listed *l, const struct listing_source *s)
{
	json_t *e = entry_begin(s, l->env->sender);
	size_t used = 0, omitted = 0;

	for (size_t i = 0; i < l->env->nrcpts; i++) {
		if (l->reasons[i] == NULL)
			continue;
		if (omitted > 0 || !entry_add(e, &used, &l->env->rcpts[i], l->reasons[i]))
			omitted++;
	}
	return entry_end(e, omitted);
}

static struct listed
listed_of_active(const struct active *a)
{
	struct listed l = { &a->env, x_calloc(a->env.nrcpts, sizeof *l.reasons) };

	for (size_t i = 0; i < a->env.nrcpts; i++)
		if (a->rcpts[i].status == RCPT_PENDING)
			l.reasons[i] = a->rcpts[i].reason != NULL ? a->rcpts[i].reason : "";
	return l;
}

char *
listing_of_active(const struct message *m, const struct filter *f)
{
	struct listed l = listed_of_active(m->active);
	struct listing_source s;
	char *text = NULL;

	listing_source_of(m, &s);
	if (filter_takes_envelope(f, l.env, l.reasons))
		text = listed_entry(&l, &s);
	free(l.reasons);
	return text;
}

bool
listing_active_is_meant(const struct message *m, const struct filter *f)
{
	struct listed l = listed_of_active(m->active);
	bool is_meant = filter_takes_envelope(f, l.env, l.reasons);

	free(l.reasons);
	return is_meant;
}

/* --- from disk ------------------------------------------------------------------------------------------ */
struct stored {
	struct arena arena;
	struct envelope env;
	struct message_bytes bytes; /* from the journal */
	struct deferred_file file;  /* from deferred/ */
	struct listed listed;
};

static void
stored_clear(struct stored *st)
{
	free(st->listed.reasons);
	deferred_file_clear(&st->file);
	message_bytes_clear(&st->bytes);
	arena_clear(&st->arena);
}

/* The journal knows nothing but who is finished, and that is known in memory only; a file has a slot for each who is
 * not. */
static void
stored_find_reasons(struct stored *st, bool in_journal)
{
	struct listed *l = &st->listed;

	l->env = &st->env;
	l->reasons = x_calloc(st->env.nrcpts, sizeof *l->reasons);
	for (size_t i = 0; in_journal && i < st->env.nrcpts; i++)
		l->reasons[i] = "";
	for (uint32_t i = 0; !in_journal && i < st->file.head.nslots; i++) {
		const struct deferred_slot *slot = &st->file.slots[i];

		if (slot->rcpt < st->env.nrcpts && slot->status == RCPT_PENDING)
			l->reasons[slot->rcpt] = slot->reason;
	}
}

static int
stored_read(int root_fd, const struct listing_source *s, struct stored *st)
{
	struct view envelope;

	*st = (struct stored){ 0 };
	arena_init(&st->arena, ENVELOPE_ARENA);
	if (s->in_journal) {
		if (message_bytes_from_journal(
			root_fd, &s->seg, s->offset, s->id, &st->bytes, NULL) < 0)
			return -1;
		envelope = st->bytes.envelope;
	} else {
		if (deferred_load_envelope(root_fd, s->id, &st->file, NULL) < 0)
			return -1;
		envelope = st->file.bytes.envelope;
	}
	if (envelope_decode(envelope, &st->arena, &st->env, NULL) < 0)
		return -1;
	stored_find_reasons(st, s->in_journal);
	return 0;
}

char *
listing_of_source(int root_fd, const struct listing_source *s, const struct filter *f)
{
	struct stored st;
	char *text = NULL;

	if (stored_read(root_fd, s, &st) == 0 &&
	    filter_takes_envelope(f, st.listed.env, st.listed.reasons))
		text = listed_entry(&st.listed, s);
	stored_clear(&st);
	return text;
}

bool
listing_source_is_meant(int root_fd, const struct listing_source *s, const struct filter *f)
{
	struct stored st;
	bool is_meant = stored_read(root_fd, s, &st) == 0 &&
			filter_takes_envelope(f, st.listed.env, st.listed.reasons);

	stored_clear(&st);
	return is_meant;
}
