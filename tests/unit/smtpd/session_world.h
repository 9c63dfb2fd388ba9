/* session_world.h - a world around one smtpd: fake authd, qmgr, dnsd and keyd over socket pairs, a client that plays
 * a script, and the log caught.  Scripts are lines:
 *   > text     the client sends text and CRLF       >> text    sends the bytes: \r \n \t \0 \xHH \\ are understood
 *   < prefix   the next reply's last line           <~ text    that reply contains this
 *   <! text    that reply does not contain this     ! closed   the server closes without another byte
 *   X close    the client closes; X shut: only its sending side; X rst: with a reset
 *   T          TLS handshake as client              L text     a log line contains this
 *   L! text    no log line contains this            Q text     the last committed message contains this (escapes)
 *   Q= text    the message behind our own fields is exactly this
 *   V text     the envelope of the last committed message contains this (world_envelope)
 *   N n        messages committed in this case      R text     its recipients, "a@b c@d"
 *   E n        sessions left                        D          the server drains
 *   Z n text   sends text n times                   W ms       lets that time pass
 */
#ifndef TESTS_UNIT_SMTPD_SESSION_WORLD_H
#define TESTS_UNIT_SMTPD_SESSION_WORLD_H

#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/ipc/envelope.h"
#include "common/ipc/msg/authd.h"
#include "common/ipc/msg/dns.h"
#include "common/ipc/msg/keyd.h"
#include "common/ipc/msg/qmgr.h"
#include "common/log/log.h"
#include "common/net/addr.h"
#include "common/net/dns.h"
#include "smtpd/server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

enum { DEADLINE_MS = 10000, TICK_MS = 5, TEXT_MAX = 4 << 20 };

struct world {
	struct loop *loop;
	struct conf conf;
	struct smtpd_config smtpd_conf;
	struct smtpd_server server;
	struct ipc_edge *authd, *qmgr, *dnsd;
	struct ipc_conn *authd_side, *qmgr_side, *dnsd_side;
	struct loop_timer tick;
	bool is_full, is_empty;
	int log_fd, log_end;
	struct buf log;
	/* the client */
	int fd;
	SSL *ssl;
	struct buf in;    /* received, not yet expected */
	struct buf reply; /* the last reply */
	bool is_closed;
	/* what qmgr got */
	unsigned commits, begun, aborts;
	struct buf message, recipients, envelope;
	char sender[400];
	uint32_t flags;
	size_t own_fields; /* bytes of message that smtpd put before it */
	FILE *body_file;
	const char *where; /* the case, for failures */
};

/* How the fakes are to behave, by words in the case's settings: "begin=2", "commit=lost" ... */
struct fakes {
	unsigned begin, commit, body;
	bool commit_lost, commit_silent, begin_lost;
};
static struct fakes fakes;

static SSL_CTX *client_ctx;
static EVP_PKEY *key;
static struct buf certificate;

/* --- keyd ------------------------------------------------------------------------------------------ */

static void
make_key(void)
{
	X509 *x = X509_new();
	unsigned char *der = NULL;
	int len;

	key = EVP_EC_gen("P-256");
	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_gmtime_adj(X509_getm_notBefore(x), -3600);
	X509_gmtime_adj(X509_getm_notAfter(x), 86400);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
	    (const unsigned char *)"mail.example.test", -1, -1, 0);
	X509_set_issuer_name(x, X509_get_subject_name(x));
	X509_set_pubkey(x, key);
	assert_true(X509_sign(x, key, EVP_sha256()) > 0);
	len = i2d_X509(x, &der);
	buf_init(&certificate, 10000);
	buf_append(&certificate, der, (size_t)len);
	OPENSSL_free(der);
	X509_free(x);
}

static void
on_keyd_chain(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct ipc_out o;

	(void)arg;
	ipc_reply_init(&o);
	ipc_put_u32(&o, KEYD_OK);
	ipc_put_u32(&o, 1);
	ipc_put_bytes(&o, certificate.p, certificate.len);
	ipc_conn_reply(c, in->id, &o);
}

static void
on_keyd_sign(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	unsigned char sig[256];
	size_t len = sizeof sig;
	struct view text;
	struct ipc_out o;

	(void)arg;
	ipc_get_bytes(in);
	assert_int_equal(ipc_get_u32(in), 0x0403); /* ecdsa_secp256r1_sha256 */
	text = ipc_get_bytes(in);
	assert_int_equal(EVP_DigestSignInit(md, NULL, EVP_sha256(), NULL, key), 1);
	assert_int_equal(EVP_DigestSign(md, sig, &len, (const unsigned char *)text.p, text.len), 1);
	EVP_MD_CTX_free(md);
	ipc_reply_init(&o);
	ipc_put_u32(&o, KEYD_OK);
	ipc_put_bytes(&o, sig, len);
	ipc_conn_reply(c, in->id, &o);
}

