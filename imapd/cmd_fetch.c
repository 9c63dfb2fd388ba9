/* FETCH (RFC 3501 6.4.5): messages one by one, each in pieces as the client takes them.
 *
 * A message is opened (its bytes, its cached structures) before the first word about it is sent, so that what cannot be
 * read leaves no half a response; then item after item goes out, literals in chunks. */
#include "common/log/log.h"
#include "imapd/command.h"
#include "imapd/imap_date.h"
#include "imapd/imap_envelope.h"
#include "imapd/imap_fetch.h"

enum {
	CHUNK = 32 * 1024,
	MESSAGES_PER_STEP = 50,
	STRUCTURE_MAX = 16 << 20, /* an envelope or body structure */
	SECTION_MAX = 256 << 20,
	SCRATCH_MAX = 256 << 20,
	CONTENT_KEEP_MIN = 256 * 1024, /* smaller ones are read again as fast */
	CACHE_ENVELOPE = 'e',
	CACHE_BODY = 'b',
	CACHE_STRUCTURE = 's',
	CACHE_BATCH = 128,           /* derived texts written in one transaction ... */
	CACHE_BATCH_BYTES = 1 << 20, /* ... or less, if they are large */
	CONTENT_KEEP_MS = 10000,
};

struct fetch_args {
	struct imap_seqset set;
	struct imap_fetch want;
};

/* One of the three derived texts. */
struct derived {
	bool is_wanted, has_value;
	char key;
	struct buf text;
};

enum need { NEED_NOTHING, NEED_HEADER, NEED_WHOLE };

struct fetch_run {
	uint32_t *seqs;
	size_t count, at;
	/* the message at hand */
	bool is_open, sets_seen;
	uint32_t seq;
	struct message_info info;
	size_t item;
	struct view rest; /* of the literal that is going out */
	struct derived envelope, body, structure;
	enum need have; /* of what content holds */
	bool has_partial;
	struct mime_part *root;
	struct arena scratch;
	struct imapd_infos infos;
	struct cache_value cached[CACHE_BATCH]; /* to be written; values in cache_arena */
	size_t ncached;
	struct arena cache_arena;
	struct buf section;
	/* for the tagged reply */
	bool has_missing, has_failed;
};

bool
imapd_parse_fetch(struct imapd_command *c)
{
	struct fetch_args *a = c->data = imapd_command_alloc(c, sizeof *a);

	if (!imap_args_space(&c->args) || !imap_args_seqset(&c->args, &a->set) ||
	    !imap_args_space(&c->args))
		return false;
	if ((c->row->flags & CMD_UID) && !imap_fetch_add(&c->args, &a->want, FETCH_UID))
		return false;
	return imap_fetch_parse(&c->args, &a->want) && imap_args_end(&c->args);
}

/* --- begin and end --------------------------------------------------------------------------------------- */
/* A cache that cannot be written costs time, nothing else. */
static void
flush_cache(struct imapd_command *c, struct fetch_run *run)
{
	struct err err;

	if (mailbox_cache_put_many(c->session->selected.box, run->cached, run->ncached, &err) != 0)
		log_as(c->session->login.log_tag, LOG_LEVEL_DEBUG, "cache: %s", err.text);
	run->ncached = 0;
	arena_clear(&run->cache_arena);
}

static void
cleanup(struct imapd_command *c)
{
	struct fetch_run *run = c->work;
	struct imapd_session *s = c->session;

	flush_cache(c, run);
	buf_clear(&run->envelope.text);
	buf_clear(&run->body.text);
	buf_clear(&run->structure.text);
	buf_clear(&run->section);
	arena_clear(&run->scratch);
	/* whoever reads a large message in pieces is likely to come for the next one */
	if (!run->has_partial || run->have != NEED_WHOLE || s->content.len < CONTENT_KEEP_MIN) {
		s->content_uid = 0;
		buf_clear(&s->content);
	} else {
		loop_timer_start(&s->content_timer, CONTENT_KEEP_MS);
	}
}

static void
derived_init(struct derived *d, const struct imap_fetch *want, enum imap_fetch_kind kind, char key)
{
	d->key = key;
	buf_init(&d->text, STRUCTURE_MAX);
	for (size_t i = 0; i < want->count; i++)
		d->is_wanted |= want->items[i].kind == kind;
}

