/* The ledger's copies, and the audit of segments, copies and deferred files that are made here by hand. */
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/ipc/envelope.h"
#include "qmgr/audit.h"
#include "qmgr/deferred.h"
#include "tests/unit/remove_all.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { SIZE = 64 * 1024, TEXT = 4096 };

struct bench {
	char dir[48];
	int root;
	struct segment_header seg;
	struct buf out;      /* the segment being written */
	char findings[TEXT]; /* "kind id recipient\n" */
	struct audit_totals t;
};

static int
setup(void **state)
{
	struct bench *b = x_calloc(1, sizeof *b);
	struct err err;

	snprintf(b->dir, sizeof b->dir, "/tmp/audit_test.XXXXXX");
	assert_non_null(mkdtemp(b->dir));
	b->root = open(b->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(b->root, "journal", 0700), 0);
	assert_int_equal(mkdirat(b->root, "corrupt", 0700), 0);
	assert_int_equal(ledger_prepare(b->root, &err), 0);
	assert_int_equal(deferred_prepare(b->root, &err), 0);
	buf_init(&b->out, SIZE);
	*state = b;
	return 0;
}

static int
teardown(void **state)
{
	struct bench *b = *state;

	buf_clear(&b->out);
	close(b->root);
	remove_all(b->dir);
	free(b);
	return 0;
}

/* --- segments by hand -------------------------------------------------------------------------------------- */
static void
zeros(struct bench *b, size_t len)
{
	char *p = buf_reserve(&b->out, len);

	assert_non_null(p);
	memset(p, 0, len);
	b->out.len += len;
}

static void
begin(struct bench *b, uint64_t number)
{
	b->seg = (struct segment_header){ .number = number,
		.salt = number * 77,
		.size = SIZE,
		.last_us = number * 1000,
		.made_ms = 1000000 + number };
	buf_reset(&b->out);
	zeros(b, SEGMENT_RECORDS_AT);
	segment_header_encode(&b->seg, b->out.p);
	segment_header_encode(&b->seg, b->out.p + SEGMENT_COPY_AT);
}

static uint64_t
put(struct bench *b, enum record_type type, uint64_t us, unsigned flags, const void *content,
    size_t len)
{
	size_t at = b->out.len;
	struct record r = { .type = type,
		.flags = flags,
		.id = { us, 1 },
		.offset = (uint32_t)at,
		.batch = (uint32_t)at };

	zeros(b, record_size(len));
	if (len > 0)
		memcpy(b->out.p + at + RECORD_HEADER, content, len);
	record_seal(b->out.p + at, &b->seg, &r, len);
	return at;
}

static void
encode(struct buf *env, const char *sender, size_t nrcpts, uint32_t notify)
{
	struct recipient rcpts[16] = { 0 };
	char names[16][32];
	struct envelope e = { .sender = sender,
		.size = 3,
		.envid = "",
		.client_name = "",
		.client_address = "",
		.helo = "",
		.protocol = "",
		.client_port = "",
		.sasl_method = "",
		.sasl_username = "",
		.filter = "",
		.rcpts = rcpts,
		.nrcpts = nrcpts };

	for (size_t i = 0; i < nrcpts; i++) {
		snprintf(names[i], sizeof names[i], "r%zu@x.test", i);
		rcpts[i] = (struct recipient){ .address = names[i],
			.orig = "",
			.orcpt = "",
			.nexthop = "",
			.notify = notify,
			.transport = TRANSPORT_VIRTUAL };
	}
	buf_init(env, 10000);
	assert_int_equal(envelope_encode(&e, env), 0);
}

static void
put_message(struct bench *b, uint64_t us, const char *sender, size_t nrcpts)
{
	struct message_head h = { .headers_len = 500, .body_len = 300 };
	char head[MESSAGE_HEAD], content[4000] = { 0 };
	struct buf env;

	encode(&env, sender, nrcpts, 0);
	h.envelope_len = env.len;
	message_head_encode(&h, head);
	memcpy(content, head, sizeof head);
	memcpy(content + sizeof head, env.p, env.len);
	put(b, RECORD_MESSAGE, us, 0, content, sizeof head + env.len + 800);
	buf_clear(&env);
}

