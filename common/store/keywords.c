#include "common/store/store_internal.h"
#include "common/base/mem.h"

#include <stdio.h>
#include <stdlib.h>

void
keywords_forget(struct folder *f)
{
	for (unsigned i = 0; i < f->nkeywords; i++)
		x_free(&f->keywords[i]);
	f->nkeywords = 0;
	f->keywords_seen = f->extra_seen = (struct file_id){ 0 };
}

/* Every change of the table also changes one of the texts, so their states tell whether ours is old. */
int
keywords_load(struct folder *f, MDB_txn *txn, struct err *err)
{
	unsigned char key[BOX_KEY];
	struct view value, name;
	int r;

	if (f->generation == f->store->generation &&
	    file_id_equal(&f->keywords_seen, &f->box.r.keywords) &&
	    file_id_equal(&f->extra_seen, &f->box.r.extra))
		return 0;
	keywords_forget(f);
	key_u32(key, f->box.id);
	r = index_get(&f->store->index, txn, DB_KEYWORDS, view_make(key, sizeof key), &value, err);
	if (r < 0)
		return -1;
	while (r == 0 && value.len > 0 && f->nkeywords < STORE_MAX_KEYWORDS) {
		view_cut(value, '\0', &name, &value);
		f->keywords[f->nkeywords++] = x_strndup(name.p, name.len);
	}
	f->keywords_seen = f->box.r.keywords;
	f->extra_seen = f->box.r.extra;
	return 0;
}

static int
save_table(struct folder *f, struct err *err)
{
	struct index *x = &f->store->index;
	unsigned char key[BOX_KEY];
	struct buf blob;
	struct box box;
	MDB_txn *txn;
	int r;

	buf_init(&blob, STORE_MAX_KEYWORDS * (KEYWORD_MAX_LENGTH + 1));
	for (unsigned i = 0; i < f->nkeywords; i++)
		buf_append(&blob, f->keywords[i], strlen(f->keywords[i]) + 1);
	key_u32(key, f->box.id);
	r = index_write(x, 65536, &txn, err);
	if (r == 0) {
		r = index_put(
		    x, txn, DB_KEYWORDS, view_make(key, sizeof key), buf_view(&blob), err);
		/* f->box may hold what is not to be saved before the end of the caller's work. */
		if (r == 0)
			r = box_load(x, txn, f->box.id, &box, err);
		if (r > 0)
			r = err_set(err, ERR_GONE, "mailbox %s is gone", f->disk);
		box.r.keywords = f->box.r.keywords;
		box.r.extra = f->box.r.extra;
		if (r == 0)
			r = box_save(x, txn, &box, err);
		if (r == 0)
			r = index_commit(x, &txn, err);
		index_abort(&txn);
	}
	buf_clear(&blob);
	f->keywords_seen = f->box.r.keywords;
	f->extra_seen = f->box.r.extra;
	return r;
}

/* --- the texts ------------------------------------------------------------------------------------------------- */

static int
write_letters(struct folder *f, struct err *err)
{
	struct buf text;
	int r = -1;

	buf_init(&text, KEYWORD_LETTERS * (KEYWORD_MAX_LENGTH + 8));
	for (unsigned i = 0; i < f->nkeywords && i < KEYWORD_LETTERS; i++)
		buf_printf(&text, "%u %s\n", i, f->keywords[i]);
	if (uidlist_lock(f, err) == 0) {
		r = text_replace(
		    f->dir_fd, KEYWORDS_FILE, buf_view(&text), &f->box.r.keywords, err);
		uidlist_unlock(f);
	}
	buf_clear(&text);
	return r;
}

int
keywords_append_extra(struct folder *f, struct view lines, struct err *err)
{
	return text_append(f->dir_fd, KEYWORDS_EXTRA, lines, false, &f->box.r.extra, err);
}

