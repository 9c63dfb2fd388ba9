/* A throw-away Maildir for the tests of the store. */
#ifndef TESTS_UNIT_COMMON_STORE_STORE_FIXTURE_H
#define TESTS_UNIT_COMMON_STORE_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/store/store.h"
#include "tests/unit/remove_all.h"

struct fixture {
	char dir[128], maildir[160];
	struct store *s;
	struct arena a;
	struct err err;
	uint64_t quota;
	uint32_t changes_kept;
};

#define ok(f, call)                                                                                \
	do {                                                                                       \
		if ((call) != 0)                                                                   \
			fail_msg("%s: %s", #call, (f)->err.text);                                  \
	} while (0)

static inline void
fixture_open(struct fixture *f)
{
	struct store_config c = { .maildir = f->maildir,
		.host = "test.host",
		.quota_bytes = f->quota,
		.index_map_bytes = 1 << 20,
		.changes_kept = f->changes_kept == 0 ? 1000 : f->changes_kept };

	ok(f, store_open(&c, &f->s, &f->err));
}

static inline void
fixture_close(struct fixture *f)
{
	store_close(f->s);
	f->s = NULL;
}

static inline void
fixture_reopen(struct fixture *f)
{
	fixture_close(f);
	fixture_open(f);
}

static inline void
fixture_init(struct fixture *f)
{
	*f = (struct fixture){ 0 };
	snprintf(f->dir, sizeof f->dir, "%s/estafeta-store.XXXXXX",
	    getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->maildir, sizeof f->maildir, "%s/Maildir", f->dir);
	arena_init(&f->a, (size_t)1 << 30);
}

static inline int
fixture_setup(void **state)
{
	struct fixture *f = malloc(sizeof *f);

	fixture_init(f);
	fixture_open(f);
	*state = f;
	return 0;
}

static inline int
fixture_teardown(void **state)
{
	struct fixture *f = *state;

	if (f->s != NULL)
		store_close(f->s);
	arena_clear(&f->a);
	remove_all(f->dir);
	free(f);
	return 0;
}

/* PATH below the Maildir. */
static inline char *
fixture_path(struct fixture *f, const char *path)
{
	char *p = arena_printf(&f->a, "%s/%s", f->maildir, path);

	assert_non_null(p);
	return p;
}

static inline void
fixture_write(struct fixture *f, const char *path, const char *text)
{
	int fd = open(fixture_path(f, path), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static inline char *
fixture_read(struct fixture *f, const char *path)
{
	static char text[1 << 20];
	int fd = open(fixture_path(f, path), O_RDONLY);
	ssize_t n;

	if (fd < 0)
		return NULL;
	n = read(fd, text, sizeof text - 1);
	close(fd);
	assert_true(n >= 0);
	text[n] = '\0';
	return arena_strdup(&f->a, text);
}

static inline uint32_t
fixture_append(struct fixture *f, const char *mailbox, const char *text, uint16_t flags,
    const char *const *keywords)
{
	struct save_options o = {
		.flags = flags, .keywords = keywords, .internal_date = 1000000000
	};
	uint32_t uid, validity;
	struct save *v;

	ok(f, save_begin(f->s, mailbox, &v, &f->err));
	ok(f, save_write(v, text, strlen(text), &f->err));
	ok(f, save_finish(v, &o, &validity, &uid, &f->err));
	return uid;
}

/* A file as a foreign program delivers it. */
static inline void
fixture_deliver(struct fixture *f, const char *folder, const char *name, const char *text)
{
	fixture_write(f, arena_printf(&f->a, "%s/%s", folder, name), text);
}

static inline struct mailbox *
fixture_mailbox(struct fixture *f, const char *name, bool claim)
{
	struct mailbox *m;

	ok(f, mailbox_open(f->s, name, claim, &m, &f->err));
	return m;
}

static inline struct message_info
fixture_get(struct fixture *f, struct mailbox *m, uint32_t uid)
{
	struct message_info info;

	ok(f, mailbox_get(m, uid, &info, &f->err));
	return info;
}

/* Everything a client can know of a mailbox as one text: equal texts, equal mailboxes. */
struct describe {
	struct fixture *f;
	struct mailbox *m;
	struct buf *out;
	bool with_modseq;
};
static inline bool
describe_one(void *arg, const struct message_info *i)
{
	struct describe *d = arg;

	buf_printf(d->out, "%u flags=%x size=%llu date=%lld guid=%s", i->uid,
	    i->flags & ~FLAG_RECENT, (unsigned long long)i->size, (long long)i->internal_date,
	    i->guid);
	if (d->with_modseq)
		buf_printf(d->out, " modseq=%llu", (unsigned long long)i->modseq);
	for (unsigned n = 0; n < STORE_MAX_KEYWORDS; n++)
		if (i->keywords.bits[n / 64] >> (n % 64) & 1)
			buf_printf(d->out, " %s", mailbox_keyword(d->m, n));
	buf_append_str(d->out, "\n");
	return true;
}
static inline char *
fixture_describe(struct fixture *f, const char *name, bool with_modseq)
{
	struct mailbox *m = fixture_mailbox(f, name, false);
	struct mailbox_status st;
	struct buf out;
	char *text;

	buf_init(&out, 64 << 20);
	ok(f, mailbox_get_status(m, &st, &f->err));
	buf_printf(&out, "V%u N%u G%s messages=%u unseen=%u deleted=%u\n", st.uidvalidity,
	    st.uidnext, st.guid, st.messages, st.unseen, st.deleted);
	ok(f, mailbox_each(m, 1, UINT32_MAX, describe_one,
		  &(struct describe){ f, m, &out, with_modseq }, &f->err));
	mailbox_close(m);
	text = arena_strdup(&f->a, buf_cstr(&out));
	buf_clear(&out);
	return text;
}

static inline unsigned
fixture_count_files(struct fixture *f, const char *path)
{
	DIR *d = opendir(fixture_path(f, path));
	struct dirent *e;
	unsigned n = 0;

	assert_non_null(d);
	while ((e = readdir(d)) != NULL)
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

/* Name of the only file in a directory. */
static inline char *
fixture_only_file(struct fixture *f, const char *path)
{
	DIR *d = opendir(fixture_path(f, path));
	struct dirent *e;
	char *name = NULL;

	assert_non_null(d);
	while ((e = readdir(d)) != NULL)
		if (e->d_name[0] != '.') {
			assert_null(name);
			name = arena_strdup(&f->a, e->d_name);
		}
	closedir(d);
	return name;
}

#endif