static void
put_outcome(struct bench *b, enum record_type type, uint64_t us, uint32_t rcpt,
    enum rcpt_status status, const char *dsn)
{
	struct outcome o = { .rcpt = rcpt, .status = status };
	struct buf out;

	snprintf(o.dsn, sizeof o.dsn, "%s", dsn);
	buf_init(&out, 100);
	outcomes_begin(&out, 0);
	assert_int_equal(outcomes_put(&out, &o), 0);
	outcomes_end(&out);
	put(b, type, us, 0, out.p, out.len);
	buf_clear(&out);
}

static void
end(struct bench *b)
{
	char path[64] = "journal/";
	int fd;

	segment_name(b->seg.number, path + strlen(path));
	fd = openat(b->root, path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, b->out.p, b->out.len, NULL), 0);
	assert_int_equal(ftruncate(fd, SIZE), 0);
	close(fd);
}

/* As the housekeeper does. */
static void
retire(struct bench *b, uint64_t number)
{
	char path[64] = "journal/";
	struct err err;

	assert_int_equal(ledger_copy(b->root, number, fsync, &err), 0);
	segment_name(number, path + strlen(path));
	assert_int_equal(unlinkat(b->root, path, 0), 0);
}

static void
make_file(struct bench *b, uint64_t us, size_t nrcpts, uint32_t pending)
{
	struct deferred_summary s = {
		.id = { us, 1 }, .state = DEFERRED_WAITING, .nrcpts = (uint32_t)nrcpts, .left = 1
	};
	struct deferred_slot slot = { .rcpt = pending };
	struct message_bytes m = { 0 };
	struct buf env;
	struct err err;

	encode(&env, "a@x.test", nrcpts, 0);
	m.head.envelope_len = env.len;
	m.envelope = buf_view(&env);
	m.headers = m.body = view_make("", 0);
	assert_int_equal(deferred_write(b->root, &s, &slot, 1, &m, &err), 0);
	buf_clear(&env);
}

static void
on_finding(void *arg, const struct audit_finding *f)
{
	static const char *const kinds[] = { "missing", "double", "possible", "hole" };
	struct bench *b = arg;
	size_t at = strlen(b->findings);
	struct queue_id id = { 0 };

	if (f->id[0] != '\0')
		assert_true(queue_id_parse(view_of(f->id), &id));
	snprintf(b->findings + at, TEXT - at, "%s %llu %s\n", kinds[f->kind],
	    (unsigned long long)id.us, f->recipient);
}

static void
audit(struct bench *b, uint64_t since_us)
{
	struct audit_options o = {
		.root_fd = b->root, .since_us = since_us, .on_finding = on_finding, .arg = b
	};
	struct err err;

	b->findings[0] = '\0';
	assert_int_equal(audit_run(&o, &b->t, &err), 0);
}

