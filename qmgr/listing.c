#include "qmgr/listing.h"
#include "common/base/mem.h"
#include "qmgr/deferred.h"

#include <jansson.h>
#include <stdlib.h>

enum { ENVELOPE_ARENA = 256 << 20, RCPT_OVERHEAD = 64 };

static const char *
queue_name(const struct message *m)
{
	return m->is_held ? "hold" : m->state == MESSAGE_WAITING ? "deferred" : "active";
}

void
listing_source_of(const struct message *m, struct listing_source *out)
{
	*out = (struct listing_source){ .id = m->id,
		.queue_name = queue_name(m),
		.in_journal = m->segment != NULL,
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
	json_object_set_new(e, "forced_expire", json_false());
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

char *
listing_of_active(const struct message *m)
{
	const struct active *a = m->active;
	struct listing_source s;
	size_t used = 0, omitted = 0;
	json_t *e;

	listing_source_of(m, &s);
	e = entry_begin(&s, a->env.sender);
	for (size_t i = 0; i < a->env.nrcpts; i++) {
		if (a->rcpts[i].status != RCPT_PENDING)
			continue;
		if (omitted > 0 || !entry_add(e, &used, &a->env.rcpts[i], a->rcpts[i].reason))
			omitted++;
	}
	return entry_end(e, omitted);
}

/* --- from disk ------------------------------------------------------------------------------------------ */
/* What an entry needs of a message on disk. */
struct stored {
	struct arena arena;
	struct envelope env;
	struct message_bytes bytes; /* from the journal */
	struct deferred_file file;  /* from deferred/ */
	const struct deferred_slot *
	    *slot_of; /* owned; by recipient; NULL elements: finished.  NULL: journal */
};

static void
stored_clear(struct stored *st)
{
	free(st->slot_of);
	deferred_file_clear(&st->file);
	message_bytes_clear(&st->bytes);
	arena_clear(&st->arena);
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
		if (deferred_load(root_fd, s->id, &st->file, NULL) < 0)
			return -1;
		envelope = st->file.bytes.envelope;
	}
	if (envelope_decode(envelope, &st->arena, &st->env, NULL) < 0)
		return -1;
	if (s->in_journal)
		return 0;
	st->slot_of = x_calloc(st->env.nrcpts, sizeof *st->slot_of);
	for (uint32_t i = 0; i < st->file.head.nslots; i++)
		if (st->file.slots[i].rcpt < st->env.nrcpts)
			st->slot_of[st->file.slots[i].rcpt] = &st->file.slots[i];
	return 0;
}

static bool
stored_is_open(const struct stored *st, size_t rcpt)
{
	if (st->slot_of == NULL)
		return true;
	return st->slot_of[rcpt] != NULL && st->slot_of[rcpt]->status == RCPT_PENDING;
}

char *
listing_of_source(int root_fd, const struct listing_source *s)
{
	struct stored st;
	size_t used = 0, omitted = 0;
	char *text = NULL;

	if (stored_read(root_fd, s, &st) == 0) {
		json_t *e = entry_begin(s, st.env.sender);

		for (size_t i = 0; i < st.env.nrcpts; i++) {
			const char *reason = st.slot_of != NULL && st.slot_of[i] != NULL
						 ? st.slot_of[i]->reason
						 : NULL;

			if (!stored_is_open(&st, i))
				continue;
			if (omitted > 0 || !entry_add(e, &used, &st.env.rcpts[i], reason))
				omitted++;
		}
		text = entry_end(e, omitted);
	}
	stored_clear(&st);
	return text;
}

bool
listing_has_domain(int root_fd, const struct listing_source *s, const char *domain)
{
	struct stored st;
	bool found = false;

	if (stored_read(root_fd, s, &st) == 0)
		for (size_t i = 0; i < st.env.nrcpts && !found; i++) {
			const char *at = strrchr(st.env.rcpts[i].address, '@');

			found = stored_is_open(&st, i) && at != NULL &&
				view_case_eq_str(view_of(at + 1), domain);
		}
	stored_clear(&st);
	return found;
}