static void
on_keyd_tickets(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	static const char secret[KEYD_TICKET_KEY] = "0123456789abcdef";
	struct ipc_out o;

	(void)arg;
	ipc_reply_init(&o);
	ipc_put_u32(&o, KEYD_OK);
	ipc_put_u32(&o, 600);
	ipc_put_bytes(&o, secret, sizeof secret);
	ipc_put_bytes(&o, secret, 0);
	ipc_conn_reply(c, in->id, &o);
}

static const struct ipc_handler keyd_rows[] = { { KEYD_CHAIN, "s", IPC_STATE_ANY, on_keyd_chain },
	{ KEYD_SIGN, "bub", IPC_STATE_ANY, on_keyd_sign },
	{ KEYD_TICKETS, "", IPC_STATE_ANY, on_keyd_tickets }, { 0, NULL, 0, NULL } };

/* --- authd ----------------------------------------------------------------------------------------- */

static void
put_recipient(struct ipc_out *o, unsigned transport, const char *address)
{
	ipc_put_u32(o, transport);
	ipc_put_str(o, "");
	ipc_put_str(o, address);
	ipc_put_u32(o, transport == TRANSPORT_VIRTUAL ? 5000 : 0);
	ipc_put_u32(o, transport == TRANSPORT_VIRTUAL ? 5000 : 0);
	/* "owned7@..." is a list with an owner of its own */
	ipc_put_str(o, strncmp(address, "owned", 5) == 0 ? address + 2 : "");
	ipc_put_u32(o, strncmp(address, "owned", 5) == 0 ? AUTHD_SENDER_LIST : AUTHD_SENDER_SAME);
}

static void
on_resolve(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	const char *address = ipc_get_str(in), *at = strrchr(address, '@');
	bool is_local = at == NULL || strcmp(at, "@example.test") == 0;
	uint32_t status = AUTHD_OK;
	struct ipc_out o;

	(void)arg;
	if (strncmp(address, "nobody", 6) == 0)
		status = AUTHD_NO;
	if (strncmp(address, "full", 4) == 0)
		status = AUTHD_FULL;
	if (strncmp(address, "temp", 4) == 0)
		status = AUTHD_TEMP;
	if (strncmp(address, "broken", 6) == 0) {
		ipc_reply_init(&o);
		ipc_put_u32(&o, 0);
		ipc_conn_reply(c, in->id, &o);
		return;
	}
	ipc_reply_init(&o);
	ipc_put_u32(&o, status);
	ipc_put_u32(&o, is_local);
	ipc_put_str(&o, "");
	if (status == AUTHD_OK && strncmp(address, "list@", 5) == 0) {
		put_recipient(&o, TRANSPORT_VIRTUAL, "alice@example.test");
		put_recipient(&o, TRANSPORT_VIRTUAL, "bob@example.test");
	} else if (status == AUTHD_OK && strncmp(address, "empty@", 6) != 0) {
		put_recipient(&o, is_local ? TRANSPORT_VIRTUAL : TRANSPORT_SMTP, address);
	}
	ipc_conn_reply(c, in->id, &o);
}

static void
reply_step(
    struct ipc_conn *c, uint32_t id, unsigned state, const char *challenge, const char *account)
{
	struct ipc_out o;

	ipc_reply_init(&o);
	ipc_put_u32(&o, state);
	ipc_put_bytes(&o, challenge, strlen(challenge));
	ipc_put_str(&o, account);
	ipc_put_bytes(&o, "", 0);
	ipc_put_str(&o, state == AUTHD_STEP_FAILED ? "authentication failure" : "");
	ipc_conn_reply(c, id, &o);
}

/* PLAIN alice/secret; LOGIN the same; SCRAM: any first message, then "final", then server data "v=proof". */
static char sasl_mechanism[32];
static unsigned sasl_steps, sasl_aborts;

static void
answer_sasl(struct ipc_conn *c, uint32_t id, struct view response, bool has_response)
{
	static const char good[] = "\0alice\0secret";
	const char *ask = "";

	if (strcmp(sasl_mechanism, "PLAIN") == 0 && has_response)
		reply_step(c, id,
		    view_eq(response, view_make(good, sizeof good - 1)) ? AUTHD_STEP_DONE
									: AUTHD_STEP_FAILED,
		    "", "alice@example.test");
	else if (strcmp(sasl_mechanism, "LOGIN") == 0 && sasl_steps == 2)
		reply_step(c, id,
		    view_eq_str(response, "secret") ? AUTHD_STEP_DONE : AUTHD_STEP_FAILED, "",
		    "alice@example.test");
	else if (strcmp(sasl_mechanism, "SCRAM-SHA-256") == 0 && sasl_steps == 1)
		reply_step(c, id, AUTHD_STEP_DONE, "v=proof", "alice@example.test");
	else {
		if (strcmp(sasl_mechanism, "LOGIN") == 0)
			ask = sasl_steps == 0 ? "Username:" : "Password:";
		if (strcmp(sasl_mechanism, "SCRAM-SHA-256") == 0)
			ask = "r=nonce";
		reply_step(c, id, AUTHD_STEP_MORE, ask, "");
	}
	if (has_response)
		sasl_steps++;
}