static int
compose_extra(struct folder *f, struct buf *text, struct err *err)
{
	struct index *x = &f->store->index;
	unsigned char prefix[BOX_KEY];
	struct index_cursor c;
	struct message m;
	struct view key, value;
	MDB_txn *txn;
	int r;

	for (unsigned i = KEYWORD_LETTERS; i < f->nkeywords; i++)
		buf_printf(text, "k %u %s\n", i, f->keywords[i]);
	if (index_read(x, &txn, err) < 0)
		return -1;
	key_u32(prefix, f->box.id);
	r = cursor_open(x, txn, DB_MESSAGES, view_make(prefix, sizeof prefix), &c, err);
	if (r == 0) {
		for (r = cursor_seek(&c, view_make(prefix, sizeof prefix), &key, &value, err);
		     r == 0; r = cursor_next(&c, &key, &value, err)) {
			struct keyword_set extra;

			if (key.len != MESSAGE_KEY ||
			    index_message_decode(f->box.id,
				key_get_u32((const unsigned char *)key.p + 4), value, &m,
				err) < 0) {
				x->is_damaged = true;
				r = -1;
				break;
			}
			extra = keyword_extras(&m.r.keywords);
			if (extra.bits[0] != 0 || extra.bits[1] != 0)
				keyword_extra_format(text, m.uid, &extra);
		}
		cursor_close(&c);
	}
	index_read_end(x);
	return r < 0 ? -1 : 0;
}

static int
write_extra(struct folder *f, struct err *err)
{
	struct buf text;
	int r;

	buf_init(&text, TEXT_MAX);
	r = compose_extra(f, &text, err);
	if (r == 0 && text.failed)
		r = err_set(err, ERR_LIMIT, "%s would be too large", KEYWORDS_EXTRA);
	if (r == 0)
		r = text_replace(f->dir_fd, KEYWORDS_EXTRA, buf_view(&text), &f->box.r.extra, err);
	buf_clear(&text);
	return r;
}

/* --- making and finding ---------------------------------------------------------------------------------------------- */

static int
find(const struct folder *f, const char *name)
{
	for (unsigned i = 0; i < f->nkeywords; i++)
		if (view_case_eq_str(view_of(name), f->keywords[i]))
			return (int)i;
	return -1;
}

static int
add(struct folder *f, const char *name, struct err *err)
{
	unsigned n = f->nkeywords;
	struct buf line;
	int r;

	f->keywords[f->nkeywords++] = x_strdup(name);
	if (n < KEYWORD_LETTERS) {
		r = write_letters(f, err);
	} else {
		buf_init(&line, KEYWORD_MAX_LENGTH + 16);
		buf_printf(&line, "k %u %s\n", n, name);
		r = keywords_append_extra(f, buf_view(&line), err);
		buf_clear(&line);
	}
	if (r == 0)
		r = save_table(f, err);
	if (r < 0)
		x_free(&f->keywords[--f->nkeywords]);
	return r < 0 ? -1 : (int)n;
}

int
keywords_number(struct folder *f, const char *name, bool create, struct err *err)
{
	int n = find(f, name);

	if (n >= 0 || !create)
		return n;
	if (!keyword_is_valid(view_of(name))) {
		err_set(err, ERR_PERM, "invalid keyword");
		return -1;
	}
	if (f->nkeywords == STORE_MAX_KEYWORDS) {
		err_set(
		    err, ERR_LIMIT, "no more than %d keywords in a mailbox", STORE_MAX_KEYWORDS);
		return -2;
	}
	return add(f, name, err);
}

int
keywords_fill(struct folder *f, unsigned n, struct err *err)
{
	char name[32];

	if (n < f->nkeywords)
		return 0;
	while (f->nkeywords <= n && f->nkeywords < STORE_MAX_KEYWORDS) {
		snprintf(name, sizeof name, "unknown-%u", f->nkeywords);
		f->keywords[f->nkeywords++] = x_strdup(name);
	}
	if (write_letters(f, err) < 0 ||
	    (f->nkeywords > KEYWORD_LETTERS && write_extra(f, err) < 0))
		return -1;
	return save_table(f, err);
}

/* --- what others wrote ---------------------------------------------------------------------------------------------------- */

struct merge {
	struct folder *f;
	char *names[STORE_MAX_KEYWORDS]; /* as the texts have them; owned */
	void (*fn)(void *arg, uint32_t uid, const struct keyword_set *set);
	void *arg;
};

static void
merge_name(void *arg, unsigned number, struct view name)
{
	struct merge *m = arg;

	free(m->names[number]);
	m->names[number] = x_strndup(name.p, name.len);
}

static void
merge_message(void *arg, uint32_t uid, const struct keyword_set *set)
{
	struct merge *m = arg;

	if (m->fn != NULL)
		m->fn(m->arg, uid, set);
}

