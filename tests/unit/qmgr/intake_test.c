/* smtpd's edge, with an smtpd that lies. */
#include "tests/unit/qmgr/fixture.h"

#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const struct fix_mail plain = { .sender = "alice@example.test",
	.headers = "Received: x\r\n",
	.body = "Subject: hi\r\n\r\nhello\r\n",
	.rcpts = { "bob@example.test" } };

struct parts {
	char id[QUEUE_ID_TEXT];
	struct buf envelope;
	int headers, body;
	uint64_t headers_len, body_len;
};

static void
parts_make(struct fixture *f, struct parts *p)
{
	struct fix_reply r;

	fix_begin(f, &r);
	assert_int_equal(r.status, QMGR_OK);
	memcpy(p->id, r.id, sizeof p->id);
	buf_init(&p->envelope, 60000);
	fix_envelope(&plain, &p->envelope);
	p->headers_len = strlen(plain.headers);
	p->body_len = strlen(plain.body);
	p->headers = memfd_sealed("h", plain.headers, p->headers_len, NULL);
	p->body = memfd_sealed("b", plain.body, p->body_len, NULL);
}

static void
parts_clear(struct parts *p)
{
	buf_clear(&p->envelope);
	close(p->headers);
	if (p->body >= 0)
		close(p->body);
}

static enum qmgr_status
parts_commit(struct fixture *f, struct parts *p)
{
	struct fix_reply r;

	fix_send_commit(
	    f, p->id, buf_view(&p->envelope), p->headers_len, p->body_len, p->headers, p->body, &r);
	fix_wait(f, &r);
	assert_false(r.is_null);
	return (enum qmgr_status)r.status;
}

static void
test_ids_grow(void **state)
{
	struct fixture *f = *state;
	char last[QUEUE_ID_TEXT] = "";

	fix_start(f);
	for (int i = 0; i < 100; i++) {
		struct fix_reply r;

		if (i == 50)
			fix_restart(f);
		fix_begin(f, &r);
		assert_int_equal(r.status, QMGR_OK);
		assert_true(strcmp(last, r.id) < 0);
		memcpy(last, r.id, sizeof last);
	}
}