static void
on_sasl_start(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	unsigned flags;
	struct view initial;

	(void)arg;
	assert_int_not_equal(ipc_get_u32(in), 0);
	assert_string_equal(ipc_get_str(in), "smtp");
	snprintf(sasl_mechanism, sizeof sasl_mechanism, "%s", ipc_get_str(in));
	flags = ipc_get_u32(in);
	ipc_get_str(in);
	ipc_get_str(in);
	assert_string_equal(ipc_get_str(in), "mail.example.test");
	initial = ipc_get_bytes(in);
	sasl_steps = 0;
	if (view_eq_str(initial, "lost")) {
		reply_step(c, in->id, AUTHD_STEP_TEMP, "", "");
		return;
	}
	if (strcmp(sasl_mechanism, "LOGIN") == 0 && (flags & AUTHD_HAS_INITIAL))
		sasl_steps = 0;
	answer_sasl(c, in->id, initial, flags & AUTHD_HAS_INITIAL);
	if (strcmp(sasl_mechanism, "LOGIN") == 0)
		sasl_steps = (flags & AUTHD_HAS_INITIAL) ? 2 : 1;
}

static void
on_sasl_step(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	(void)arg;
	ipc_get_u32(in);
	answer_sasl(c, in->id, ipc_get_bytes(in), true);
}

static void
on_sasl_abort(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	(void)arg;
	(void)c;
	ipc_get_u32(in);
	sasl_aborts++;
}

static const struct ipc_handler authd_rows[] = { { AUTHD_RESOLVE, "sus", IPC_STATE_ANY,
						     on_resolve },
	{ AUTHD_SASL_START, "ussusssb", IPC_STATE_ANY, on_sasl_start },
	{ AUTHD_SASL_STEP, "ub", IPC_STATE_ANY, on_sasl_step },
	{ AUTHD_SASL_ABORT, "u", IPC_STATE_ANY, on_sasl_abort }, { 0, NULL, 0, NULL } };

/* --- qmgr ------------------------------------------------------------------------------------------ */

static void
on_begin(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct world *w = arg;
	char id[32];
	struct ipc_out o;

	if (fakes.begin_lost) {
		w->qmgr_side = NULL;
		ipc_conn_close(c);
		return;
	}
	snprintf(id, sizeof id, "4ZfakeId%u", ++w->begun);
	ipc_reply_init(&o);
	ipc_put_u32(&o, fakes.begin);
	ipc_put_str(&o, fakes.begin == QMGR_OK ? id : "");
	ipc_put_str(&o, fakes.begin == QMGR_OK ? "" : "no room");
	ipc_conn_reply(c, in->id, &o);
}

static void
on_body(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct world *w = arg;
	struct ipc_out o;

	assert_string_not_equal(ipc_get_str(in), "");
	if (w->body_file != NULL)
		fclose(w->body_file);
	w->body_file = tmpfile();
	ipc_reply_init(&o);
	ipc_put_u32(&o, fakes.body);
	ipc_put_fd(&o, fileno(w->body_file));
	ipc_conn_reply(c, in->id, &o);
}

static void
append_fd(struct buf *out, int fd, uint64_t whole, uint64_t skip)
{
	uint64_t size = whole - skip;
	char *to = buf_reserve(out, size);
	struct err err;

	assert_non_null(to);
	assert_int_equal(fd_pread_all(fd, to, size, (off_t)skip, &err), 0);
	out->len += size;
}

/* Other writers' descriptors on the body file would show here as they do to qmgr (DESIGN 4). */
static void
assert_no_writer(struct world *w)
{
	char path[64];
	int fd;

	snprintf(path, sizeof path, "/proc/self/fd/%d", fileno(w->body_file));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	close(fd);
}