static bool
begin(struct imapd_command *c)
{
	struct fetch_args *a = c->data;
	struct fetch_run *run = c->work = imapd_command_alloc(c, sizeof *run);

	derived_init(&run->envelope, &a->want, FETCH_ENVELOPE, CACHE_ENVELOPE);
	derived_init(&run->body, &a->want, FETCH_BODY, CACHE_BODY);
	derived_init(&run->structure, &a->want, FETCH_BODYSTRUCTURE, CACHE_STRUCTURE);
	buf_init(&run->section, SECTION_MAX);
	arena_init(&run->scratch, SCRATCH_MAX);
	arena_init(&run->cache_arena, CACHE_BATCH_BYTES + STRUCTURE_MAX);
	for (size_t i = 0; i < a->want.count; i++) {
		run->has_partial |= a->want.items[i].is_partial;
		run->infos.need_sizes |= a->want.items[i].kind == FETCH_SIZE;
	}
	run->sets_seen = a->want.sets_seen && !c->session->selected.is_read_only;
	c->cleanup = cleanup;
	return imapd_select_messages(c, &a->set, &run->seqs, &run->count);
}

static enum imapd_result
finish(struct imapd_command *c, const struct fetch_run *run)
{
	if (run->has_failed)
		return imapd_no(c, "UNAVAILABLE", "Some messages could not be read.");
	if (run->has_missing && !(c->row->flags & CMD_UID))
		return imapd_no(
		    c, "EXPUNGEISSUED", "Some of the requested messages no longer exist.");
	return imapd_ok(c, run->has_missing ? "EXPUNGEISSUED" : NULL, "Fetch completed.");
}

/* --- opening a message ---------------------------------------------------------------------------------------- */
static void
replace_nuls(struct buf *b)
{
	/* RFC 3501 9: no NUL on the wire.  Only a foreign program can have put one in; Dovecot shows it so, too. */
	for (char *p = b->p;
	     p != NULL && (p = memchr(p, '\0', b->len - (size_t)(p - b->p))) != NULL;)
		*p = (char)0x80;
}

static enum need
need_of_item(const struct imap_fetch_item *item)
{
	if (item->kind != FETCH_SECTION)
		return NEED_NOTHING;
	return imap_section_is_header_only(&item->section) ? NEED_HEADER : NEED_WHOLE;
}

static void
get_derived(struct imapd_command *c, struct fetch_run *run, struct derived *d)
{
	struct mailbox *box = c->session->selected.box;
	struct err err;

	buf_reset(&d->text);
	d->has_value = d->is_wanted &&
		       mailbox_cache_get(box, run->info.uid, d->key, &d->text, &err) == 0 &&
		       d->text.len > 0;
	if (!d->has_value)
		buf_reset(&d->text);
}

static int
load_content(struct imapd_command *c, struct fetch_run *run, enum need need, struct err *err)
{
	struct imapd_session *s = c->session;
	int r;

	run->have = need;
	if (need == NEED_NOTHING)
		return 0;
	if (s->content_uid == run->info.uid) { /* kept by an earlier FETCH: all of it */
		run->have = NEED_WHOLE;
		return 0;
	}
	s->content_uid = 0;
	buf_reset(&s->content);
	r = need == NEED_WHOLE
		? mailbox_read(s->selected.box, run->info.uid, &s->content, err)
		: mailbox_read_header(s->selected.box, run->info.uid, &s->content, err);
	if (r != 0)
		return -1;
	replace_nuls(&s->content);
	if (need == NEED_WHOLE) {
		s->content_uid = run->info.uid;
		s->counts.body_count++;
		s->counts.body_bytes += s->content.len;
	} else {
		s->counts.header_count++;
		s->counts.header_bytes += s->content.len;
	}
	return 0;
}

static struct view
content_view(const struct imapd_session *s)
{
	return s->content.len ? buf_view(&s->content) : view_of("");
}

static bool
needs_tree(const struct fetch_args *a, const struct fetch_run *run)
{
	for (size_t i = 0; i < a->want.count; i++)
		if (a->want.items[i].kind == FETCH_SECTION &&
		    imap_section_needs_tree(&a->want.items[i].section))
			return true;
	return (run->body.is_wanted && !run->body.has_value) ||
	       (run->structure.is_wanted && !run->structure.has_value);
}

/* Into the cache what was worked out; what passed its bounds is worked out each time, and shown as empty. */
static void
put_derived(struct imapd_command *c, struct fetch_run *run, struct derived *d)
{
	char *copy = arena_strndup(&run->cache_arena, d->text.p, d->text.len);

	d->has_value = true;
	if (copy == NULL)
		return;
	run->cached[run->ncached++] =
	    (struct cache_value){ run->info.uid, d->key, view_make(copy, d->text.len) };
	if (run->ncached == CACHE_BATCH || run->cache_arena.used_bytes >= CACHE_BATCH_BYTES)
		flush_cache(c, run);
}

