/* Any records as a segment of the journal: what audit makes of it, before and after it is copied to the ledger.
 * Checksums would keep a fuzzer out, so the input is cut into records that are sealed here: 2 bytes of length, then
 * type, flags, id and content; between them, raw bytes. */
#include "common/base/err.h"
#include "common/base/fd.h"
#include "qmgr/audit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SEGMENT = 65536 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int
queue_dir(void)
{
	static char path[] = "/dev/shm/ledger_fuzz.XXXXXX";
	static int fd = -1;
	struct err err;

	if (fd >= 0)
		return fd;
	if (mkdtemp(path) == NULL || (fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 ||
	    mkdirat(fd, "journal", 0700) < 0 || ledger_prepare(fd, &err) < 0)
		abort();
	return fd;
}

static size_t
fill(char *bytes, const struct segment_header *seg, const uint8_t *data, size_t size)
{
	size_t off = SEGMENT_RECORDS_AT, at = 0;

	segment_header_encode(seg, bytes);
	while (at + 5 <= size) {
		size_t len = (size_t)data[at] | (size_t)(data[at + 1] & 15) << 8;
		bool is_raw = (data[at + 1] & 128) != 0;
		struct record r = { .type = data[at + 2],
			.flags = data[at + 3],
			.id = { 1000000 + data[at + 4] % 4, 1 },
			.offset = (uint32_t)off,
			.batch = SEGMENT_RECORDS_AT };

		if (len > size - at - 5)
			len = size - at - 5;
		if (record_size(len) > SEGMENT - off)
			break;
		memcpy(bytes + off + (is_raw ? 0 : RECORD_HEADER), data + at + 5, len);
		if (!is_raw)
			record_seal(bytes + off, seg, &r, len);
		off += record_size(len);
		at += 5 + len;
	}
	return off;
}

static void
on_finding(void *arg, const struct audit_finding *f)
{
	(void)arg;
	(void)f;
}

static void
look(int dir, struct audit_totals *t)
{
	const struct audit_options o = { .root_fd = dir, .on_finding = on_finding };
	struct err err;

	if (audit_run(&o, t, &err) < 0)
		bug("audit: %s", err.text);
	if (t->delivered + t->relayed + t->returned + t->expired + t->dropped + t->deleted +
		t->queued + t->missing !=
	    t->recipients)
		bug("recipients do not add up");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct segment_header seg = { .number = 3, .salt = 4, .size = SEGMENT, .made_ms = 1 };
	struct audit_totals before, after;
	char *bytes = calloc(1, SEGMENT);
	int dir = queue_dir(), fd;
	struct err err;

	if (bytes == NULL)
		return 0;
	fill(bytes, &seg, data, size);
	fd = openat(dir, "journal/0000000000000003", O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || fd_write_all(fd, bytes, SEGMENT, NULL) < 0)
		abort();
	close(fd);
	free(bytes);
	look(dir, &before);
	if (ledger_copy(dir, 3, fsync, &err) < 0)
		bug("ledger: %s", err.text);
	unlinkat(dir, "journal/0000000000000003", 0);
	look(dir, &after);
	if (before.messages != after.messages || before.recipients != after.recipients ||
	    before.delivered != after.delivered || before.doubled != after.doubled)
		bug("the copy says something else");
	unlinkat(dir, "ledger/0000000000000003", 0);
	return 0;
}