/* "from=<s> flags=0x4 envid=E size=N filter= client=name[ip]:port helo= proto=" and for each recipient " to=<a> orig=<o> notify=3 orcpt=O" */
static void
world_envelope(struct buf *out, const struct envelope *e)
{
	buf_reset(out);
	buf_printf(out,
	    "from=<%s> flags=0x%x envid=%s filter=%s client=%s[%s]:%s helo=%s proto=%s login=%s",
	    e->sender, e->flags, e->envid, e->filter, e->client_name, e->client_address,
	    e->client_port, e->helo, e->protocol, e->sasl_username);
	for (size_t i = 0; i < e->nrcpts && i < 2000; i++)
		buf_printf(out, " to=<%s> orig=<%s> notify=%u orcpt=%s", e->rcpts[i].address,
		    e->rcpts[i].orig, e->rcpts[i].notify, e->rcpts[i].orcpt);
}

static void
take_message(struct world *w, struct view envelope, uint64_t headers, uint64_t body, uint64_t skip,
    bool is_file, const int *fds, unsigned nfds, int envelope_fd)
{
	struct arena arena;
	struct envelope e;
	struct err err;
	uint64_t size;

	arena_init(&arena, 64 << 20);
	if (envelope_fd >= 0) {
		char *p;

		assert_int_equal(memfd_check(envelope_fd, ENVELOPE_MAX_BYTES, &size, &err), 0);
		p = malloc(size);
		assert_int_equal(fd_pread_all(envelope_fd, p, size, 0, &err), 0);
		assert_int_equal(envelope_decode(view_make(p, size), &arena, &e, &err), 0);
		free(p);
	} else {
		assert_int_equal(envelope_decode(envelope, &arena, &e, &err), 0);
	}
	assert_int_equal(e.size, headers + body - skip);
	w->flags = e.flags;
	snprintf(w->sender, sizeof w->sender, "%s", e.sender);
	world_envelope(&w->envelope, &e);
	buf_reset(&w->recipients);
	for (size_t i = 0; i < e.nrcpts && i < 2000; i++)
		buf_printf(&w->recipients, "%s%s", i ? " " : "", e.rcpts[i].address);
	arena_clear(&arena);
	buf_reset(&w->message);
	assert_int_equal(nfds, is_file ? 1 : 2);
	assert_int_equal(memfd_check(fds[0], 1 << 20, &size, &err), 0);
	assert_int_equal(size, headers);
	append_fd(&w->message, fds[0], headers, 0);
	w->own_fields = headers;
	if (is_file) {
		assert_no_writer(w);
		append_fd(&w->message, fileno(w->body_file), body, skip);
	} else {
		assert_int_equal(memfd_check(fds[1], 1 << 20, &size, &err), 0);
		assert_int_equal(size, body);
		append_fd(&w->message, fds[1], body, skip);
	}
	w->commits++;
}

static void
on_commit(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct world *w = arg;
	int fds[3], envelope_fd = -1;
	unsigned nfds = 0;
	uint64_t headers, body, skip;
	struct view envelope;
	uint32_t where, is_file;
	struct ipc_out o;

	assert_string_not_equal(ipc_get_str(in), "");
	where = ipc_get_u32(in);
	envelope = ipc_get_bytes(in);
	headers = ipc_get_u64(in);
	body = ipc_get_u64(in);
	skip = ipc_get_u64(in);
	assert_true(skip <= body);
	is_file = ipc_get_u32(in);
	if (where == 1)
		envelope_fd = ipc_get_fd(in);
	while (ipc_in_more(in)) {
		assert_in_range(nfds, 0, 1);
		fds[nfds++] = ipc_get_fd(in);
	}
	if (!fakes.commit_lost && !fakes.commit_silent && fakes.commit == QMGR_OK)
		take_message(w, envelope, headers, body, skip, is_file, fds, nfds, envelope_fd);
	for (unsigned i = 0; i < nfds; i++)
		close(fds[i]);
	fd_close(&envelope_fd);
	if (fakes.commit_silent)
		return;
	if (fakes.commit_lost) {
		w->qmgr_side = NULL;
		ipc_conn_close(c);
		return;
	}
	ipc_reply_init(&o);
	ipc_put_u32(&o, fakes.commit);
	ipc_put_str(&o, fakes.commit == QMGR_OK ? "" : "write: No space left on device");
	ipc_conn_reply(c, in->id, &o);
}

static void
on_abort(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct world *w = arg;

	(void)c;
	assert_string_not_equal(ipc_get_str(in), "");
	w->aborts++;
}

static const struct ipc_handler qmgr_rows[] = { { QMGR_BEGIN, "qs", IPC_STATE_ANY, on_begin },
	{ QMGR_BODY, "sq", IPC_STATE_ANY, on_body },
	{ QMGR_COMMIT, QMGR_COMMIT_SIG, IPC_STATE_ANY, on_commit },
	{ QMGR_ABORT, "s", IPC_STATE_ANY, on_abort }, { 0, NULL, 0, NULL } };

/* --- dnsd ------------------------------------------------------------------------------------------ */