static void
make_structure(struct imapd_command *c, struct fetch_run *run, struct derived *d)
{
	struct view message = content_view(c->session);
	bool extended = d->key == CACHE_STRUCTURE;

	if (!d->is_wanted || d->has_value)
		return;
	if (run->root != NULL &&
	    imap_body_write(message, run->root, extended, &run->scratch, &d->text) == 0) {
		put_derived(c, run, d);
		return;
	}
	buf_reset(&d->text);
	imap_body_write_opaque(message.len, extended, &d->text);
}

static void
make_derived(struct imapd_command *c, struct fetch_run *run)
{
	const struct fetch_args *a = c->data;
	struct view message = content_view(c->session);
	struct derived *d = &run->envelope;

	arena_clear(&run->scratch);
	run->root = NULL;
	if (needs_tree(a, run))
		run->root = mime_parse(message, &run->scratch, MIME_MAX_DEPTH, MIME_MAX_PARTS);
	make_structure(c, run, &run->body);
	make_structure(c, run, &run->structure);
	if (!d->is_wanted || d->has_value)
		return;
	if (imap_envelope_write(
		view_make(message.p, header_block_length(message)), &run->scratch, &d->text) == 0) {
		put_derived(c, run, d);
		return;
	}
	buf_reset(&d->text);
	buf_append_str(&d->text, imap_envelope_empty);
}

static enum need
total_need(const struct fetch_args *a, const struct fetch_run *run)
{
	enum need need =
	    run->envelope.is_wanted && !run->envelope.has_value ? NEED_HEADER : NEED_NOTHING;

	for (size_t i = 0; i < a->want.count; i++)
		if (need_of_item(&a->want.items[i]) > need)
			need = need_of_item(&a->want.items[i]);
	return needs_tree(a, run) ? NEED_WHOLE : need;
}

static void
send_flags(struct imapd_session *s, const struct fetch_run *run)
{
	buf_append_str(&s->out, "FLAGS ");
	imapd_write_flags(
	    s, &s->out, &run->info, s->selected.snapshot.states[run->seq - 1] & SNAPSHOT_RECENT);
}

/* RFC 3501 6.4.5: reading the body sets \Seen, and the response shows it. */
static void
set_seen(struct imapd_command *c, struct fetch_run *run)
{
	struct imapd_selected *sel = &c->session->selected;
	static const struct keyword_set none;
	struct err err = { 0 };
	uint32_t *refused;
	size_t nrefused;

	if (!run->sets_seen || (run->info.flags & FLAG_SEEN))
		return;
	if (mailbox_store_flags(sel->box, &run->info.uid, 1, STORE_ADD, FLAG_SEEN, &none, 0,
		&run->scratch, &refused, &nrefused, &err) != 0) {
		/* the mail can still be read: on a full disk, that is what its owner came for */
		log_as(c->session->login.log_tag, LOG_LEVEL_WARN, "setting \\Seen failed: %s",
		    err.text);
		return;
	}
	if (mailbox_get(sel->box, run->info.uid, &run->info, &err) == 0)
		imapd_selected_own(c->session, run->info.uid, run->info.modseq);
}

/* All that is needed of a message, before the first word about it is sent. */
static int
load_message(struct imapd_command *c, struct fetch_run *run, struct err *err)
{
	if (imapd_infos_get(c->session, &run->infos, run->seqs + run->at - 1,
		run->count - run->at + 1, &run->info, err) != 0)
		return -1;
	get_derived(c, run, &run->envelope);
	get_derived(c, run, &run->body);
	get_derived(c, run, &run->structure);
	if (load_content(c, run, total_need(c->data, run), err) != 0) {
		c->session->content_uid = 0;
		return -1;
	}
	make_derived(c, run);
	return 0;
}

static void
begin_response(struct imapd_command *c, struct fetch_run *run)
{
	struct imapd_session *s = c->session;
	const struct fetch_args *a = c->data;
	bool was_seen = run->info.flags & FLAG_SEEN, is_seen;

	set_seen(c, run);
	is_seen = run->info.flags & FLAG_SEEN;
	c->has_changed |= is_seen != was_seen;
	if (a->want.has_flags || is_seen != was_seen)
		imapd_tell_keywords(s, false);
	imapd_send(s, "* %u FETCH (", run->seq);
	if (!a->want.has_flags && is_seen != was_seen) {
		send_flags(s, run);
		imapd_send(s, " ");
	}
	run->item = 0;
	run->is_open = true;
}

static bool
open_message(struct imapd_command *c, struct fetch_run *run)
{
	struct imapd_session *s = c->session;
	const struct imap_snapshot *snapshot = &s->selected.snapshot;
	struct err err = { 0 };
	uint32_t uid;

	run->seq = run->seqs[run->at++];
	uid = snapshot->uids[run->seq - 1];
	if (snapshot->states[run->seq - 1] & SNAPSHOT_GONE) {
		run->has_missing = true;
		return false;
	}
	if (load_message(c, run, &err) == 0) {
		begin_response(c, run);
		return true;
	}
	run->has_missing |= err.kind == ERR_GONE;
	run->has_failed |= err.kind != ERR_GONE;
	if (err.kind != ERR_GONE)
		log_as(s->login.log_tag, LOG_LEVEL_ERROR, "UID %u: %s", uid, err.text);
	return false;
}

