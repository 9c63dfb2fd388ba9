#include "qmgr/ledger.h"
#include "common/base/fd.h"
#include "common/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int
ledger_prepare(int root_fd, struct err *err)
{
	if (mkdirat(root_fd, "ledger", 0700) < 0 && errno != EEXIST)
		return err_sys(err, ERR_TEMP, "mkdir ledger");
	return 0;
}

/* --- copying -------------------------------------------------------------------------------------------- */
struct copy {
	struct segment_header header;
	struct buf out; /* the file */
};

static int
append_zeros(struct buf *b, size_t len)
{
	char *p = buf_reserve(b, len);

	if (p == NULL)
		return -1;
	memset(p, 0, len);
	b->len += len;
	return 0;
}

/* Of a message only the envelope. */
static int
put_message(struct buf *out, const struct record *r)
{
	struct message_head head;
	struct view envelope, headers, body;
	char bytes[MESSAGE_HEAD];

	if (message_record_decode(r->content, &head, &envelope, &headers, &body, NULL) < 0)
		return 0; /* replay cannot use it either, and says so */
	message_head_encode(&(struct message_head){ .envelope_len = envelope.len }, bytes);
	return buf_append(out, bytes, sizeof bytes) < 0 ||
		       buf_append(out, envelope.p, envelope.len) < 0
		   ? -1
		   : 1;
}

static void
copy_record(void *arg, const struct record *from)
{
	struct copy *c = arg;
	size_t at = c->out.len, content;
	struct record r = *from;
	int done = 0;

	switch (r.type) {
	case RECORD_MESSAGE:
	case RECORD_OUTCOME:
	case RECORD_DONE:
	case RECORD_MOVED:
	case RECORD_FINISHED:
		break;
	default:
		return;
	}
	if (append_zeros(&c->out, RECORD_HEADER) < 0)
		return;
	if (r.type == RECORD_MESSAGE)
		done = put_message(&c->out, &r);
	else
		done = buf_append(&c->out, r.content.p, r.content.len) < 0 ? -1 : 1;
	if (done <= 0) {
		c->out.len = at;
		return;
	}
	content = c->out.len - at - RECORD_HEADER;
	if (append_zeros(&c->out, record_size(content) - RECORD_HEADER - content) < 0)
		return;
	r.flags = 0; /* groups were whole */
	r.offset = r.batch = (uint32_t)at;
	record_seal(c->out.p + at, &c->header, &r, content);
}

static int
write_copy(struct copy *c, int fd, int (*io_fsync)(int fd), struct err *err)
{
	c->header.size = c->out.len;
	segment_header_encode(&c->header, c->out.p);
	segment_header_encode(&c->header, c->out.p + SEGMENT_COPY_AT);
	if (fd_write_all(fd, c->out.p, c->out.len, err) < 0)
		return -1;
	return io_fsync(fd) < 0 ? err_sys(err, ERR_TEMP, "fsync") : 0;
}

static int
save_copy(int root_fd, struct copy *c, int (*io_fsync)(int fd), struct err *err)
{
	char path[16 + SEGMENT_NAME] = "ledger/";
	int fd, r;

	segment_name(c->header.number, path + strlen(path));
	fd = open_beneath(root_fd, path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0)
		return err_sys(err, ERR_TEMP, "%s", path);
	r = write_copy(c, fd, io_fsync, err);
	if (r < 0 && ftruncate(fd, 0) < 0)
		err_prefix(err, "%s: ftruncate", path); /* its size is wrong all the same */
	if (close(fd) < 0 && r == 0)
		r = err_sys(err, ERR_TEMP, "close");
	if (r < 0)
		return err_prefix(err, "%s", path);
	return dir_fsync(root_fd, "ledger", err);
}

static int
copy_records(struct copy *c, int dir, uint64_t number, struct err *err)
{
	struct segment_header from;
	struct segment_numbers numbers;
	struct segment_bytes bytes;
	struct segment_scan s = { .header = &from, .on_record = copy_record, .arg = c };

	if (segment_list(dir, &numbers, err) < 0)
		return -1;
	s.limit = segment_void_limit(dir, &numbers, number);
	free(numbers.list);
	if (segment_find(dir, number, &from, err) < 0 || segment_load(dir, &from, &bytes, err) < 0)
		return -1;
	c->header = from;
	buf_init(&c->out, from.size + SEGMENT_RECORDS_AT);
	s.bytes = view_make(bytes.p, bytes.len);
	if (append_zeros(&c->out, SEGMENT_RECORDS_AT) == 0)
		segment_scan(&s);
	free(bytes.p);
	return c->out.failed ? err_set(err, ERR_LIMIT, "no memory for a copy") : 0;
}

int
ledger_copy(int root_fd, uint64_t number, int (*io_fsync)(int fd), struct err *err)
{
	struct copy c = { 0 };
	int r, dir = open_beneath(root_fd, "journal", O_RDONLY | O_DIRECTORY, 0);

	if (dir < 0)
		return err_sys(err, ERR_TEMP, "journal: open directory");
	r = copy_records(&c, dir, number, err);
	if (r == 0 && c.out.len > SEGMENT_RECORDS_AT)
		r = save_copy(root_fd, &c, io_fsync, err);
	buf_clear(&c.out);
	fd_close(&dir);
	return r;
}

bool
ledger_is_complete(const struct segment_header *h, const struct segment_scan *s)
{
	return s->bytes.len == h->size && s->hole_at == 0 && s->end == h->size;
}

/* --- what is kept ------------------------------------------------------------------------------------------ */
void
ledger_trim(int root_fd, const struct ledger_limits *limits, int64_t wall_ms)
{
	int dir = open_beneath(root_fd, "ledger", O_RDONLY | O_DIRECTORY, 0);
	struct segment_numbers numbers = { 0 };
	char name[SEGMENT_NAME];
	uint64_t total = 0;
	struct stat st;

	if (dir < 0 || segment_list(dir, &numbers, NULL) < 0)
		goto out;
	for (size_t i = numbers.count; i-- > 0;) {
		segment_name(numbers.list[i], name);
		if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		total += (uint64_t)st.st_size;
		if (total > limits->max_bytes ||
		    wall_ms - (int64_t)st.st_mtim.tv_sec * 1000 > limits->keep_ms)
			unlinkat(dir, name, 0); /* it is tried again with the next segment */
	}
out:
	free(numbers.list);
	fd_close(&dir);
}
