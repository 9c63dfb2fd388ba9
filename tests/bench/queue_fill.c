/* Fills a queue directory with deferred messages, written by the queue's own encoders but without the flushes.
 * usage: queue_fill QUEUE_DIRECTORY COUNT DUE_SECONDS UID GID      DUE_SECONDS: from now; below 0: overdue */
#include "common/base/clock.h"
#include "common/base/codec.h"
#include "common/base/fd.h"
#include "common/ipc/envelope.h"
#include "qmgr/deferred.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DOMAINS = 100, SENDERS = 1000, APART_US = 1009, MAX = 4096 };

static const char headers[] = "Received: from bench\r\n",
		  body[] = "Subject: waits\r\n\r\nhello\r\n";

static void
envelope_of(unsigned long n, int64_t arrival_ms, struct buf *out)
{
	char sender[64], address[64];
	struct recipient r = { .address = address, .transport = TRANSPORT_SMTP };
	struct envelope e = { .sender = sender,
		.arrival_ms = arrival_ms,
		.size = sizeof headers + sizeof body - 2,
		.nrcpts = 1,
		.rcpts = &r };

	snprintf(sender, sizeof sender, "s%lu@sender.test", n % SENDERS);
	snprintf(address, sizeof address, "r%lu@d%lu.test", n, n % DOMAINS);
	buf_reset(out);
	envelope_encode(&e, out);
}

/* The bytes of deferred/XX/ID, as deferred.c's write_file puts them together. */
static void
file_of(struct queue_id id, int64_t due_ms, const struct buf *envelope, struct buf *out)
{
	int64_t arrival_ms = (int64_t)(id.us / 1000);
	struct deferred_summary s = { .id = id,
		.state = DEFERRED_WAITING,
		.next_ms = due_ms,
		.arrival_ms = arrival_ms,
		.size = sizeof headers + sizeof body - 2,
		.nrcpts = 1,
		.left = 1,
		.attempts = 1 };
	struct deferred_slot slot = { .attempts = 1,
		.last_ms = arrival_ms + 1000,
		.dsn = "4.4.1",
		.reason = "connect to mx.far.test[192.0.2.1]:25: Connection timed out" };
	struct deferred_head head = { .id = id,
		.nslots = 1,
		.message = { .envelope_len = envelope->len,
		    .headers_len = sizeof headers - 1,
		    .body_len = sizeof body - 1 },
		.envelope_crc = crc32c(0, envelope->p, envelope->len),
		.content_crc =
		    crc32c(crc32c(0, headers, sizeof headers - 1), body, sizeof body - 1) };
	char start[DEFERRED_SLOTS_AT + 2 * DEFERRED_SLOT] = { 0 };

	for (int copy = 0; copy < 2; copy++) {
		s.seq = slot.seq = (uint64_t)(2 - copy);
		deferred_summary_encode(&s, start + copy * DEFERRED_SUMMARY);
		deferred_slot_encode(
		    &slot, id, 0, start + DEFERRED_SLOTS_AT + copy * DEFERRED_SLOT);
	}
	deferred_head_encode(&head, start + DEFERRED_HEAD_AT);
	buf_reset(out);
	buf_append(out, start, sizeof start);
	buf_append(out, envelope->p, envelope->len);
	buf_append(out, headers, sizeof headers - 1);
	buf_append(out, body, sizeof body - 1);
}

static int
write_one(int root, struct queue_id id, const struct buf *file, uid_t uid, gid_t gid)
{
	char text[QUEUE_ID_TEXT], path[64];
	int fd, r;

	queue_id_format(id, text);
	snprintf(path, sizeof path, "deferred/%02x/%s", (unsigned)(id.us % 256), text);
	fd = openat(root, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	r = fd_write_all(fd, file->p, file->len, NULL) < 0 || fchown(fd, uid, gid) < 0 ? -1 : 0;
	return close(fd) < 0 ? -1 : r;
}

int
main(int argc, char **argv)
{
	unsigned long count = argc == 6 ? strtoul(argv[2], NULL, 10) : 0;
	int root = argc == 6 ? open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	int64_t now_ms = clock_wall_ms();
	struct buf envelope, file;

	if (root < 0 || count == 0) {
		fputs("usage: queue_fill QUEUE_DIRECTORY COUNT DUE_SECONDS UID GID\n", stderr);
		return 64;
	}
	buf_init(&envelope, MAX);
	buf_init(&file, MAX);
	for (unsigned long n = 0; n < count; n++) {
		struct queue_id id = { (uint64_t)now_ms * 1000 - (count - n) * APART_US, 1 };

		envelope_of(n, (int64_t)(id.us / 1000), &envelope);
		file_of(id, now_ms + strtol(argv[3], NULL, 10) * 1000, &envelope, &file);
		if (envelope.failed || file.failed ||
		    write_one(root, id, &file, (uid_t)strtoul(argv[4], NULL, 10),
			(gid_t)strtoul(argv[5], NULL, 10)) < 0) {
			perror("queue_fill");
			return 1;
		}
	}
	buf_clear(&envelope);
	buf_clear(&file);
	return 0;
}