/* --- items ------------------------------------------------------------------------------------------------------ */
static struct view
cut_partial(const struct imap_fetch_item *item, struct view v)
{
	if (!item->is_partial)
		return v;
	if (item->partial_from >= v.len)
		return view_of("");
	v = view_make(v.p + item->partial_from, v.len - item->partial_from);
	if (v.len > item->partial_count)
		v.len = item->partial_count;
	return v;
}

static void
send_section(struct imapd_command *c, struct fetch_run *run, const struct imap_fetch_item *item)
{
	struct imapd_session *s = c->session;
	struct view found = { 0 };
	int r = 1;

	/* a tree that passed its bounds has no parts to show */
	if (!imap_section_needs_tree(&item->section) || run->root != NULL)
		r = imap_section_find(
		    &item->section, content_view(s), run->root, &run->section, &found);
	if (item->label != NULL) {
		buf_append_str(&s->out, item->label);
	} else {
		buf_append_str(&s->out, "BODY");
		imap_section_write(&item->section, &s->out);
		if (item->is_partial)
			buf_printf(&s->out, "<%u>", item->partial_from);
	}
	if (r != 0) {
		imapd_send(s, " NIL");
		return;
	}
	/* a literal even where it is empty: the common client libraries look for one */
	run->rest = cut_partial(item, found);
	imapd_send(s, " {%zu}\r\n", run->rest.len);
}

static void
send_derived(
    struct imapd_session *s, struct fetch_run *run, const char *label, const struct derived *d)
{
	imapd_send(s, "%s ", label);
	run->rest = buf_view(&d->text);
}

static void
send_item(struct imapd_command *c, struct fetch_run *run, const struct imap_fetch_item *item)
{
	struct imapd_session *s = c->session;
	char date[32];

	switch (item->kind) {
	case FETCH_UID:
		imapd_send(s, "UID %u", run->info.uid);
		break;
	case FETCH_FLAGS:
		send_flags(s, run);
		break;
	case FETCH_INTERNALDATE:
		imap_date_time_format(
		    run->info.internal_date, imap_local_zone(run->info.internal_date), date);
		imapd_send(s, "INTERNALDATE \"%s\"", date);
		break;
	case FETCH_SIZE:
		imapd_send(s, "RFC822.SIZE %llu", (unsigned long long)run->info.size);
		break;
	case FETCH_ENVELOPE:
		send_derived(s, run, "ENVELOPE", &run->envelope);
		break;
	case FETCH_BODY:
		send_derived(s, run, "BODY", &run->body);
		break;
	case FETCH_BODYSTRUCTURE:
		send_derived(s, run, "BODYSTRUCTURE", &run->structure);
		break;
	case FETCH_SECTION:
		send_section(c, run, item);
		break;
	}
}

/* false: there is more of this message, and no room for it. */
static bool
send_message(struct imapd_command *c, struct fetch_run *run)
{
	struct imapd_session *s = c->session;
	const struct fetch_args *a = c->data;

	for (;;) {
		while (run->rest.len > 0) {
			size_t len = run->rest.len < CHUNK ? run->rest.len : CHUNK;

			if (!imapd_has_room(s))
				return false;
			imapd_send_view(s, view_make(run->rest.p, len));
			run->rest = view_make(run->rest.p + len, run->rest.len - len);
		}
		if (run->item == a->want.count)
			break;
		if (run->item > 0)
			imapd_send(s, " ");
		send_item(c, run, &a->want.items[run->item++]);
	}
	imapd_send(s, ")\r\n");
	run->is_open = false;
	return true;
}

enum imapd_result
imapd_cmd_fetch(struct imapd_command *c)
{
	struct fetch_run *run = c->work;
	int n = 0;

	if (run == NULL) {
		if (!begin(c))
			return IMAPD_DONE;
		run = c->work;
	}
	for (; n < MESSAGES_PER_STEP; n++) {
		if (!run->is_open) {
			if (!imapd_has_room(c->session))
				return IMAPD_MORE;
			if (run->at == run->count)
				return finish(c, run);
			/* one that had to be read is work enough for a step */
			if (!open_message(c, run))
				continue;
			n += run->have != NEED_NOTHING ? MESSAGES_PER_STEP / 4 : 0;
		}
		if (!send_message(c, run))
			return IMAPD_MORE;
	}
	return IMAPD_MORE;
}