struct zone_row {
	const char *name;
	unsigned type;
	uint32_t status;
	const char *rdata;
	size_t len;
};
#define RDATA(s) (s), sizeof(s) - 1
static const struct zone_row zone[] = {
	{ "1.2.0.192.in-addr.arpa", DNS_PTR, DNS_OK, RDATA("\6client\7example\0") },
	{ "client.example", DNS_A, DNS_OK, RDATA("\xc0\0\2\1") },
	/* a name that does not lead back */
	{ "2.2.0.192.in-addr.arpa", DNS_PTR, DNS_OK, RDATA("\4liar\7example\0") },
	{ "liar.example", DNS_A, DNS_OK, RDATA("\xc0\0\2\x63") },
	/* a name that would forge a log line */
	{ "3.2.0.192.in-addr.arpa", DNS_PTR, DNS_OK, RDATA("\6a\r\nb]\n\7example\0") },
	{ "4.2.0.192.in-addr.arpa", DNS_PTR, DNS_FAIL, RDATA("") },
	{ "sender.example", DNS_MX, DNS_OK, RDATA("\0\12\2mx\6sender\7example\0") },
	{ "xn--bcher-kva.example", DNS_MX, DNS_OK, RDATA("\0\12\2mx\6sender\7example\0") },
	{ "onlya.example", DNS_MX, DNS_NODATA, RDATA("") },
	{ "onlya.example", DNS_A, DNS_OK, RDATA("\xc0\0\2\1") },
	{ "nomail.example", DNS_MX, DNS_OK, RDATA("\0\0\0") },
	{ "servfail.example", DNS_MX, DNS_FAIL, RDATA("") },
	{ "bogus.example", DNS_MX, DNS_BOGUS, RDATA("") },
	/* DNS lists of client addresses */
	{ "1.113.0.203.good.example", DNS_A, DNS_OK, RDATA("\x7f\0\0\2") },
	{ "2.113.0.203.bad.example", DNS_A, DNS_OK, RDATA("\x7f\0\0\2") },
	{ "4.113.0.203.failing.example", DNS_A, DNS_FAIL, RDATA("") },
	{ "4.113.0.203.bad.example", DNS_A, DNS_OK, RDATA("\x7f\0\0\2") },
	{ "4.113.0.203.worse.example", DNS_A, DNS_OK, RDATA("\x7f\0\0\2") },
	{ "9.113.0.203.bad.example", DNS_A, DNS_OK, RDATA("\x7f\0\0\11") },
};

static void
on_dns(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	const char *name = ipc_get_str(in);
	unsigned type = ipc_get_u32(in);
	const struct zone_row *hit = NULL;
	struct ipc_out o;

	(void)arg;
	if (strcmp(name, "5.2.0.192.in-addr.arpa") == 0 ||
	    strcmp(name, "4.113.0.203.silent.example") == 0)
		return; /* never answered */
	for (size_t i = 0; i < sizeof zone / sizeof zone[0]; i++)
		if (strcmp(zone[i].name, name) == 0 && zone[i].type == type)
			hit = &zone[i];
	ipc_reply_init(&o);
	ipc_put_u32(&o, hit != NULL ? hit->status : DNS_NXDOMAIN);
	ipc_put_u32(&o, 0);
	ipc_put_u32(&o, 60);
	ipc_put_str(&o, "");
	ipc_put_str(&o, "");
	if (hit != NULL && hit->status == DNS_OK)
		ipc_put_bytes(&o, hit->rdata, hit->len);
	ipc_conn_reply(c, in->id, &o);
}

static const struct ipc_handler dnsd_rows[] = { { DNS_QUERY, "su", IPC_STATE_ANY, on_dns },
	{ 0, NULL, 0, NULL } };

/* --- the world ------------------------------------------------------------------------------------- */

static void
on_side_closed(void *arg, struct ipc_conn *c, const struct err *why)
{
	struct world *w = arg;
	struct ipc_conn **sides[] = { &w->authd_side, &w->qmgr_side, &w->dnsd_side };

	(void)why;
	for (size_t i = 0; i < 3; i++)
		if (*sides[i] == c)
			*sides[i] = NULL;
}

static struct ipc_edge *
make_edge(struct world *w, const struct ipc_handler *rows, struct ipc_conn **side)
{
	struct ipc_conn_ops ops = { .handlers = rows, .on_close = on_side_closed };
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	*side = ipc_conn_new(w->loop, fds[1], &ops, w);
	return ipc_edge_new_fd(w->loop, fds[0], NULL, NULL);
}

static struct loop *the_loop;
static struct ipc_conn *keyd_side;

static void
on_tick(void *arg)
{
	loop_timer_start(arg, TICK_MS);
}

