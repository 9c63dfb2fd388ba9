#include "qmgr/segment.h"
#include "common/base/fd.h"
#include "common/base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SECTOR = 4096 };

void
segment_name(uint64_t number, char out[SEGMENT_NAME])
{
	snprintf(out, SEGMENT_NAME, "%016llx", (unsigned long long)number);
}

static bool
number_parse(const char *name, uint64_t *number)
{
	uint64_t v = 0;

	if (strlen(name) != 16 || strspn(name, "0123456789abcdef") != 16)
		return false;
	for (size_t i = 0; i < 16; i++)
		v = v << 4 | (uint64_t)(name[i] <= '9' ? name[i] - '0' : name[i] - 'a' + 10);
	*number = v;
	return true;
}

static int
compare_numbers(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

int
segment_list(int dir_fd, struct segment_numbers *out, struct err *err)
{
	int fd = open_beneath(dir_fd, ".", O_RDONLY | O_DIRECTORY, 0);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;
	uint64_t number;

	*out = (struct segment_numbers){ 0 };
	if (d == NULL) {
		err_sys(err, ERR_TEMP, "open directory of segments");
		fd_close(&fd);
		return -1;
	}
	while ((de = readdir(d)) != NULL) {
		if (!number_parse(de->d_name, &number))
			continue;
		out->list = x_realloc(out->list, out->count + 1, sizeof *out->list);
		out->list[out->count++] = number;
	}
	closedir(d);
	if (out->count > 0)
		qsort(out->list, out->count, sizeof *out->list, compare_numbers);
	return 0;
}

static bool
all_zero(const char *p, size_t len)
{
	return len == 0 || (p[0] == '\0' && memcmp(p, p + 1, len - 1) == 0);
}

int
segment_header_read(
    int fd, uint64_t number, struct segment_header *out, bool *is_blank, struct err *err)
{
	char copies[2][SEGMENT_HEADER];
	struct err e;

	memset(copies, 0, sizeof copies);
	if (fd_pread_all(fd, copies[0], SEGMENT_HEADER, 0, &e) < 0 ||
	    fd_pread_all(fd, copies[1], SEGMENT_HEADER, SEGMENT_COPY_AT, &e) < 0) {
		if (e.kind != ERR_GONE) {
			*err = e;
			return -1;
		}
	}
	*is_blank = all_zero(copies[0], sizeof copies);
	for (int i = 0; i < 2; i++)
		if (segment_header_decode(view_make(copies[i], SEGMENT_HEADER), out, &e) == 0 &&
		    out->number == number)
			return 0;
	return err_set(
	    err, ERR_SYNTAX, "journal: no header of segment %llu", (unsigned long long)number);
}

int
segment_find(int dir_fd, uint64_t number, struct segment_header *out, struct err *err)
{
	char name[SEGMENT_NAME];
	bool is_blank;
	int fd, r;

	segment_name(number, name);
	fd = open_beneath(dir_fd, name, O_RDONLY, 0);
	if (fd < 0)
		return err_sys(
		    err, errno == ENOENT ? ERR_GONE : ERR_TEMP, "journal: open %s", name);
	r = segment_header_read(fd, number, out, &is_blank, err);
	fd_close(&fd);
	return r;
}

/* A sector that cannot be read costs its own records: it is taken for zeros, and the walk finds the damage. */
static size_t
read_around_faults(int fd, char *p, size_t len)
{
	size_t lost = 0;

	for (size_t at = 0; at < len; at += SECTOR) {
		size_t n = len - at < SECTOR ? len - at : SECTOR;

		if (fd_pread_all(fd, p + at, n, (off_t)at, NULL) == 0)
			continue;
		memset(p + at, 0, n);
		lost += n;
	}
	return lost;
}

int
segment_load_fd(int fd, const struct segment_header *h, struct segment_bytes *out, struct err *err)
{
	struct stat st;

	*out = (struct segment_bytes){ 0 };
	if (fstat(fd, &st) < 0)
		return err_sys(err, ERR_TEMP, "journal: fstat");
	/* what is missing of a file that was cut short is damage for the walk to find */
	out->len = (size_t)((uint64_t)st.st_size < h->size ? (uint64_t)st.st_size : h->size);
	out->p = x_malloc(out->len + 1);
	if (fd_pread_all(fd, out->p, out->len, 0, err) < 0)
		out->unreadable = read_around_faults(fd, out->p, out->len);
	return 0;
}

int
segment_load(int dir_fd, const struct segment_header *h, struct segment_bytes *out, struct err *err)
{
	char name[SEGMENT_NAME];
	int fd, r;

	*out = (struct segment_bytes){ 0 };
	segment_name(h->number, name);
	fd = open_beneath(dir_fd, name, O_RDONLY, 0);
	if (fd < 0)
		return err_sys(err, ERR_TEMP, "journal: open %s", name);
	r = segment_load_fd(fd, h, out, err);
	fd_close(&fd);
	return r < 0 ? err_prefix(err, "%s", name) : 0;
}

/* --- voids ---------------------------------------------------------------------------------------------- */
static uint64_t
void_limit_in(int fd, const struct segment_header *h, uint64_t number, uint64_t limit)
{
	char bytes[RECORD_HEADER + VOID_BYTES];
	uint64_t off = SEGMENT_RECORDS_AT, void_number, from;
	struct record r;

	while (fd_pread_all(fd, bytes, sizeof bytes, (off_t)off, NULL) == 0 &&
	       record_read_at(view_make(bytes, sizeof bytes), h, off, &r) &&
	       r.type == RECORD_VOID && void_decode(r.content, &void_number, &from) == 0) {
		if (void_number == number && from < limit)
			limit = from;
		off += record_size(VOID_BYTES);
	}
	return limit;
}

uint64_t
segment_void_limit(int dir_fd, const struct segment_numbers *numbers, uint64_t number)
{
	uint64_t limit = UINT64_MAX;

	for (size_t i = 0; i < numbers->count; i++) {
		struct segment_header h;
		char name[SEGMENT_NAME];
		struct err e;
		bool is_blank;
		int fd;

		if (numbers->list[i] <= number)
			continue;
		segment_name(numbers->list[i], name);
		fd = open_beneath(dir_fd, name, O_RDONLY, 0);
		if (fd >= 0 && segment_header_read(fd, numbers->list[i], &h, &is_blank, &e) == 0)
			limit = void_limit_in(fd, &h, number, limit);
		fd_close(&fd);
	}
	return limit;
}

/* --- the walk --------------------------------------------------------------------------------------------- */
static bool
continues(const struct segment_scan *s, const struct record *r)
{
	const struct record *last = &s->held[s->nheld - 1];

	return r->batch == last->batch && s->nheld < SEGMENT_GROUP &&
	       r->offset == last->offset + record_size(last->content.len);
}

static void
group_drop(struct segment_scan *s)
{
	if (s->nheld > 0)
		s->incomplete++;
	s->nheld = 0;
}

static void
group_add(struct segment_scan *s, const struct record *r)
{
	if (s->nheld > 0 && !continues(s, r))
		group_drop(s);
	s->held[s->nheld++] = *r;
	if (r->flags & RECORD_MORE)
		return;
	for (unsigned i = 0; i < s->nheld; i++)
		s->on_record(s->arg, &s->held[i]);
	s->nheld = 0;
	s->settled = r->offset + record_size(r->content.len);
}

static void
note_hole(struct segment_scan *s, uint64_t at, const struct record *next)
{
	if (s->hole_at == 0)
		s->hole_at = at;
	if (next != NULL && next->batch > at)
		s->is_damaged = true; /* a later batch was begun: this one had been flushed */
}

void
segment_scan(struct segment_scan *s)
{
	uint64_t off = s->from > 0 ? s->from : SEGMENT_RECORDS_AT;
	struct record r;

	s->end = s->settled = off;
	while (off < s->limit && off < s->bytes.len) {
		if (!record_read(s->bytes, s->header, off, &r)) {
			if (all_zero(s->bytes.p + off, s->bytes.len - off))
				break;
			if (!record_search(s->bytes, s->header, off + RECORD_ALIGN, &r) ||
			    r.offset >= s->limit) {
				note_hole(s, off, NULL);
				break;
			}
			note_hole(s, off, &r);
		}
		group_add(s, &r);
		off = r.offset + record_size(r.content.len);
		s->end = off;
	}
	group_drop(s);
}