static void
test_unsealed(void **state)
{
	struct fixture *f = *state;
	struct parts p;

	fix_start(f);
	for (int i = 0; i < 2; i++) {
		int fd = memfd_create("open", MFD_CLOEXEC | MFD_ALLOW_SEALING);

		parts_make(f, &p);
		assert_int_equal(write(fd, plain.body, p.body_len), p.body_len);
		if (i == 0) /* sealed, but not against writing */
			assert_int_equal(
			    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
		close(p.body);
		p.body = fd;
		assert_int_equal(parts_commit(f, &p), QMGR_BAD);
		parts_clear(&p);
	}
	assert_int_equal(queue_count(f->queue), 0);
	fix_restart(f);
	assert_int_equal(queue_count(f->queue), 0);
}

static void
test_wrong_sizes(void **state)
{
	struct fixture *f = *state;
	struct parts p;

	fix_start(f);
	for (int i = 0; i < 6; i++) {
		parts_make(f, &p);
		switch (i) {
		case 0:
			p.body_len++;
			break;
		case 1:
			p.body_len--;
			break;
		case 2:
			p.headers_len++;
			break;
		case 3:
			p.body_len = UINT64_MAX;
			break;
		case 4: /* an envelope cut short */
			p.envelope.len--;
			break;
		default: /* somebody else's id */
			p.id[3] ^= 1;
		}
		assert_int_equal(parts_commit(f, &p), QMGR_BAD);
		parts_clear(&p);
	}
	assert_int_equal(queue_count(f->queue), 0);
}

static void
test_id_only_once(void **state)
{
	struct fixture *f = *state;
	struct parts p;
	struct ipc_out o;

	fix_start(f);
	parts_make(f, &p);
	assert_int_equal(parts_commit(f, &p), QMGR_OK);
	assert_int_equal(parts_commit(f, &p), QMGR_BAD);
	parts_clear(&p);
	parts_make(f, &p);
	ipc_out_init(&o, QMGR_ABORT);
	ipc_put_str(&o, p.id);
	ipc_conn_send(f->smtpd, &o);
	assert_int_equal(parts_commit(f, &p), QMGR_BAD);
	parts_clear(&p);
	assert_int_equal(queue_count(f->queue), 1);
}

/* An smtpd must not pass its message off as a notice of ours: that would never bounce. */
static void
test_no_forged_notice(void **state)
{
	struct fixture *f = *state;
	struct fix_mail m = plain;
	struct parts p;

	fix_start(f);
	parts_make(f, &p);
	buf_reset(&p.envelope);
	m.flags = ENVELOPE_BOUNCE;
	fix_envelope(&m, &p.envelope);
	assert_int_equal(parts_commit(f, &p), QMGR_BAD);
	parts_clear(&p);
}

static int
body_file(struct fixture *f, const char *id)
{
	struct fix_reply r = { .fd = -1 };
	struct ipc_out o;

	ipc_out_init(&o, QMGR_BODY);
	ipc_put_str(&o, id);
	ipc_put_u64(&o, 1000);
	ipc_conn_call(f->smtpd, &o, QMGR_BODY_SIG, FIX_TIMEOUT_MS, fix_on_fd, &r);
	fix_wait(f, &r);
	if (r.status == QMGR_OK)
		return r.fd;
	close(r.fd);
	return -1;
}

static void
test_body_still_open(void **state)
{
	struct fixture *f = *state;
	struct parts p;
	char path[64];
	int fd, copy;

	fix_start(f);
	parts_make(f, &p);
	close(p.body);
	p.body = -1;
	fd = body_file(f, p.id);
	snprintf(path, sizeof path, "bodies/%s", p.id);
	assert_true(fix_exists(f, path));
	assert_int_equal(body_file(f, p.id), -1); /* one a message */
	assert_int_equal(write(fd, plain.body, p.body_len), p.body_len);
	copy = dup(fd);
	close(fd);
	assert_int_equal(parts_commit(f, &p), QMGR_BAD); /* somebody can still write */
	close(copy);
	fix_run(f, fix_is_quiet);
	assert_false(fix_exists(f, path));
	parts_clear(&p);
	assert_int_equal(queue_count(f->queue), 0);
}

static void
test_body_of_wrong_size(void **state)
{
	struct fixture *f = *state;
	struct parts p;
	int fd;

	fix_start(f);
	parts_make(f, &p);
	close(p.body);
	p.body = -1;
	fd = body_file(f, p.id);
	assert_int_equal(write(fd, "short", 5), 5);
	close(fd);
	assert_int_equal(parts_commit(f, &p), QMGR_BAD);
	parts_clear(&p);
}

/* What was begun goes with the connection, and what a crash left goes at the next start. */
static void
test_orphans(void **state)
{
	struct fixture *f = *state;
	struct parts p;
	char path[64];
	int fd;

	fix_start(f);
	parts_make(f, &p);
	fd = body_file(f, p.id);
	snprintf(path, sizeof path, "bodies/%s", p.id);
	assert_true(fix_exists(f, path));
	close(fd);
	ipc_conn_close(f->smtpd);
	f->smtpd = NULL;
	fix_turn(f, 20);
	fix_run(f, fix_is_quiet);
	assert_false(fix_exists(f, path));
	parts_clear(&p);
	fix_stop(f);
	fd = openat(f->root_fd, path, O_WRONLY | O_CREAT, 0600);
	close(fd);
	fix_start(f);
	assert_false(fix_exists(f, path));
}

/* A reload in the middle of a message: the next life takes what was begun in this one, each id once. */
static void
test_ids_of_a_former_life(void **state)
{
	struct fixture *f = *state;
	struct parts p, q;
	char id[QUEUE_ID_TEXT], path[64];
	struct fix_reply r;
	int fd;

	fix_start(f);
	fix_commit(f, &plain, id, &r);
	fix_wait(f, &r);
	parts_make(f, &p);
	parts_make(f, &q);
	fix_restart(f);
	assert_int_equal(parts_commit(f, &p), QMGR_OK);
	assert_int_equal(parts_commit(f, &p), QMGR_BAD);
	/* a body that is to be a file */
	fd = body_file(f, q.id);
	assert_int_equal(write(fd, plain.body, q.body_len), q.body_len);
	close(fd);
	close(q.body);
	q.body = -1;
	assert_int_equal(parts_commit(f, &q), QMGR_OK);
	snprintf(path, sizeof path, "bodies/%s", q.id);
	assert_true(fix_exists(f, path));
	/* one that is in the queue already */
	q.body = memfd_sealed("b", plain.body, q.body_len, NULL);
	memcpy(q.id, id, sizeof q.id);
	assert_int_equal(parts_commit(f, &q), QMGR_BAD);
	assert_int_equal(queue_count(f->queue), 3);
	fix_restart(f);
	assert_int_equal(queue_count(f->queue), 3);
	parts_clear(&p);
	parts_clear(&q);
}

/* An id that nobody gave: of this life, or of one to come. */
static void
test_ids_that_were_not_given(void **state)
{
	struct fixture *f = *state;
	struct queue_id id;
	struct parts p;

	fix_start(f);
	parts_make(f, &p);
	assert_true(queue_id_parse(view_of(p.id), &id));
	for (uint32_t ahead = 0; ahead < 2; ahead++) {
		queue_id_format((struct queue_id){ id.us + 1, id.life + ahead }, p.id);
		assert_int_equal(parts_commit(f, &p), QMGR_BAD);
	}
	assert_int_equal(queue_count(f->queue), 0);
	parts_clear(&p);
}

/* A message too large for the journal; the body is the caller's to free. */
static struct fix_mail
large_mail(void)
{
	enum { BYTES = 900000 };
	char *big = x_malloc(BYTES + 1);
	struct fix_mail m = plain;

	memset(big, 'x', BYTES);
	memcpy(big + BYTES - 2, "\r\n", 3);
	m.body = big;
	return m;
}

/* Body by memfd, envelope by descriptor. */
static enum qmgr_status
large_commit(struct fixture *f, struct parts *p, const struct fix_mail *m)
{
	struct fix_reply r = { 0 };
	struct ipc_out o;
	int envelope;

	buf_reset(&p->envelope);
	fix_envelope(m, &p->envelope);
	envelope = memfd_sealed("e", p->envelope.p, p->envelope.len, NULL);
	close(p->body);
	p->body_len = strlen(m->body);
	p->body = memfd_sealed("b", m->body, p->body_len, NULL);
	ipc_out_init(&o, QMGR_COMMIT);
	ipc_put_str(&o, p->id);
	ipc_put_u32(&o, 1);
	ipc_put_bytes(&o, "", 0);
	ipc_put_u64(&o, p->headers_len);
	ipc_put_u64(&o, p->body_len);
	ipc_put_u64(&o, 0);
	ipc_put_u32(&o, 0);
	ipc_put_fd(&o, envelope);
	ipc_put_fd(&o, p->headers);
	ipc_put_fd(&o, p->body);
	ipc_conn_call(f->smtpd, &o, "us", FIX_TIMEOUT_MS, fix_on_status, &r);
	fix_wait(f, &r);
	close(envelope);
	return (enum qmgr_status)r.status;
}

static void
test_large(void **state)
{
	struct fixture *f = *state;
	struct fix_mail m = large_mail();
	char path[64];
	struct parts p;
	struct fix_job *j;

	fix_start(f);
	parts_make(f, &p);
	assert_int_equal(large_commit(f, &p, &m), QMGR_OK);
	snprintf(path, sizeof path, "bodies/%s", p.id);
	assert_true(fix_exists(f, path));
	fix_restart(f);
	j = fix_next_job(f);
	assert_int_equal(strlen(j->text), strlen(m.headers) + strlen(m.body));
	assert_string_equal(j->text + strlen(m.headers), m.body);
	fix_answer(j, 0, DELIVERY_SENT, "2.0.0", "ok");
	fix_run(f, fix_is_empty);
	assert_false(fix_exists(f, path));
	parts_clear(&p);
	free((char *)m.body);
}

/* In place of the C library's: a disk that takes its time to remove a file. */
static atomic_bool unlink_is_slow;

int
unlinkat(int fd, const char *path, int flags)
{
	const struct timespec a_while = { .tv_nsec = 30000000 };

	if (unlink_is_slow)
		nanosleep(&a_while, NULL);
	return (int)syscall(SYS_unlinkat, fd, path, flags);
}

/* smtpd had asked for a file and then changed the message into a new body (milters, body_checks): the file goes before qmgr
 * makes its own of the same name. */
static void
test_large_beside_its_file(void **state)
{
	struct fixture *f = *state;
	struct fix_mail m = large_mail();
	struct parts p;

	fix_start(f);
	parts_make(f, &p);
	close(body_file(f, p.id));
	unlink_is_slow = true;
	assert_int_equal(large_commit(f, &p, &m), QMGR_OK);
	unlink_is_slow = false;
	parts_clear(&p);
	free((char *)m.body);
}

/* Where the message goes on behind its headers: what was before is left out. */
static void
test_body_offset(void **state)
{
	struct fixture *f = *state;
	struct fix_mail m = plain;
	struct parts p;
	struct ipc_out o;
	struct fix_reply r = { 0 };
	struct fix_job *j;

	fix_start(f);
	parts_make(f, &p);
	buf_reset(&p.envelope);
	m.body = "hello\r\n";
	fix_envelope(&m, &p.envelope);
	ipc_out_init(&o, QMGR_COMMIT);
	ipc_put_str(&o, p.id);
	ipc_put_u32(&o, 0);
	ipc_put_bytes(&o, p.envelope.p, p.envelope.len);
	ipc_put_u64(&o, p.headers_len);
	ipc_put_u64(&o, p.body_len);
	ipc_put_u64(&o, p.body_len - 7);
	ipc_put_u32(&o, 0);
	ipc_put_fd(&o, p.headers);
	ipc_put_fd(&o, p.body);
	ipc_conn_call(f->smtpd, &o, "us", FIX_TIMEOUT_MS, fix_on_status, &r);
	fix_wait(f, &r);
	assert_int_equal(r.status, QMGR_OK);
	j = fix_next_job(f);
	assert_string_equal(j->text, "Received: x\r\nhello\r\n");
	fix_restart(f);
	assert_string_equal(fix_next_job(f)->text, "Received: x\r\nhello\r\n");
	parts_clear(&p);
}

static void
test_malformed_ends_connection(void **state)
{
	struct fixture *f = *state;
	struct ipc_out o;

	fix_start(f);
	ipc_out_init(&o, QMGR_COMMIT);
	ipc_put_u32(&o, 1);
	ipc_conn_send(f->smtpd, &o);
	for (int64_t end = clock_mono_ms() + FIX_TIMEOUT_MS;
	     f->smtpd != NULL && clock_mono_ms() < end;)
		loop_run_once(f->loop, false);
	assert_null(f->smtpd);
}

static unsigned answers;

static void
on_many(void *arg, struct ipc_in *in)
{
	(void)arg;
	assert_non_null(in);
	assert_int_equal(ipc_get_u32(in), QMGR_OK);
	answers++;
}

static bool
all_answered(struct fixture *f)
{
	(void)f;
	return answers == 1500;
}

/* More commits at once than are worked on at once. */
static void
test_back_pressure(void **state)
{
	struct fixture *f = *state;
	struct parts p;

	f->qc.content_limit = 50;
	f->qc.active_limit = 20;
	fix_start(f);
	answers = 0;
	for (int i = 0; i < 1500; i++) {
		struct ipc_out o;

		parts_make(f, &p);
		ipc_out_init(&o, QMGR_COMMIT);
		ipc_put_str(&o, p.id);
		ipc_put_u32(&o, 0);
		ipc_put_bytes(&o, p.envelope.p, p.envelope.len);
		ipc_put_u64(&o, p.headers_len);
		ipc_put_u64(&o, p.body_len);
		ipc_put_u64(&o, 0);
		ipc_put_u32(&o, 0);
		ipc_put_fd(&o, p.headers);
		ipc_put_fd(&o, p.body);
		ipc_conn_call(f->smtpd, &o, "us", FIX_TIMEOUT_MS, on_many, NULL);
		parts_clear(&p);
	}
	fix_run(f, all_answered);
	assert_int_equal(queue_count(f->queue), 1500);
	assert_true(f->queue->active <= 20);
	assert_true(f->queue->contents <= 60);
	for (int64_t end = clock_mono_ms() + FIX_TIMEOUT_MS; queue_count(f->queue) > 0;) {
		assert_true(clock_mono_ms() < end);
		fix_answer_all(f, DELIVERY_SENT, "2.0.0", "ok");
		loop_run_once(f->loop, false);
	}
	assert_int_equal(f->njobs, 1500);
}

/* --- recipients with senders of their own --------------------------------------------------------------------- */
static const struct fix_mail lists = { .sender = "alice@example.test",
	.headers = "Received: x\r\n",
	.body = "Subject: hi\r\n\r\nhello\r\n",
	.rcpts = { "bob@example.test", "smtp:a@far.test", "smtp:b@far.test", "smtp:c@far.test" },
	.senders = { NULL, "owner-l@d.test", "owner-m@d.test", "owner-l@d.test" } };

/* One job for each message, of the right sender and to the right recipients. */
static void
check_parts(struct fixture *f, const char *first_id, const char *text)
{
	unsigned seen = 0;

	for (int i = 0; i < 3; i++) {
		struct fix_job *j = fix_next_job(f);
		bool is_first = strcmp(j->sender, "alice@example.test") == 0;
		bool is_l = strcmp(j->sender, "owner-l@d.test") == 0;

		assert_true(is_first || is_l || strcmp(j->sender, "owner-m@d.test") == 0);
		assert_int_equal(is_first, strcmp(j->id, first_id) == 0);
		seen |= is_first ? 1U : is_l ? 2U : 4U;
		assert_int_equal(j->nrcpts, is_l ? 2 : 1);
		assert_string_equal(j->rcpts[0].address, is_first ? "bob@example.test"
							 : is_l   ? "a@far.test"
								  : "b@far.test");
		assert_string_equal(j->text, text);
		fix_answer(j, 0, DELIVERY_SENT, "2.0.0", "ok");
		if (is_l)
			fix_answer(j, 1, DELIVERY_SENT, "2.0.0", "ok");
	}
	assert_int_equal(seen, 7);
}

static void
test_senders(void **state)
{
	struct fixture *f = *state;
	char id[QUEUE_ID_TEXT], text[200];

	snprintf(text, sizeof text, "%s%s", lists.headers, lists.body);
	for (int restarted = 0; restarted < 2; restarted++) {
		fix_start(f);
		fix_send(f, &lists, id);
		assert_int_equal(queue_count(f->queue), 3);
		if (restarted)
			fix_restart(f);
		check_parts(f, id, text);
		fix_run(f, fix_is_empty);
		fix_stop(f);
	}
	fix_start(f);
	assert_int_equal(queue_count(f->queue), 0);
}

/* All recipients have the same: one message, with that sender. */
static void
test_one_sender(void **state)
{
	struct fixture *f = *state;
	struct fix_mail m = lists;
	char id[QUEUE_ID_TEXT];

	m.senders[0] = m.senders[2] = m.senders[1];
	fix_start(f);
	fix_send(f, &m, id);
	assert_int_equal(queue_count(f->queue), 1);
	fix_restart(f);
	assert_string_equal(fix_next_job(f)->sender, "owner-l@d.test");
	assert_string_equal(fix_next_job(f)->id, id);
}

/* A crash while the group is written: whatever of it is on disk, all of the messages are there, or none. */
static void
test_senders_torn(void **state)
{
	struct fixture *f = *state;
	static char whole[1 << 16];
	char id[QUEUE_ID_TEXT], name[64] = "journal/";
	struct segment_header h;
	ssize_t len;
	int fd, counts[4] = { 0 };

	fix_start(f);
	h = journal_first(f->queue->journal)->header;
	fix_send(f, &lists, id);
	fix_stop(f);
	segment_name(h.number, name + strlen(name));
	fd = openat(f->root_fd, name, O_RDWR);
	len = pread(fd, whole, sizeof whole, 0);
	assert_true(len > 0);
	while (len > 0 && whole[len - 1] == '\0')
		len--;
	close(fd);
	for (ssize_t at = len - 1000; at <= len; at += at < len && len - at < 61 ? len - at : 61) {
		fix_files(f, "journal", true);
		fd = openat(f->root_fd, name, O_RDWR | O_CREAT, 0600);
		assert_true(fd >= 0);
		assert_int_equal(pwrite(fd, whole, (size_t)at, 0), at);
		assert_int_equal(ftruncate(fd, (off_t)h.size), 0);
		close(fd);
		fix_start(f);
		assert_true(queue_count(f->queue) == 0 || queue_count(f->queue) == 3);
		counts[queue_count(f->queue)]++;
		fix_stop(f);
	}
	assert_true(counts[0] > 0 && counts[3] > 0);
}

/* A large body has a name for each of the messages. */
static void
test_senders_large(void **state)
{
	struct fixture *f = *state;
	struct fix_mail m = large_mail();
	struct message *each = NULL;
	struct stat st;
	struct parts p;
	char *text;
	int files = 0;

	memcpy(m.rcpts, lists.rcpts, sizeof m.rcpts);
	memcpy(m.senders, lists.senders, sizeof m.senders);
	fix_start(f);
	parts_make(f, &p);
	assert_int_equal(large_commit(f, &p, &m), QMGR_OK);
	fix_restart(f);
	while ((each = queue_next(f->queue, each)) != NULL) {
		char id[QUEUE_ID_TEXT], path[64];

		queue_id_format(each->id, id);
		snprintf(path, sizeof path, "bodies/%s", id);
		assert_int_equal(fstatat(f->root_fd, path, &st, 0), 0);
		assert_int_equal(st.st_nlink, 3);
		files++;
	}
	assert_int_equal(files, 3);
	text = x_asprintf("%s%s", m.headers, m.body);
	check_parts(f, p.id, text);
	free(text);
	fix_run(f, fix_is_empty);
	assert_int_equal(fix_files(f, "bodies", false), 0);
	parts_clear(&p);
	free((char *)m.body);
}

/* More than a group holds is nothing that smtpd sends. */
static void
test_too_many_senders(void **state)
{
	struct fixture *f = *state;
	char each[ENVELOPE_MAX_SENDERS + 1][16];
	struct recipient rcpts[ENVELOPE_MAX_SENDERS + 1];
	struct parts p;
	struct envelope e = {
		.sender = "alice@example.test", .arrival_ms = clock_wall_ms(), .rcpts = rcpts
	};

	fix_start(f);
	for (size_t n = ENVELOPE_MAX_SENDERS + 1; n >= ENVELOPE_MAX_SENDERS; n--) {
		parts_make(f, &p);
		e.size = p.headers_len + p.body_len;
		for (size_t i = 0; i < n; i++) {
			snprintf(each[i], sizeof each[i], "o%zu@d.test", i);
			rcpts[i] = (struct recipient){
				.address = each[i], .transport = TRANSPORT_SMTP, .sender = each[i]
			};
		}
		e.nrcpts = n;
		buf_reset(&p.envelope);
		assert_int_equal(envelope_encode(&e, &p.envelope), 0);
		assert_int_equal(
		    parts_commit(f, &p), n > ENVELOPE_MAX_SENDERS ? QMGR_BAD : QMGR_OK);
		parts_clear(&p);
	}
	fix_restart(f);
	assert_int_equal(queue_count(f->queue), ENVELOPE_MAX_SENDERS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_ids_grow, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_unsealed, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_wrong_sizes, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_id_only_once, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_no_forged_notice, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_body_still_open, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_body_of_wrong_size, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_orphans, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_ids_of_a_former_life, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(
		    test_ids_that_were_not_given, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_large, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(
		    test_large_beside_its_file, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_body_offset, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_senders, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_one_sender, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_senders_torn, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_senders_large, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_too_many_senders, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(
		    test_malformed_ends_connection, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_back_pressure, fix_setup, fix_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