static void
on_full(void *arg, bool is_full)
{
	((struct world *)arg)->is_full = is_full;
}

static void
on_empty(void *arg)
{
	((struct world *)arg)->is_empty = true;
}

static void
read_settings(struct world *w, const char *settings)
{
	static const char base[] =
	    "myhostname = mail.example.test\nmynetworks = 127.0.0.0/8 [::1]/128\n"
	    "smtpd_error_sleep_time = 0s\nsmtpd_peername_timeout = 1s\n";
	struct err err;

	conf_init(&w->conf);
	if (conf_parse(&w->conf, view_of(base), "base", &err) < 0 ||
	    conf_parse(&w->conf, view_of(settings), "case", &err) < 0 ||
	    smtpd_config_read(&w->smtpd_conf, &w->conf, &err) < 0)
		fail_msg("%s: %s", w->where, err.text);
}

static void
world_init(struct world *w, const char *where, const char *settings)
{
	int fds[2];

	memset(w, 0, sizeof *w);
	w->where = where;
	w->fd = -1;
	w->loop = the_loop;
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	log_open(w->loop, fds[0], "smtpd");
	w->log_end = fds[0];
	w->log_fd = fds[1];
	read_settings(w, settings);
	buf_init(&w->log, TEXT_MAX);
	buf_init(&w->in, TEXT_MAX);
	buf_init(&w->reply, TEXT_MAX);
	buf_init(&w->message, 64 << 20);
	buf_init(&w->recipients, TEXT_MAX);
	buf_init(&w->envelope, TEXT_MAX);
	w->authd = make_edge(w, authd_rows, &w->authd_side);
	w->qmgr = make_edge(w, qmgr_rows, &w->qmgr_side);
	w->dnsd = make_edge(w, dnsd_rows, &w->dnsd_side);
	loop_timer_init(&w->tick, w->loop, on_tick, &w->tick);
	loop_timer_start(&w->tick, TICK_MS);
	w->server = (struct smtpd_server){ .loop = w->loop,
		.conf = &w->smtpd_conf,
		.authd = w->authd,
		.qmgr = w->qmgr,
		.dnsd = w->dnsd,
		.on_full = on_full,
		.on_empty = on_empty,
		.arg = w };
	smtpd_server_start(&w->server);
}

static void
drop_client(struct world *w)
{
	SSL_free(w->ssl);
	w->ssl = NULL;
	fd_close(&w->fd);
	buf_reset(&w->in);
	w->is_closed = false;
}

static void
world_clear(struct world *w)
{
	smtpd_server_clear(&w->server);
	drop_client(w);
	ipc_edge_free(w->authd);
	ipc_edge_free(w->qmgr);
	ipc_edge_free(w->dnsd);
	ipc_conn_close(w->authd_side);
	ipc_conn_close(w->qmgr_side);
	ipc_conn_close(w->dnsd_side);
	loop_timer_stop(&w->tick);
	for (int i = 0; i < 20; i++)
		loop_run_once(w->loop, false); /* what is left of finished streams */
	log_open(w->loop, -1, "smtpd");
	fd_close(&w->log_end);
	fd_close(&w->log_fd);
	smtpd_config_clear(&w->smtpd_conf);
	conf_clear(&w->conf);
	buf_clear(&w->log);
	buf_clear(&w->in);
	buf_clear(&w->reply);
	buf_clear(&w->message);
	buf_clear(&w->recipients);
	buf_clear(&w->envelope);
	if (w->body_file != NULL)
		fclose(w->body_file);
}

static void
read_log(struct world *w)
{
	char packet[LOG_PACKET_MAX + 1];
	ssize_t n;

	while ((n = recv(w->log_fd, packet, sizeof packet - 1, MSG_DONTWAIT)) > 0) {
		packet[n] = '\0';
		buf_printf(&w->log, "%s: %s\n", packet + 1, packet + 1 + strlen(packet + 1) + 1);
	}
}

static void
read_client(struct world *w)
{
	char chunk[16384];
	ssize_t n;

	if (w->fd < 0)
		return;
	for (;;) {
		if (w->ssl != NULL) {
			n = SSL_read(w->ssl, chunk, sizeof chunk);
			if (n <= 0 && SSL_get_error(w->ssl, (int)n) == SSL_ERROR_WANT_READ)
				return;
		} else {
			n = recv(w->fd, chunk, sizeof chunk, MSG_DONTWAIT);
			if (n < 0 && errno == EAGAIN)
				return;
		}
		if (n <= 0) {
			w->is_closed = true;
			return;
		}
		buf_append(&w->in, chunk, (size_t)n);
	}
}

static void
turn(struct world *w)
{
	loop_run_once(w->loop, true);
	read_client(w);
	read_log(w);
}