/* --- tests --------------------------------------------------------------------------------------------------- */
static void
test_outcomes_are_counted_once_wherever_they_stand(void **state)
{
	struct bench *b = *state;
	struct stat st;
	struct err err;

	begin(b, 3);
	put_message(b, 2001, "a@x.test", 2);
	put_message(b, 2002, "", 1);
	put_message(b, 2003, "a@x.test", 12);
	put_outcome(b, RECORD_OUTCOME, 2001, 1, RCPT_FAILED, "5.1.1");
	put_outcome(b, RECORD_OUTCOME, 2002, 0, RCPT_FAILED, "5.1.1");
	put(b, RECORD_DONE, 2002, 0, NULL, 0);
	end(b);
	begin(b, 4);
	put_outcome(b, RECORD_OUTCOME, 2001, 0, RCPT_SENT, "2.0.0");
	put(b, RECORD_DONE, 2001, 0, NULL, 0);
	put_message(b, 3500, "a@x.test", 1);
	put_outcome(b, RECORD_OUTCOME, 3500, 0, RCPT_FAILED, "4.4.1");
	put(b, RECORD_DONE, 3500, 0, NULL, 0);
	end(b);
	for (int round = 0; round < 3; round++) {
		audit(b, 0);
		assert_string_equal(b->findings, "");
		assert_int_equal(b->t.messages, 4);
		assert_int_equal(b->t.recipients, 16);
		assert_int_equal(b->t.delivered, 1);
		assert_int_equal(b->t.returned, 1);
		assert_int_equal(b->t.dropped, 1);
		assert_int_equal(b->t.expired, 1);
		assert_int_equal(b->t.queued, 12);
		assert_int_equal(b->t.begins_ms, 1000003);
		if (round == 0) /* copied, and not yet removed */
			assert_int_equal(ledger_copy(b->root, 3, fsync, &err), 0);
		if (round == 1) /* what is done need not be where the record of it was */
			retire(b, 4);
	}
	assert_int_equal(fstatat(b->root, "ledger/0000000000000003", &st, 0), 0);
	assert_true(st.st_size < 4096 + 3000); /* three messages without their content */
	audit(b, 3000);
	assert_int_equal(b->t.messages, 1);
	/* the twelve were held by segment 3: when it goes they must be somewhere else */
	assert_int_equal(unlinkat(b->root, "journal/0000000000000003", 0), 0);
	audit(b, 0);
	assert_int_equal(b->t.missing, 12);
	assert_non_null(strstr(b->findings, "missing 2003 r11@x.test\n"));
}

static void
test_faults_are_told(void **state)
{
	struct bench *b = *state;

	begin(b, 1);
	put_message(b, 11, "a@x.test", 2); /* one has no outcome */
	put_outcome(b, RECORD_OUTCOME, 11, 0, RCPT_SENT, "2.0.0");
	put(b, RECORD_DONE, 11, 0, NULL, 0);
	put_message(b, 12, "a@x.test", 1); /* sent twice */
	put_outcome(b, RECORD_OUTCOME, 12, 0, RCPT_SENT, "2.0.0");
	put_outcome(b, RECORD_OUTCOME, 12, 0, RCPT_SENT, "2.0.0");
	put(b, RECORD_DONE, 12, 0, NULL, 0);
	put_message(b, 13, "a@x.test", 1); /* sent and returned */
	put_outcome(b, RECORD_OUTCOME, 13, 0, RCPT_FAILED, "5.0.0");
	put_outcome(b, RECORD_FINISHED, 13, 0, RCPT_SENT, "2.0.0");
	put_message(b, 14, "a@x.test", 1); /* said again at the end: once */
	put_outcome(b, RECORD_OUTCOME, 14, 0, RCPT_SENT, "2.0.0");
	put_outcome(b, RECORD_FINISHED, 14, 0, RCPT_SENT, "2.0.0");
	end(b);
	audit(b, 0);
	assert_string_equal(
	    b->findings, "missing 11 r1@x.test\ndouble 12 r0@x.test\ndouble 13 r0@x.test\n");
	assert_int_equal(b->t.doubled, 2);
	assert_int_equal(b->t.missing, 1);
}

static void
test_deferred_files(void **state)
{
	struct bench *b = *state;

	begin(b, 1);
	put_message(b, 21, "a@x.test", 2);
	put_outcome(b, RECORD_OUTCOME, 21, 0, RCPT_SENT, "2.0.0");
	put(b, RECORD_MOVED, 21, 0, NULL, 0);
	put_message(b, 22, "a@x.test", 1);
	put(b, RECORD_MOVED, 22, 0, NULL, 0);
	put_message(b, 23, "a@x.test", 1); /* the crash came before `moved` */
	end(b);
	make_file(b, 21, 2, 1);
	make_file(b, 23, 1, 0);
	retire(b, 1);
	audit(b, 0);
	assert_string_equal(b->findings, "missing 22 r0@x.test\n");
	assert_int_equal(b->t.queued, 2);
	assert_int_equal(b->t.delivered, 1);
	begin(b, 2);
	put_outcome(b, RECORD_FINISHED, 22, 0, RCPT_DELETED, "");
	end(b);
	audit(b, 0);
	assert_string_equal(b->findings, "");
	assert_int_equal(b->t.deleted, 1);
}