static int
parse_texts(struct merge *m, struct file_id *letters, struct file_id *extra, size_t *faults,
    struct err *err)
{
	struct buf text;
	int r;

	buf_init(&text, TEXT_MAX);
	*faults = 0;
	r = text_load(m->f->dir_fd, KEYWORDS_FILE, &text, letters, err);
	if (r == 0)
		*faults += keyword_file_parse(buf_view(&text), merge_name, m);
	buf_reset(&text);
	if (r >= 0)
		r = text_load(m->f->dir_fd, KEYWORDS_EXTRA, &text, extra, err);
	if (r == 0)
		*faults += keyword_extra_parse(buf_view(&text), merge_name, merge_message, m);
	buf_clear(&text);
	return r < 0 ? -1 : 0;
}

static bool
is_filler(const char *name, unsigned n)
{
	char filler[32];

	snprintf(filler, sizeof filler, "unknown-%u", n);
	return strcmp(name, filler) == 0;
}

/* The index knows best; the texts add what it does not know.  Returns whether they must be written again, and
 * in *learnt whether the table grew. */
static bool
merge_names(struct merge *m, bool *learnt)
{
	struct folder *f = m->f;
	bool repair = false;
	unsigned last = 0;
	char name[32];

	*learnt = false;
	for (unsigned i = 0; i < STORE_MAX_KEYWORDS; i++)
		if (m->names[i] != NULL)
			last = i + 1;
	for (unsigned i = 0; i < f->nkeywords || i < last; i++) {
		if (i < f->nkeywords && m->names[i] != NULL &&
		    strcmp(f->keywords[i], m->names[i]) == 0)
			continue;
		if (i < f->nkeywords && (m->names[i] == NULL || !is_filler(f->keywords[i], i))) {
			repair = true;
			continue;
		}
		*learnt = true;
		if (m->names[i] == NULL) {
			snprintf(name, sizeof name, "unknown-%u", i);
			m->names[i] = x_strdup(name);
			repair = true;
		}
		if (i < f->nkeywords)
			free(f->keywords[i]);
		else
			f->nkeywords = i + 1;
		f->keywords[i] = m->names[i];
		m->names[i] = NULL;
	}
	return repair;
}

static int
reconcile(struct folder *f, struct err *err)
{
	struct merge m = { .f = f };
	struct file_id letters = { 0 }, extra = { 0 };
	bool learnt, repair;
	size_t faults;
	int r = -1;

	if (parse_texts(&m, &letters, &extra, &faults, err) < 0)
		goto out;
	repair = merge_names(&m, &learnt) || faults > 0 || (letters.ino == 0 && f->nkeywords > 0) ||
		 (extra.ino == 0 && f->nkeywords > KEYWORD_LETTERS) ||
		 (f->box.r.extra.ino != 0 && !file_id_equal(&extra, &f->box.r.extra));
	f->box.r.keywords = letters;
	f->box.r.extra = extra;
	/* Before the first import, messages are not in the index yet and the text is all there is. */
	if (repair && f->box.r.verified_ns != 0 &&
	    (write_letters(f, err) < 0 ||
		(f->nkeywords > KEYWORD_LETTERS && write_extra(f, err) < 0)))
		goto out;
	r = save_table(f, err);
out:
	for (unsigned i = 0; i < STORE_MAX_KEYWORDS; i++)
		free(m.names[i]);
	return r;
}

int
keywords_reconcile_if_changed(struct folder *f, struct err *err)
{
	struct file_id letters, extra;

	if (text_identify(f->dir_fd, KEYWORDS_FILE, &letters, err) < 0 ||
	    text_identify(f->dir_fd, KEYWORDS_EXTRA, &extra, err) < 0)
		return -1;
	if (file_id_equal(&letters, &f->box.r.keywords) && file_id_equal(&extra, &f->box.r.extra))
		return 0;
	return reconcile(f, err);
}

int
keywords_each_extra(struct folder *f,
    void (*fn)(void *arg, uint32_t uid, const struct keyword_set *set), void *arg, struct err *err)
{
	struct merge m = { .f = f, .fn = fn, .arg = arg };
	struct file_id letters, extra;
	size_t faults;
	int r = parse_texts(&m, &letters, &extra, &faults, err);

	for (unsigned i = 0; i < STORE_MAX_KEYWORDS; i++)
		free(m.names[i]);
	return r;
}