/* The end of the first whole reply in the input; 0 = not yet. */
static size_t
reply_end(const struct buf *in)
{
	size_t start = 0;

	for (size_t i = 0; i + 1 < in->len; i++) {
		if (in->p[i] != '\r' || in->p[i + 1] != '\n')
			continue;
		if (i - start >= 4 && in->p[start + 3] != '-')
			return i + 2;
		start = i + 2;
	}
	return 0;
}

static const char *
last_line(struct buf *reply)
{
	const char *text = buf_cstr(reply), *line = text;

	for (const char *p = text; *p != '\0'; p++)
		if (*p == '\n' && p[1] != '\0')
			line = p + 1;
	return line;
}

static void
expect_reply(struct world *w, const char *prefix)
{
	int64_t until = clock_mono_ms() + DEADLINE_MS;
	size_t end;

	while ((end = reply_end(&w->in)) == 0 && !w->is_closed && clock_mono_ms() < until)
		turn(w);
	buf_reset(&w->reply);
	if (end == 0)
		fail_msg("%s: no reply (%s): wanted \"%s\"; log:\n%s", w->where,
		    w->is_closed ? "closed" : "time-out", prefix, buf_cstr(&w->log));
	buf_append(&w->reply, w->in.p, end);
	buf_consume(&w->in, end);
	if (strncmp(last_line(&w->reply), prefix, strlen(prefix)) != 0)
		fail_msg("%s: wanted \"%s\", got \"%s\"; log:\n%s", w->where, prefix,
		    buf_cstr(&w->reply), buf_cstr(&w->log));
}

static void
expect_closed(struct world *w)
{
	int64_t until = clock_mono_ms() + DEADLINE_MS;

	while (!w->is_closed && clock_mono_ms() < until)
		turn(w);
	if (!w->is_closed || w->in.len > 0)
		fail_msg("%s: wanted the end, got \"%s\"", w->where, buf_cstr(&w->in));
}

static void
send_bytes(struct world *w, const char *p, size_t len)
{
	int64_t until = clock_mono_ms() + DEADLINE_MS;

	while (len > 0 && clock_mono_ms() < until) {
		ssize_t n;

		if (w->ssl != NULL)
			n = SSL_write(w->ssl, p, (int)(len < 16384 ? len : 16384));
		else
			n = send(w->fd, p, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0) {
			p += n;
			len -= (size_t)n;
			continue;
		}
		turn(w);
		if (w->is_closed)
			return; /* the server had enough */
	}
	assert_int_equal(len, 0);
}

static void
unescape(struct buf *out, const char *text)
{
	for (const char *p = text; *p != '\0'; p++) {
		unsigned code;

		if (*p != '\\') {
			buf_append_byte(out, *p);
			continue;
		}
		p++;
		if (*p == 'x' && sscanf(p + 1, "%2x", &code) == 1) {
			buf_append_byte(out, (int)code);
			p += 2;
		} else {
			static const char from[] = "rnt0\\", to[] = "\r\n\t\0\\";
			const char *at = strchr(from, *p);

			assert_non_null(at);
			buf_append_byte(out, to[at - from]);
		}
	}
}

static void
send_escaped(struct world *w, const char *text, long times)
{
	struct buf b, all;

	buf_init(&b, TEXT_MAX);
	buf_init(&all, 64 << 20);
	unescape(&b, text);
	while (times-- > 0)
		buf_append_view(&all, buf_view(&b));
	send_bytes(w, all.p, all.len);
	buf_clear(&b);
	buf_clear(&all);
}

static void
client_connect(struct world *w, const char *ip)
{
	int64_t until = clock_mono_ms() + DEADLINE_MS;
	struct sockaddr_storage peer;
	int fds[2];

	drop_client(w);
	peer = (struct sockaddr_storage){ .ss_family = AF_UNIX };
	if (strcmp(ip, "unix") != 0)
		assert_true(addr_parse(view_of(ip), &peer));
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	w->fd = fds[0];
	while (w->is_full && clock_mono_ms() < until)
		turn(w); /* the certificate is on its way */
	assert_false(w->is_full);
	smtpd_server_accept(&w->server, fds[1], &peer);
}

static void
client_tls(struct world *w)
{
	int64_t until = clock_mono_ms() + DEADLINE_MS;
	int r;

	w->ssl = SSL_new(client_ctx);
	SSL_set_fd(w->ssl, w->fd);
	while ((r = SSL_connect(w->ssl)) != 1 && clock_mono_ms() < until) {
		if (SSL_get_error(w->ssl, r) != SSL_ERROR_WANT_READ)
			fail_msg("%s: TLS handshake failed; log:\n%s", w->where, buf_cstr(&w->log));
		loop_run_once(w->loop, true);
		read_log(w);
	}
	assert_int_equal(r, 1);
}