static void
test_what_is_void_or_half_never_happened(void **state)
{
	struct bench *b = *state;
	char voided[VOID_BYTES];
	uint64_t from;

	begin(b, 5);
	put_message(b, 31, "a@x.test", 1);
	put_outcome(b, RECORD_OUTCOME, 31, 0, RCPT_SENT, "2.0.0");
	put(b, RECORD_DONE, 31, 0, NULL, 0);
	from = b->out.len;
	put_message(b, 32, "a@x.test", 1);
	end(b);
	begin(b, 6);
	void_encode(5, from, voided);
	put(b, RECORD_VOID, 0, 0, voided, sizeof voided);
	put_message(b, 33, "a@x.test", 1);
	put(b, RECORD_HOLD, 33, RECORD_MORE, NULL, 0); /* of a group that has no end */
	end(b);
	audit(b, 0);
	assert_int_equal(b->t.messages, 2);
	assert_int_equal(b->t.queued, 1);
	assert_string_equal(b->findings, "");
	retire(b, 5);
	audit(b, 0);
	assert_int_equal(b->t.messages, 2);
	assert_string_equal(b->findings, "");
}

static int
full_fsync(int fd)
{
	(void)fd;
	errno = ENOSPC;
	return -1;
}

static void
test_a_copy_that_failed_is_a_hole(void **state)
{
	struct bench *b = *state;
	struct stat st;
	struct err err;
	int fd;

	for (uint64_t n = 1; n <= 3; n++) {
		begin(b, n);
		put_message(b, n, "a@x.test", 1);
		put_outcome(b, RECORD_OUTCOME, n, 0, RCPT_SENT, "2.0.0");
		put(b, RECORD_DONE, n, 0, NULL, 0);
		end(b);
	}
	retire(b, 1);
	assert_int_equal(ledger_copy(b->root, 2, full_fsync, &err), -1);
	audit(b, 0);
	assert_string_equal(b->findings, ""); /* the segment is still there */
	assert_int_equal(unlinkat(b->root, "journal/0000000000000002", 0), 0);
	audit(b, 0);
	assert_string_equal(b->findings, "hole 0 \n");
	assert_int_equal(b->t.delivered, 2);
	retire(b, 3);
	/* a copy whose end or middle is lost */
	assert_int_equal(fstatat(b->root, "ledger/0000000000000003", &st, 0), 0);
	fd = openat(b->root, "ledger/0000000000000003", O_RDWR);
	assert_int_equal(pwrite(fd, "\0\0\0\0\0\0\0\0", 8, st.st_size - 8), 8);
	audit(b, 0);
	assert_int_equal(b->t.holes, 2);
	assert_int_equal(ftruncate(fd, st.st_size - 40), 0);
	audit(b, 0);
	assert_int_equal(b->t.holes, 2);
	close(fd);
}

static void
test_trim(void **state)
{
	struct bench *b = *state;
	struct ledger_limits l = { .keep_ms = 3600000, .max_bytes = 3 * 5000 };
	struct segment_numbers left;
	struct err err;
	int dir = openat(b->root, "ledger", O_RDONLY | O_DIRECTORY);

	for (uint64_t n = 1; n <= 9; n++) {
		begin(b, n);
		put_message(b, n, "a@x.test", 1);
		end(b);
		retire(b, n);
	}
	ledger_trim(b->root, &l, clock_wall_ms());
	assert_int_equal(segment_list(dir, &left, &err), 0);
	assert_int_equal(left.count, 3);
	assert_int_equal(left.list[0], 7);
	free(left.list);
	ledger_trim(b->root, &l, clock_wall_ms() + 7200000);
	assert_int_equal(segment_list(dir, &left, &err), 0);
	assert_int_equal(left.count, 0);
	free(left.list);
	close(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    test_outcomes_are_counted_once_wherever_they_stand, setup, teardown),
		cmocka_unit_test_setup_teardown(test_faults_are_told, setup, teardown),
		cmocka_unit_test_setup_teardown(test_deferred_files, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    test_what_is_void_or_half_never_happened, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_copy_that_failed_is_a_hole, setup, teardown),
		cmocka_unit_test_setup_teardown(test_trim, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