static void
expect_log(struct world *w, const char *text, bool is_there)
{
	int64_t until = clock_mono_ms() + (is_there ? DEADLINE_MS : 0);

	while (strstr(buf_cstr(&w->log), text) == NULL && clock_mono_ms() < until)
		turn(w);
	if ((strstr(buf_cstr(&w->log), text) != NULL) != is_there)
		fail_msg("%s: log %s \"%s\":\n%s", w->where, is_there ? "lacks" : "has", text,
		    buf_cstr(&w->log));
}

static void
expect_message(struct world *w, const char *text, bool whole)
{
	struct buf b;
	struct view m = buf_view(&w->message);

	buf_init(&b, TEXT_MAX);
	unescape(&b, text);
	if (whole)
		m = view_make(m.p + w->own_fields, m.len - w->own_fields);
	if (whole ? !view_eq(m, buf_view(&b)) : view_find(m, buf_view(&b)) == NULL)
		fail_msg("%s: message lacks \"%s\":\n%s", w->where, text, buf_cstr(&w->message));
	buf_clear(&b);
}

static void
client_away(struct world *w, const char *how)
{
	if (strcmp(how, "shut") == 0) {
		shutdown(w->fd, SHUT_WR);
		return;
	}
	drop_client(w);
	turn(w);
}

static void
wait_sessions(struct world *w, size_t n)
{
	int64_t until = clock_mono_ms() + DEADLINE_MS;

	while (w->server.nsessions != n && clock_mono_ms() < until)
		turn(w);
	assert_int_equal(w->server.nsessions, n);
}

static void
play_line(struct world *w, const char *line)
{
	const char *rest = strchr(line, ' ');
	char *end;

	rest = rest != NULL ? rest + 1 : "";
	if (strncmp(line, ">>", 2) == 0)
		send_escaped(w, rest, 1);
	else if (line[0] == '>') {
		struct buf b;

		buf_init(&b, TEXT_MAX);
		buf_printf(&b, "%s\r\n", rest);
		send_bytes(w, b.p, b.len);
		buf_clear(&b);
	} else if (strncmp(line, "<~", 2) == 0)
		assert_non_null(strstr(buf_cstr(&w->reply), rest));
	else if (strncmp(line, "<!", 2) == 0)
		assert_null(strstr(buf_cstr(&w->reply), rest));
	else if (line[0] == '<')
		expect_reply(w, rest);
	else if (line[0] == '!')
		expect_closed(w);
	else if (line[0] == 'X')
		client_away(w, rest);
	else if (line[0] == 'T')
		client_tls(w);
	else if (line[0] == 'L')
		expect_log(w, rest, line[1] != '!');
	else if (line[0] == 'Q')
		expect_message(w, rest, line[1] == '=');
	else if (line[0] == 'N')
		assert_int_equal(w->commits, strtoul(rest, NULL, 10));
	else if (line[0] == 'R')
		assert_string_equal(buf_cstr(&w->recipients), rest);
	else if (line[0] == 'V') {
		if (strstr(buf_cstr(&w->envelope), rest) == NULL)
			fail_msg("%s: envelope lacks \"%s\": %s", w->where, rest,
			    buf_cstr(&w->envelope));
	} else if (line[0] == 'E')
		wait_sessions(w, strtoul(rest, NULL, 10));
	else if (line[0] == 'D')
		smtpd_server_drain(&w->server);
	else if (line[0] == 'C')
		client_connect(w, rest);
	else if (line[0] == 'Z') {
		long n = strtol(rest, &end, 10);

		send_escaped(w, end + 1, n);
	} else if (line[0] == 'W') {
		int64_t until = clock_mono_ms() + strtol(rest, NULL, 10);

		while (clock_mono_ms() < until)
			turn(w);
	} else {
		fail_msg("%s: \"%s\"?", w->where, line);
	}
}

static void
play(struct world *w, const char *script)
{
	char *copy = x_strdup(script), *save = NULL;

	for (char *line = strtok_r(copy, "\n", &save); line != NULL;
	     line = strtok_r(NULL, "\n", &save))
		play_line(w, line);
	free(copy);
}

static int
group_setup(void **state)
{
	struct ipc_conn_ops ops = { .handlers = keyd_rows };
	struct err err;
	int fds[2];

	(void)state;
	make_key();
	the_loop = loop_new();
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	keyd_side = ipc_conn_new(the_loop, fds[1], &ops, NULL);
	if (tls_init(the_loop, ipc_edge_new_fd(the_loop, fds[0], NULL, NULL), &err) < 0)
		fail_msg("%s", err.text);
	client_ctx = SSL_CTX_new(TLS_client_method());
	return 0;
}

#endif
