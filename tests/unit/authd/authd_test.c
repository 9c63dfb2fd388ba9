/* The whole of authd without its cages: loop, nurseries, workers, database; socket pairs play master and the fronts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "authd/authd.h"
#include "authd/sasl_exchange.h"
#include "common/base/clock.h"
#include "common/base/codec.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/ipc/conn.h"
#include "common/ipc/envelope.h"
#include "common/ipc/msg/authd.h"
#include "common/user/user_db.h"
#include "tests/unit/remove_all.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SHA256_BYTES = 32 };

/* valgrind takes its time */
static unsigned
deadline_ms(void)
{
	const char *factor = getenv("TEST_TIME_FACTOR");

	return 20000 * (factor == NULL ? 1 : (unsigned)atoi(factor));
}

static char dir[64], spec[96], aliases[128];
static struct loop *loop;
static struct authd *authd;
static struct authd_conf conf;
static unsigned long password_cost = 1000;

/* --- a peer that asks and waits --------------------------------------------------------------------- */

struct client {
	struct ipc_conn *ours, *theirs;
	bool is_closed;
	uint32_t last_number, numbers[8192]; /* of exchanges: see sasl_start */
};
struct answer {
	bool is_done, is_null;
	struct ipc_in in;
	unsigned char body[IPC_MAX_PACKET];
	int fd;
};

static void
on_client_closed(void *arg, struct ipc_conn *c, const struct err *why)
{
	struct client *cl = arg;

	(void)c, (void)why;
	cl->is_closed = true;
	cl->ours = NULL;
}

static struct client *
client_of_fd(int fd)
{
	static const struct ipc_conn_ops ops = { NULL, on_client_closed };
	struct client *cl = x_calloc(1, sizeof *cl);

	cl->ours = ipc_conn_new(loop, fd, &ops, cl);
	return cl;
}

static struct client *
client_new(enum role role)
{
	struct client *cl;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	cl = client_of_fd(pair[0]);
	cl->theirs = ipc_conn_new(loop, pair[1], authd_ops(role), NULL);
	authd_open(authd, role, cl->theirs);
	return cl;
}

static void
client_free(struct client *cl)
{
	ipc_conn_close(cl->ours);
	free(cl);
	for (int i = 0; i < 3; i++)
		loop_run_once(loop, false);
}

static void
on_answer(void *arg, struct ipc_in *in)
{
	struct answer *a = arg;

	a->is_done = true;
	a->is_null = in == NULL;
	a->fd = -1;
	if (in == NULL)
		return;
	memcpy(a->body, in->p, in->len);
	a->in = *in;
	a->in.p = a->body;
	if (in->nfds > 0) {
		a->fd = in->fds[0];
		in->next_fd = in->nfds;
		a->in.nfds = 0;
	}
}

static void
on_deadline(void *arg)
{
	(void)arg;
	fail_msg("no answer in time");
}

static void
await(const bool *done)
{
	struct loop_timer t;

	loop_timer_init(&t, loop, on_deadline, NULL);
	loop_timer_start(&t, deadline_ms());
	while (!*done)
		loop_run_once(loop, true);
	loop_timer_stop(&t);
}

/* The answer is good until the next question. */
static struct answer *
ask(struct client *cl, struct ipc_out *o, const char *signature)
{
	static struct answer a;

	memset(&a, 0, offsetof(struct answer, body));
	ipc_conn_call(cl->ours, o, signature, deadline_ms(), on_answer, &a);
	await(&a.is_done);
	return &a;
}

/* --- the instance ----------------------------------------------------------------------------------- */

static void
add_user(struct user_db *db, const char *address, const char *password, uint32_t uid)
{
	struct user_record r = { .uid = uid };
	struct err e;

	if (user_password_set(&r, password, &conf.policy, &e) < 0 ||
	    user_db_put(db, address, &r, USER_DB_NEW, &e) < 0)
		fail_msg("%s", e.text);
	mem_wipe(&r, sizeof r);
}

static void
put_aliases(const char *text)
{
	FILE *f = fopen(aliases + strlen("texthash:"), "w");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static int
instance_start(void **state)
{
	struct user_db *db;
	struct err e;

	(void)state;
	snprintf(dir, sizeof dir, "/tmp/authd_test.XXXXXX");
	if (mkdtemp(dir) == NULL)
		return 1;
	snprintf(spec, sizeof spec, "btree:%s/users", dir);
	snprintf(aliases, sizeof aliases, "texthash:%s/virtual", dir);
	conf = (struct authd_conf){
		.user_database = spec,
		.alias_maps = aliases,
		.lookup_tables = "inline:{host.test=OK, {example.test=REJECT go away}}, pcre:{{/^host/ pattern}, "
				 "{/^(Mail)/i $1}}, hash:/nonexistent/map, fail:x",
		.mailbox_domains = "example.test",
		.destination = "",
		.origin = "example.test",
		.relayhost = "",
		.delimiter = "+",
		.mail_base = "/srv/mail",
		.owner_uid = 5000,
		.owner_gid = 5001,
		.min_uid = 100,
		.max_uid = 60000,
		.workers = 2,
		.plain_needs_tls = true,
		.policy = { PASSWORD_SHA512_CRYPT, password_cost, 4096 },
	};
	put_aliases("info@example.test alice@example.test, far@elsewhere.test\n");
	if (user_db_prepare(spec, getuid(), getgid(), &e) < 0 || user_db_enter(spec, &e) < 0 ||
	    user_db_open(spec, 0, &db, &e) < 0) {
		print_error("%s\n", e.text);
		return 1;
	}
	add_user(db, "alice@example.test", "secret-a", 0);
	add_user(db, "bob@example.test", "secret-b", 2001);
	user_db_close(db);
	loop = loop_new();
	if (authd_new(loop, &conf, NULL, NULL, &authd, &e) < 0) {
		print_error("%s\n", e.text);
		return 1;
	}
	return 0;
}

/* Passwords take their time. */
static int
slow_instance_start(void **state)
{
	int r;

	password_cost = 50000;
	r = instance_start(state);
	password_cost = 1000;
	return r;
}

static int
instance_stop(void **state)
{
	struct user_db *db;
	struct err e;
	int r;

	(void)state;
	if (!authd_is_idle(authd) || authd->minted != 0)
		print_error("%zu exchanges, %zu requests, %zu edges left\n", authd->exchanges,
		    authd->requests, authd->minted);
	r = !authd_is_idle(authd) || authd->minted != 0;
	authd_free(&authd);
	loop_free(loop);
	for (int i = 0; i < 2; i++) /* the nurseries */
		waitpid(-1, NULL, 0);
	/* when its lock is free the database worker has closed it: nothing is written into the directory any more */
	if (user_db_open(spec, deadline_ms(), &db, &e) == 0)
		user_db_close(db);
	remove_all(dir);
	return r;
}

/* --- SASL ------------------------------------------------------------------------------------------- */

struct step {
	unsigned state;
	char challenge[4096];
	size_t challenge_len;
	char account[512], reason[256];
	uint8_t ticket[TICKET_BYTES];
	size_t ticket_len;
};

static struct step
step_of(struct answer *a)
{
	struct step s = { .state = 99 };
	struct view v;

	assert_false(a->is_null);
	s.state = ipc_get_u32(&a->in);
	v = ipc_get_bytes(&a->in);
	assert_true(v.len < sizeof s.challenge);
	memcpy(s.challenge, v.p, v.len);
	s.challenge_len = v.len;
	snprintf(s.account, sizeof s.account, "%s", ipc_get_str(&a->in));
	v = ipc_get_bytes(&a->in);
	assert_true(v.len == 0 || v.len == TICKET_BYTES);
	memcpy(s.ticket, v.p, v.len);
	s.ticket_len = v.len;
	snprintf(s.reason, sizeof s.reason, "%s", ipc_get_str(&a->in));
	return s;
}

/* The client of the next exchanges; NULL: each comes from an address of its own, and none waits for
 * another's failures. */
static const char *client_ip;

static const char *
next_client_ip(void)
{
	static char text[16];
	static unsigned n;

	if (client_ip != NULL)
		return client_ip;
	n++;
	snprintf(text, sizeof text, "10.%u.%u.%u", n >> 16 & 255, n >> 8 & 255, n & 255);
	return text;
}

static void
put_start(struct ipc_out *o, uint32_t session, const char *service, const char *mech,
    unsigned flags, struct view initial)
{
	ipc_out_init(o, AUTHD_SASL_START);
	ipc_put_u32(o, session);
	ipc_put_str(o, service);
	ipc_put_str(o, mech);
	ipc_put_u32(o, flags);
	ipc_put_str(o, next_client_ip());
	ipc_put_str(o, "192.0.2.2");
	ipc_put_str(o, "mail.example.test");
	ipc_put_bytes(o, initial.p, initial.len);
}

/* Numbers of exchanges rise: a name that a test uses again stands for the next. */
static struct step
sasl_start(struct client *cl, uint32_t name, const char *mech, unsigned flags, struct view initial)
{
	struct ipc_out o;

	cl->last_number = name > cl->last_number ? name : cl->last_number + 1;
	cl->numbers[name] = cl->last_number;
	put_start(&o, cl->last_number, "imap", mech, flags, initial);
	return step_of(ask(cl, &o, AUTHD_STEP_SIG));
}

static void
put_step(struct ipc_out *o, uint32_t session, struct view response)
{
	ipc_out_init(o, AUTHD_SASL_STEP);
	ipc_put_u32(o, session);
	ipc_put_bytes(o, response.p, response.len);
}

static struct step
sasl_step(struct client *cl, uint32_t name, struct view response)
{
	struct ipc_out o;

	put_step(&o, cl->numbers[name], response);
	return step_of(ask(cl, &o, AUTHD_STEP_SIG));
}

#define PLAIN(text) VIEW_LIT(text)
enum { TLS = AUTHD_HAS_TLS, INITIAL = AUTHD_HAS_INITIAL, TICKET = AUTHD_WANT_TICKET };

static void
plain_and_login(void **state)
{
	struct client *cl = client_new(ROLE_SMTPD);
	struct step s;

	(void)state;
	s = sasl_start(cl, 1, "PLAIN", TLS | INITIAL, PLAIN("\0alice@example.test\0secret-a"));
	assert_int_equal(s.state, AUTHD_STEP_DONE);
	assert_string_equal(s.account, "alice@example.test");
	assert_int_equal(s.ticket_len, 0);
	s = sasl_start(cl, 1, "PLAIN", TLS | INITIAL, PLAIN("\0Alice@Example.TEST\0secret-a"));
	assert_int_equal(s.state, AUTHD_STEP_DONE);
	assert_string_equal(s.account, "alice@example.test");
	s = sasl_start(cl, 2, "PLAIN", TLS, VIEW_LIT(""));
	assert_int_equal(s.state, AUTHD_STEP_MORE);
	assert_int_equal(s.challenge_len, 0);
	s = sasl_step(cl, 2, PLAIN("bob@example.test\0bob@example.test\0secret-b"));
	assert_int_equal(s.state, AUTHD_STEP_DONE);
	s = sasl_start(cl, 3, "LOGIN", TLS, VIEW_LIT(""));
	assert_int_equal(s.state, AUTHD_STEP_MORE);
	assert_string_equal(s.challenge, "Username:");
	s = sasl_step(cl, 3, view_of("bob@example.test"));
	assert_string_equal(s.challenge, "Password:");
	s = sasl_step(cl, 3, view_of("secret-b"));
	assert_int_equal(s.state, AUTHD_STEP_DONE);
	assert_string_equal(s.account, "bob@example.test");
	client_free(cl);
}

static void
refused_logins_look_alike(void **state)
{
	const struct view wrong[] = {
		PLAIN("\0alice@example.test\0wrong"),
		PLAIN("\0ghost@example.test\0secret-a"),
		PLAIN("\0alice@example.test\0"),
		PLAIN("\0alice@example.test\0secret-a\0"),
		PLAIN("bob@example.test\0alice@example.test\0secret-a"),
		PLAIN("\0alice\0secret-a"),
		PLAIN("\0\0"),
		PLAIN(""),
		PLAIN("nothing"),
		PLAIN("\0../x@example.test\0secret-a"),
		PLAIN("\0\1secret@\0x"),
	};
	struct client *cl = client_new(ROLE_IMAPD_LOGIN);
	struct step s;

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		s = sasl_start(cl, 1, "PLAIN", TLS | INITIAL | TICKET, wrong[i]);
		if (s.state == AUTHD_STEP_MORE)
			s = sasl_step(cl, 1, VIEW_LIT(""));
		if (s.state != AUTHD_STEP_FAILED)
			fail_msg("case %zu: state %u (%s)", i, s.state, s.reason);
		assert_string_equal(s.account, "");
		assert_int_equal(s.challenge_len, 0);
		assert_int_equal(s.ticket_len, 0);
	}
	client_free(cl);
}

static void
mechanisms_and_tls(void **state)
{
	static const char *const none[] = { "EXTERNAL", "ANONYMOUS", "CRAM-MD5", "DIGEST-MD5",
		"NTLM", "SCRAM-SHA-1", "SCRAM-SHA-256-PLUS", "", "plain", "PLAIN LOGIN",
		"A-VERY-LONG-MECHANISM-NAME-THAT-NOBODY-HAS-EVER-HEARD-OF" };
	struct client *cl = client_new(ROLE_SMTPD);

	(void)state;
	for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
		assert_int_equal(
		    sasl_start(cl, 1, none[i], TLS, VIEW_LIT("")).state, AUTHD_STEP_NO_MECH);
	assert_int_equal(
	    sasl_start(cl, 1, "PLAIN", INITIAL, PLAIN("\0alice@example.test\0secret-a")).state,
	    AUTHD_STEP_NO_MECH);
	assert_int_equal(sasl_start(cl, 1, "LOGIN", 0, VIEW_LIT("")).state, AUTHD_STEP_NO_MECH);
	assert_int_equal(
	    sasl_start(cl, 1, "SCRAM-SHA-256", 0, VIEW_LIT("")).state, AUTHD_STEP_MORE);
	client_free(cl);
}

/* --- a SCRAM client (RFC 5802, RFC 7677) ------------------------------------------------------------- */

static void
hmac(const uint8_t *key, size_t key_len, const char *text, uint8_t *out)
{
	unsigned n = SHA256_BYTES;

	assert_non_null(
	    HMAC(EVP_sha256(), key, (int)key_len, (const uint8_t *)text, strlen(text), out, &n));
}

static void
b64(char *out, size_t size, const void *p, size_t len)
{
	struct buf b;

	buf_init(&b, size - 1);
	assert_int_equal(base64_encode(&b, p, len), 0);
	snprintf(out, size, "%s", buf_cstr(&b));
	buf_clear(&b);
}

struct scram {
	char bare[256], server[2048], nonce[512], salt[256];
	unsigned iterations;
	char expected[80]; /* v=... */
};

static struct step
scram_first(struct client *cl, uint32_t session, const char *user, struct scram *x)
{
	char first[300];
	struct step s;

	snprintf(x->bare, sizeof x->bare, "n=%s,r=rOprNGfwEbeRWgbNEkqO", user);
	snprintf(first, sizeof first, "n,,%s", x->bare);
	s = sasl_start(cl, session, "SCRAM-SHA-256", INITIAL | TICKET, view_of(first));
	if (s.state != AUTHD_STEP_MORE)
		return s;
	snprintf(x->server, sizeof x->server, "%.*s", (int)s.challenge_len, s.challenge);
	assert_int_equal(
	    sscanf(x->server, "r=%511[^,],s=%255[^,],i=%u", x->nonce, x->salt, &x->iterations), 3);
	return s;
}

static void
scram_proof(struct scram *x, const char *password, char *out, size_t size)
{
	uint8_t salted[SHA256_BYTES], client[SHA256_BYTES], stored[SHA256_BYTES],
	    signature[SHA256_BYTES], server[SHA256_BYTES];
	char message[4096], proof[64];
	struct buf salt;

	buf_init(&salt, 128);
	assert_int_equal(base64_decode(&salt, x->salt, strlen(x->salt)), 0);
	assert_int_equal(
	    PKCS5_PBKDF2_HMAC(password, (int)strlen(password), (const uint8_t *)salt.p,
		(int)salt.len, (int)x->iterations, EVP_sha256(), sizeof salted, salted),
	    1);
	buf_clear(&salt);
	hmac(salted, sizeof salted, "Client Key", client);
	assert_int_equal(EVP_Digest(client, sizeof client, stored, NULL, EVP_sha256(), NULL), 1);
	snprintf(message, sizeof message, "%s,%s,c=biws,r=%s", x->bare, x->server, x->nonce);
	hmac(stored, sizeof stored, message, signature);
	for (size_t i = 0; i < sizeof client; i++)
		client[i] ^= signature[i];
	b64(proof, sizeof proof, client, sizeof client);
	snprintf(out, size, "c=biws,r=%s,p=%s", x->nonce, proof);
	hmac(salted, sizeof salted, "Server Key", server);
	hmac(server, sizeof server, message, signature);
	b64(proof, sizeof proof, signature, sizeof signature);
	snprintf(x->expected, sizeof x->expected, "v=%s", proof);
}

static struct step
scram_login(struct client *cl, uint32_t session, const char *user, const char *password)
{
	struct scram x;
	char final[1024];
	struct step s = scram_first(cl, session, user, &x);

	if (s.state != AUTHD_STEP_MORE)
		return s;
	scram_proof(&x, password, final, sizeof final);
	s = sasl_step(cl, session, view_of(final));
	if (s.state != AUTHD_STEP_MORE)
		return s;
	assert_int_equal(s.challenge_len, strlen(x.expected));
	assert_memory_equal(s.challenge, x.expected, s.challenge_len);
	return sasl_step(cl, session, VIEW_LIT(""));
}

static void
scram_proves_both_sides(void **state)
{
	struct client *cl = client_new(ROLE_IMAPD_LOGIN);
	struct step s;

	(void)state;
	s = scram_login(cl, 9, "alice@example.test", "secret-a");
	assert_int_equal(s.state, AUTHD_STEP_DONE);
	assert_string_equal(s.account, "alice@example.test");
	assert_int_equal(s.ticket_len, TICKET_BYTES);
	assert_int_equal(
	    scram_login(cl, 9, "alice@example.test", "wrong").state, AUTHD_STEP_FAILED);
	assert_int_equal(
	    scram_login(cl, 9, "ghost@example.test", "secret-a").state, AUTHD_STEP_FAILED);
	client_free(cl);
}

/* An unknown user gets as far as a known one: salt of the same form, the same at every try, and fails at the proof. */
static void
scram_does_not_tell_who_exists(void **state)
{
	struct client *cl = client_new(ROLE_IMAPD_LOGIN);
	struct scram known, ghost, again, other;

	(void)state;
	assert_int_equal(scram_first(cl, 1, "alice@example.test", &known).state, AUTHD_STEP_MORE);
	assert_int_equal(scram_first(cl, 2, "ghost@example.test", &ghost).state, AUTHD_STEP_MORE);
	assert_int_equal(scram_first(cl, 3, "ghost@example.test", &again).state, AUTHD_STEP_MORE);
	assert_int_equal(scram_first(cl, 4, "other@example.test", &other).state, AUTHD_STEP_MORE);
	assert_string_equal(ghost.salt, again.salt);
	assert_string_not_equal(ghost.salt, other.salt);
	assert_int_equal(strlen(known.salt), strlen(ghost.salt));
	assert_int_equal(known.iterations, ghost.iterations);
	assert_string_not_equal(ghost.nonce, again.nonce);
	client_free(cl);
}

static void
scram_oddities_harm_nobody(void **state)
{
	static const char *const firsts[] = {
		"p=tls-unique,,n=alice@example.test,r=abcdefghijk", /* NULL pointer in the plugin of 2.1.28 */
		"p=tls-exporter,,n=alice@example.test,r=abcdefghijk",
		"n,a=bob@example.test,n=alice@example.test,r=abcdefghij",
		"n,,m=x,n=alice@example.test,r=abc",
		"n,,n=alice=2@example.test,r=abc",
		"n,,n=,r=abc",
		"n,,n=alice@example.test",
		"x,,n=alice@example.test,r=abc",
		"n,,",
		"n",
		"n,,n=alice@example.test,r=",
		"y,,n=a@b,r=x,,,,,,",
		",,,,,,,,,,,,,,,",
		"n,a=,n=alice@example.test,r=abcdefgh",
	};
	static const char *const finals[] = { "c=biws,r=%s", "c=,r=%s,p=", "c=biws,r=%sx,p=AAAA",
		"c=biws,r=%s,p=AAAA,x=1",
		"c=biws,r=%s,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		"c=eSws,r=%s,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "p=%s", "c=", "x",
		"=======================" };
	struct client *cl = client_new(ROLE_IMAPD_LOGIN);
	char final[1024], lng[SASL_RESPONSE_MAX + 2];
	struct scram x;

	(void)state;
	for (size_t i = 0; i < sizeof firsts / sizeof firsts[0]; i++) {
		struct step s = sasl_start(cl, 1, "SCRAM-SHA-256", INITIAL, view_of(firsts[i]));

		if (s.state == AUTHD_STEP_MORE)
			s = sasl_step(cl, 1, view_of("c=biws,r=x,p=y"));
		if (s.state != AUTHD_STEP_FAILED)
			fail_msg("first %zu: state %u (%s)", i, s.state, s.reason);
	}
	for (size_t i = 0; i < sizeof finals / sizeof finals[0]; i++) {
		assert_int_equal(
		    scram_first(cl, 1, "alice@example.test", &x).state, AUTHD_STEP_MORE);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(final, sizeof final, finals[i], x.nonce);
#pragma GCC diagnostic pop
		assert_int_equal(sasl_step(cl, 1, view_of(final)).state, AUTHD_STEP_FAILED);
	}
	/* a proof that was good once is worth nothing in another exchange */
	assert_int_equal(scram_first(cl, 1, "alice@example.test", &x).state, AUTHD_STEP_MORE);
	scram_proof(&x, "secret-a", final, sizeof final);
	assert_int_equal(sasl_step(cl, 1, view_of(final)).state, AUTHD_STEP_MORE);
	assert_int_equal(sasl_step(cl, 1, VIEW_LIT("not empty")).state, AUTHD_STEP_FAILED);
	assert_int_equal(scram_first(cl, 1, "alice@example.test", &x).state, AUTHD_STEP_MORE);
	assert_int_equal(sasl_step(cl, 1, view_of(final)).state, AUTHD_STEP_FAILED);
	memset(lng, 'a', sizeof lng);
	assert_int_equal(
	    sasl_start(cl, 1, "SCRAM-SHA-256", INITIAL, view_make(lng, sizeof lng)).state,
	    AUTHD_STEP_FAILED);
	assert_int_equal(
	    sasl_start(cl, 1, "SCRAM-SHA-256", INITIAL, view_make(lng, SASL_RESPONSE_MAX)).state,
	    AUTHD_STEP_FAILED);
	assert_int_equal(
	    scram_login(cl, 1, "alice@example.test", "secret-a").state, AUTHD_STEP_DONE);
	client_free(cl);
}

/* CVE-2025-59028: one exchange that goes wrong leaves the others of its connection alone. */
static void
a_bad_exchange_hurts_only_itself(void **state)
{
	struct client *cl = client_new(ROLE_IMAPD_LOGIN);
	struct scram x[20];
	char final[1024];
	struct ipc_out o;
	struct step s;

	(void)state;
	for (uint32_t i = 1; i < 20; i++)
		assert_int_equal(
		    scram_first(cl, i, "alice@example.test", &x[i]).state, AUTHD_STEP_MORE);
	for (uint32_t i = 100; i < 150; i++)
		sasl_start(cl, i, "PLAIN", TLS | INITIAL, PLAIN("\0\xff\xff\xff\0garbage\0\0"));
	assert_int_equal(sasl_step(cl, 7777, VIEW_LIT("x")).state, AUTHD_STEP_TEMP);
	for (uint32_t used = 0; used < 150; used++) { /* in use now, used up, never used */
		put_start(&o, used, "imap", "PLAIN", TLS | INITIAL,
		    PLAIN("\0alice@example.test\0secret-a"));
		s = step_of(ask(cl, &o, AUTHD_STEP_SIG));
		assert_int_equal(s.state, AUTHD_STEP_TEMP);
	}
	ipc_out_init(&o, AUTHD_SASL_ABORT);
	ipc_put_u32(&o, 5);
	ipc_conn_send(cl->ours, &o);
	for (uint32_t i = 1; i < 20; i++) {
		scram_proof(&x[i], "secret-a", final, sizeof final);
		s = sasl_step(cl, i, view_of(final));
		assert_int_equal(s.state, i == 5 ? AUTHD_STEP_TEMP : AUTHD_STEP_MORE);
		if (i != 5)
			assert_int_equal(sasl_step(cl, i, VIEW_LIT("")).state, AUTHD_STEP_DONE);
	}
	assert_false(cl->is_closed);
	client_free(cl);
}

static void
two_steps_at_once(void **state)
{
	struct client *cl = client_new(ROLE_IMAPD_LOGIN);
	struct answer *a = x_calloc(3, sizeof *a);
	struct ipc_out o;

	(void)state;
	put_start(&o, 1, "imap", "PLAIN", TLS | INITIAL, PLAIN("\0alice@example.test\0secret-a"));
	ipc_conn_call(cl->ours, &o, AUTHD_STEP_SIG, deadline_ms(), on_answer, &a[0]);
	for (int i = 1; i < 3; i++) {
		put_step(&o, 1, VIEW_LIT("x"));
		ipc_conn_call(cl->ours, &o, AUTHD_STEP_SIG, deadline_ms(), on_answer, &a[i]);
	}
	for (int i = 0; i < 3; i++) {
		await(&a[i].is_done);
		assert_int_equal(
		    step_of(&a[i]).state, i == 2 ? AUTHD_STEP_TEMP : AUTHD_STEP_FAILED);
	}
	free(a);
	client_free(cl);
}

static void
a_front_that_goes_leaves_nothing(void **state)
{
	struct client *cl = client_new(ROLE_IMAPD_LOGIN), *other;
	struct scram x;
	struct ipc_out o;

	(void)state;
	for (uint32_t i = 0; i < 50; i++)
		assert_int_equal(
		    scram_first(cl, i, "alice@example.test", &x).state, AUTHD_STEP_MORE);
	put_start(&o, 99, "imap", "PLAIN", TLS | INITIAL, PLAIN("\0alice@example.test\0secret-a"));
	ipc_conn_send(cl->ours, &o);
	ipc_conn_close(cl->ours);
	cl->ours = NULL;
	other = client_new(ROLE_IMAPD_LOGIN);
	assert_int_equal(
	    scram_login(other, 1, "bob@example.test", "secret-b").state, AUTHD_STEP_DONE);
	assert_int_equal(authd->exchanges, 0);
	client_free(other);
	client_free(cl);
}

/* --- floods ------------------------------------------------------------------------------------------ */

static void
start_plain(struct client *cl, const char *from, struct view initial, struct answer *a)
{
	struct ipc_out o;

	client_ip = from;
	put_start(&o, ++cl->last_number, "imap", "PLAIN", TLS | INITIAL, initial);
	client_ip = NULL;
	ipc_conn_call(cl->ours, &o, AUTHD_STEP_SIG, deadline_ms(), on_answer, a);
}

static void
a_crowd_from_one_address_delays_others_by_one(void **state)
{
	enum { CROWD = ORIGIN_EXCHANGES_MAX };
	struct client *cl = client_new(ROLE_IMAPD_LOGIN);
	struct answer *a = x_calloc(CROWD + 2, sizeof *a);
	unsigned before = 0, meanwhile = 0;

	(void)state;
	for (int i = 0; i < CROWD + 1; i++)
		start_plain(cl, "192.0.2.1", PLAIN("\0ghost@example.test\0wrong"), &a[i]);
	start_plain(cl, "192.0.2.2", PLAIN("\0alice@example.test\0secret-a"), &a[CROWD + 1]);
	while (authd->next_exchange < CROWD + 1)
		loop_run_once(loop, true);
	for (int i = 0; i < CROWD; i++)
		before += a[i].is_done;
	await(&a[CROWD].is_done); /* one too many: refused at once */
	assert_int_equal(step_of(&a[CROWD]).state, AUTHD_STEP_TEMP);
	await(&a[CROWD + 1].is_done);
	assert_int_equal(step_of(&a[CROWD + 1]).state, AUTHD_STEP_DONE);
	for (int i = 0; i < CROWD; i++)
		meanwhile += a[i].is_done;
	assert_true(meanwhile - before <= 4); /* two workers, two turns */
	for (int i = 0; i < CROWD; i++) {
		await(&a[i].is_done);
		assert_int_equal(step_of(&a[i]).state, AUTHD_STEP_FAILED);
	}
	free(a);
	client_free(cl);
}

static void
failure_or_leaving_delays_the_next_of_its_address(void **state)
{
	static const char *const from[] = { "192.0.2.1", "192.0.2.3", "192.0.2.1", "192.0.2.3",
		"192.0.2.2" };
	struct client *cl = client_new(ROLE_IMAPD_LOGIN);
	struct answer *a = x_calloc(5, sizeof *a);
	int64_t begin = clock_mono_ms();
	struct ipc_out o;

	(void)state;
	start_plain(cl, from[0], PLAIN("\0alice@example.test\0wrong"), &a[0]);
	await(&a[0].is_done);
	start_plain(cl, from[1], PLAIN("\0alice@example.test\0secret-a"), &a[1]);
	ipc_out_init(&o, AUTHD_SASL_ABORT);
	ipc_put_u32(&o, cl->last_number);
	ipc_conn_send(cl->ours, &o);
	for (int i = 2; i < 5; i++)
		start_plain(cl, from[i], PLAIN("\0alice@example.test\0secret-a"), &a[i]);
	await(&a[4].is_done); /* others do not wait */
	assert_false(a[2].is_done || a[3].is_done);
	for (int i = 2; i < 5; i++) {
		await(&a[i].is_done);
		assert_int_equal(step_of(&a[i]).state, AUTHD_STEP_DONE);
	}
	assert_true(clock_mono_ms() - begin >= 2000);
	client_free(cl);
	free(a);
}

/* Turns that were not used are not held against those who share the address. */
static void
leaving_the_queue_gives_the_turn_back(void **state)
{
	enum { TRIES = 2000 };
	struct client *cl = client_new(ROLE_IMAPD_LOGIN);
	struct answer *a = x_calloc(1, sizeof *a);
	struct origin *from;
	struct ipc_out o;

	(void)state;
	from = origin_take(&authd->origins, "192.0.2.1", 0); /* so that it is not forgotten */
	for (int i = 0; i < TRIES; i++) {
		put_start(&o, ++cl->last_number, "imap", "PLAIN", TLS, VIEW_LIT(""));
		ipc_conn_send(cl->ours, &o);
		client_ip = "192.0.2.1";
		put_start(&o, ++cl->last_number, "imap", "PLAIN", TLS | INITIAL,
		    PLAIN("\0ghost@example.test\0x"));
		client_ip = NULL;
		ipc_conn_send(cl->ours, &o);
		ipc_out_init(&o, AUTHD_SASL_ABORT);
		ipc_put_u32(&o, cl->last_number);
		ipc_conn_send(cl->ours, &o);
		loop_run_once(loop, false);
		from->until = 0;
	}
	start_plain(cl, "192.0.2.9", PLAIN("\0alice@example.test\0secret-a"), a);
	await(&a->is_done);
	assert_true(from->turn <= workers_turn(authd->workers, 0) + ORIGIN_EXCHANGES_MAX);
	origin_release(&authd->origins, from, 0);
	client_free(cl);
	free(a);
}

static void
the_oldest_waiting_client_makes_room(void **state)
{
	enum { OF_PEER = 4096 };
	struct client *cl = client_new(ROLE_IMAPD_LOGIN);
	struct view good = PLAIN("\0alice@example.test\0secret-a");
	uint32_t n = 1;

	(void)state;
	client_ip = "192.0.2.1";
	for (; n <= ORIGIN_EXCHANGES_MAX + 1; n++)
		assert_int_equal(
		    sasl_start(cl, n, "PLAIN", TLS, VIEW_LIT("")).state, AUTHD_STEP_MORE);
	assert_int_equal(authd->exchanges, ORIGIN_EXCHANGES_MAX);
	assert_int_equal(sasl_step(cl, 1, good).state, AUTHD_STEP_TEMP);
	client_ip = NULL;
	for (; n <= OF_PEER + 2; n++)
		assert_int_equal(
		    sasl_start(cl, n, "PLAIN", TLS, VIEW_LIT("")).state, AUTHD_STEP_MORE);
	assert_int_equal(authd->exchanges, OF_PEER);
	assert_int_equal(sasl_step(cl, 2, good).state, AUTHD_STEP_TEMP);
	assert_int_equal(sasl_step(cl, 3, good).state, AUTHD_STEP_DONE);
	assert_int_equal(sasl_step(cl, OF_PEER + 2, good).state, AUTHD_STEP_DONE);
	client_free(cl);
}

/* --- dead workers ------------------------------------------------------------------------------------ */

static void
kill_children_named(const char *name)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	char path[300], comm[64], line[512];
	FILE *f;
	int found = 0;

	assert_non_null(d);
	while ((e = readdir(d)) != NULL) {
		int parent = 0, grandparent = 0;

		if (e->d_name[0] < '1' || e->d_name[0] > '9')
			continue;
		snprintf(path, sizeof path, "/proc/%s/stat", e->d_name);
		f = fopen(path, "r");
		if (f == NULL)
			continue;
		if (fgets(line, sizeof line, f) == NULL ||
		    sscanf(line, "%*d (%63[^)]) %*c %d", comm, &parent) != 2)
			parent = 0;
		fclose(f);
		snprintf(path, sizeof path, "/proc/%d/stat", parent);
		f = parent > 1 && strcmp(comm, name) == 0 ? fopen(path, "r") : NULL;
		if (f == NULL)
			continue;
		if (fgets(line, sizeof line, f) == NULL ||
		    sscanf(line, "%*d (%*[^)]) %*c %d", &grandparent) != 1)
			grandparent = 0;
		fclose(f);
		if (grandparent == getpid()) { /* a worker: child of a nursery of ours */
			kill(atoi(e->d_name), SIGKILL);
			found++;
		}
	}
	closedir(d);
	assert_true(found > 0);
}

static void
wait_a_little(void)
{
	poll(NULL, 0, 10);
	loop_run_once(loop, false);
}

static void
sasl_workers_are_replaced(void **state)
{
	struct client *cl = client_new(ROLE_IMAPD_LOGIN);
	struct scram x;
	char final[1024];
	struct step s;

	(void)state;
	assert_int_equal(scram_first(cl, 1, "alice@example.test", &x).state, AUTHD_STEP_MORE);
	scram_proof(&x, "secret-a", final, sizeof final);
	kill_children_named("authd-sasl");
	s = sasl_step(cl, 1, view_of(final));
	assert_int_equal(s.state, AUTHD_STEP_TEMP); /* not the client's fault */
	for (int i = 0; i < 200; i++) {
		s = scram_login(cl, 2, "alice@example.test", "secret-a");
		if (s.state == AUTHD_STEP_DONE)
			break;
		assert_int_equal(s.state, AUTHD_STEP_TEMP);
		wait_a_little();
	}
	assert_int_equal(s.state, AUTHD_STEP_DONE);
	assert_false(cl->is_closed);
	client_free(cl);
}

static unsigned resolve_status(struct client *cl, const char *address);

static void
the_database_worker_is_replaced(void **state)
{
	struct client *cl = client_new(ROLE_SMTPD);
	unsigned status = AUTHD_TEMP;
	struct step s;

	(void)state;
	assert_int_equal(resolve_status(cl, "alice@example.test"), AUTHD_OK);
	kill_children_named("authd-db");
	for (int i = 0; i < 200 && (status = resolve_status(cl, "alice@example.test")) != AUTHD_OK;
	     i++) {
		assert_int_equal(status, AUTHD_TEMP);
		wait_a_little();
	}
	assert_int_equal(status, AUTHD_OK);
	for (int i = 0; i < 200; i++) {
		s = sasl_start(
		    cl, 1, "PLAIN", TLS | INITIAL, PLAIN("\0alice@example.test\0secret-a"));
		if (s.state == AUTHD_STEP_DONE)
			break;
		assert_int_equal(s.state, AUTHD_STEP_TEMP);
		wait_a_little();
	}
	assert_int_equal(s.state, AUTHD_STEP_DONE);
	client_free(cl);
}

/* A database that is damaged under us: what needs no account is answered as ever, the rest waits. */
static void
a_damaged_database_stops_only_accounts(void **state)
{
	struct client *cl = client_new(ROLE_SMTPD);
	char *file = x_asprintf("%s/users.db", dir), *aside = x_asprintf("%s/aside", dir);
	unsigned status = AUTHD_TEMP;
	FILE *f;

	(void)state;
	assert_int_equal(resolve_status(cl, "alice@example.test"), AUTHD_OK);
	assert_int_equal(rename(file, aside), 0);
	f = fopen(file, "w");
	assert_non_null(f);
	for (int i = 0; i < 4096; i++)
		fputs("no database ", f);
	fclose(f);
	kill_children_named("authd-db");
	for (int i = 0; i < 1000 && (status = resolve_status(cl, "x@elsewhere.test")) != AUTHD_OK;
	     i++) {
		assert_int_equal(status, AUTHD_TEMP);
		wait_a_little();
	}
	assert_int_equal(status, AUTHD_OK);
	assert_int_equal(resolve_status(cl, "alice@example.test"), AUTHD_TEMP); /* not: unknown */
	assert_int_equal(
	    sasl_start(cl, 1, "PLAIN", TLS | INITIAL, PLAIN("\0alice@example.test\0secret-a"))
		.state,
	    AUTHD_STEP_TEMP);
	assert_int_equal(rename(aside, file), 0);
	kill_children_named("authd-db"); /* or five seconds later */
	for (int i = 0; i < 1000 && (status = resolve_status(cl, "alice@example.test")) != AUTHD_OK;
	     i++) {
		assert_int_equal(status, AUTHD_TEMP);
		wait_a_little();
	}
	assert_int_equal(status, AUTHD_OK);
	client_free(cl);
	free(file);
	free(aside);
}

static void
a_missing_table_stops_only_addresses(void **state)
{
	struct client *cl = client_new(ROLE_SMTPD);
	unsigned status = AUTHD_TEMP;
	struct step s;

	(void)state;
	assert_int_equal(unlink(aliases + strlen("texthash:")), 0);
	kill_children_named("authd-db");
	for (int i = 0; i < 1000; i++) {
		s = sasl_start(
		    cl, 1, "PLAIN", TLS | INITIAL, PLAIN("\0alice@example.test\0secret-a"));
		if (s.state == AUTHD_STEP_DONE)
			break;
		assert_int_equal(s.state, AUTHD_STEP_TEMP);
		wait_a_little();
	}
	assert_int_equal(s.state, AUTHD_STEP_DONE);
	assert_int_equal(resolve_status(cl, "alice@example.test"), AUTHD_TEMP);
	put_aliases("info@example.test alice@example.test, far@elsewhere.test\n");
	for (int i = 0; i < 1000 && (status = resolve_status(cl, "info@example.test")) != AUTHD_OK;
	     i++) {
		assert_int_equal(status, AUTHD_TEMP);
		wait_a_little();
	}
	assert_int_equal(status, AUTHD_OK);
	client_free(cl);
}

/* --- recipients -------------------------------------------------------------------------------------- */

static struct answer *
resolve(struct client *cl, const char *address)
{
	struct ipc_out o;

	ipc_out_init(&o, AUTHD_RESOLVE);
	ipc_put_str(&o, address);
	ipc_put_u32(&o, 0);
	return ask(cl, &o, AUTHD_RESOLVE_SIG);
}

static unsigned
resolve_status(struct client *cl, const char *address)
{
	struct answer *a = resolve(cl, address);

	assert_false(a->is_null);
	return ipc_get_u32(&a->in);
}

static void
recipients(void **state)
{
	struct client *cl = client_new(ROLE_QMGR);
	struct answer *a = resolve(cl, "info@example.test");
	char lng[70 * 1024 / 2];

	(void)state;
	assert_int_equal(ipc_get_u32(&a->in), AUTHD_OK);
	assert_int_equal(ipc_get_u32(&a->in), 1);
	ipc_get_str(&a->in);
	assert_int_equal(ipc_get_u32(&a->in), TRANSPORT_VIRTUAL);
	assert_string_equal(ipc_get_str(&a->in), "");
	assert_string_equal(ipc_get_str(&a->in), "alice@example.test");
	assert_int_equal(ipc_get_u32(&a->in), 5000);
	assert_int_equal(ipc_get_u32(&a->in), 5001);
	assert_int_equal(ipc_get_u32(&a->in), TRANSPORT_SMTP);
	assert_string_equal(ipc_get_str(&a->in), "");
	assert_string_equal(ipc_get_str(&a->in), "far@elsewhere.test");
	a = resolve(cl, "ghost@example.test");
	assert_int_equal(ipc_get_u32(&a->in), AUTHD_NO);
	assert_int_equal(ipc_get_u32(&a->in), 1);
	assert_string_equal(ipc_get_str(&a->in), "User unknown in virtual mailbox table");
	assert_false(ipc_in_more(&a->in));
	a = resolve(cl, "x@foreign.test");
	assert_int_equal(ipc_get_u32(&a->in), AUTHD_OK);
	assert_int_equal(ipc_get_u32(&a->in), 0);
	memset(lng, 'a', sizeof lng);
	lng[sizeof lng - 1] = '\0';
	assert_int_equal(resolve_status(cl, lng), AUTHD_NO);
	client_free(cl);
}

/* --- lookup tables ----------------------------------------------------------------------------------- */

/* status, key and value of what these keys give; a partial key begins with '~' */
static void
look_up(struct client *cl, const char *tables, const char *const *keys, const char *expected)
{
	struct answer *a;
	struct ipc_out o;
	char got[300];
	unsigned status, which;

	ipc_out_init(&o, AUTHD_LOOKUP);
	ipc_put_str(&o, tables);
	for (; *keys != NULL; keys++) {
		ipc_put_u32(&o, **keys == '~');
		ipc_put_str(&o, *keys + (**keys == '~'));
	}
	a = ask(cl, &o, AUTHD_LOOKUP_SIG);
	assert_false(a->is_null);
	status = ipc_get_u32(&a->in);
	which = ipc_get_u32(&a->in);
	snprintf(got, sizeof got, "%u %u %s", status, which, ipc_get_str(&a->in));
	if (strncmp(got, expected, strlen(expected)) != 0)
		fail_msg("%s: \"%s\" instead of \"%s\"", tables, got, expected);
}

static void
tables_of_the_configuration(void **state)
{
	static const char inline_table[] = "inline:{host.test=OK, {example.test=REJECT go away}}";
	static const char *const keys[] = { "mail.host.test", "~host.test", "~test", NULL };
	static const char *const whole[] = { "Mail.Host.Test", NULL }, *const none[] = { NULL };
	const char *many[AUTHD_LOOKUP_KEYS + 2] = { NULL };
	struct client *cl = client_new(ROLE_SMTPD);

	(void)state;
	look_up(cl, inline_table, keys, "0 1 OK");
	look_up(cl, inline_table, whole, "1 0 ");
	look_up(cl, inline_table, none, "1 0 ");
	/* patterns see whole keys, and these as they are */
	look_up(cl, "pcre:{{/^host/ pattern}, {/^(Mail)/i $1}}", keys, "1 0 ");
	look_up(cl, "pcre:{{/^host/ pattern}, {/^(Mail)/i $1}}", whole, "0 0 Mail");
	look_up(cl, "pcre:{{/^host/ pattern}, {/^(Mail)/i $1}}, inline:{host.test=OK, {example.test=REJECT go away}}",
	    keys, "0 1 OK");
	/* what cannot be opened says "try again", whatever stands behind it; nothing else is served */
	look_up(cl, "hash:/nonexistent/map", keys, "2 0 table");
	look_up(cl, "hash:/nonexistent/map, inline:{host.test=OK, {example.test=REJECT go away}}", keys, "2 0 ");
	look_up(cl, "fail:x", keys, "2 0 table fail:x");
	look_up(cl, "texthash:/etc/passwd", keys, "5 0 texthash:/etc/passwd: not a table of the configuration");
	look_up(cl, "inline:{host.test=OK}", keys, "5 0 ");
	for (size_t i = 0; i <= AUTHD_LOOKUP_KEYS; i++)
		many[i] = "x";
	look_up(cl, inline_table, many, "5 0 too many keys");
	many[AUTHD_LOOKUP_KEYS] = NULL;
	look_up(cl, inline_table, many, "1 0 ");
	client_free(cl);
}

static void
a_changed_alias_is_seen(void **state)
{
	struct client *cl = client_new(ROLE_SMTPD);
	int64_t deadline = clock_mono_ms() + deadline_ms();

	(void)state;
	assert_int_equal(resolve_status(cl, "new@example.test"), AUTHD_NO);
	put_aliases("new@example.test alice@example.test\n");
	while (resolve_status(cl, "new@example.test") != AUTHD_OK)
		assert_true(clock_mono_ms() < deadline);
	assert_int_equal(resolve_status(cl, "info@example.test"), AUTHD_NO);
	client_free(cl);
}

/* --- tickets ----------------------------------------------------------------------------------------- */

static struct answer *
ask_account(struct client *master, const struct step *s, const char *service, uint32_t pid,
    uint32_t session)
{
	struct ipc_out o;

	ipc_out_init(&o, AUTHD_ACCOUNT);
	ipc_put_bytes(&o, s->ticket, s->ticket_len);
	ipc_put_str(&o, service);
	ipc_put_u32(&o, pid);
	ipc_put_u32(&o, session);
	return ask(master, &o, AUTHD_ACCOUNT_SIG);
}

static unsigned
redeem(struct client *session, const uint8_t *ticket, size_t len)
{
	struct ipc_out o;
	struct answer *a;

	ipc_out_init(&o, AUTHD_REDEEM);
	ipc_put_bytes(&o, ticket, len);
	a = ask(session, &o, "us");
	return a->is_null ? 999 : ipc_get_u32(&a->in);
}

static void
a_ticket_opens_one_session(void **state)
{
	struct client *front = client_new(ROLE_IMAPD_LOGIN), *master = client_new(ROLE_MASTER),
		      *session;
	struct step s = scram_login(front, 42, "bob@example.test", "secret-b");
	struct answer *a;

	(void)state;
	assert_int_equal(s.ticket_len, TICKET_BYTES);
	a = ask_account(master, &s, "imap", (uint32_t)getpid(), 42);
	assert_int_equal(ipc_get_u32(&a->in), AUTHD_OK);
	assert_string_equal(ipc_get_str(&a->in), "bob@example.test");
	assert_int_equal(ipc_get_u32(&a->in), 2001);
	assert_int_equal(ipc_get_u32(&a->in), 5001);
	assert_string_equal(ipc_get_str(&a->in), "/srv/mail/example.test/bob");
	session = client_of_fd(a->fd);
	a = ask_account(master, &s, "imap", (uint32_t)getpid(), 42); /* replayed */
	assert_int_equal(ipc_get_u32(&a->in), AUTHD_NO);
	fd_close(&a->fd);
	assert_int_equal(redeem(session, s.ticket, TICKET_BYTES), AUTHD_OK);
	assert_int_equal(
	    redeem(session, s.ticket, TICKET_BYTES), 999); /* out of turn: the edge is closed */
	assert_true(session->is_closed);
	client_free(session);
	client_free(front);
	client_free(master);
}

static void
a_foreign_ticket_opens_nothing(void **state)
{
	struct client *front = client_new(ROLE_IMAPD_LOGIN), *master = client_new(ROLE_MASTER);
	struct client *alice, *bob;
	struct step s, t;
	struct answer *a;
	uint8_t forged[TICKET_BYTES] = { 1 };

	(void)state;
	static const struct {
		const char *service;
		int pid;
		uint32_t off;
	} wrong[] = { { "pop3", 0, 0 }, { "imap", 1, 0 }, { "imap", 0, 1 }, { "", 0, 0 } };
	for (uint32_t i = 0; i < 4; i++) {
		s = scram_login(front, 10 + i, "bob@example.test", "secret-b");
		a = ask_account(master, &s, wrong[i].service, (uint32_t)(getpid() + wrong[i].pid),
		    10 + i + wrong[i].off);
		assert_int_equal(ipc_get_u32(&a->in), AUTHD_NO);
		fd_close(&a->fd);
		a = ask_account(master, &s, "imap", (uint32_t)getpid(), 10 + i);
		assert_int_equal(ipc_get_u32(&a->in), AUTHD_NO);
		fd_close(&a->fd);
	}
	/* two sessions with each other's ticket */
	s = scram_login(front, 21, "alice@example.test", "secret-a");
	t = scram_login(front, 22, "bob@example.test", "secret-b");
	a = ask_account(master, &s, "imap", (uint32_t)getpid(), 21);
	alice = client_of_fd(a->fd);
	a = ask_account(master, &t, "imap", (uint32_t)getpid(), 22);
	bob = client_of_fd(a->fd);
	assert_int_equal(redeem(alice, t.ticket, TICKET_BYTES), AUTHD_NO);
	assert_int_equal(redeem(alice, s.ticket, TICKET_BYTES), 999); /* one try an edge */
	assert_int_equal(redeem(bob, forged, TICKET_BYTES), AUTHD_NO);
	client_free(alice);
	client_free(bob);
	/* a ticket that was not handed to any session */
	s = scram_login(front, 1, "alice@example.test", "secret-a");
	assert_int_equal(authd->tickets.by_bytes.count, 1);
	client_free(front);
	assert_int_equal(authd->tickets.by_bytes.count, 0);
	client_free(master);
}

static void
tickets_are_for_login_fronts(void **state)
{
	static const struct {
		enum role role;
		const char *service;
		unsigned state;
	} cases[] = {
		{ ROLE_SMTPD, "imap", AUTHD_STEP_FAILED },
		{ ROLE_SMTPD, "smtp", AUTHD_STEP_FAILED },
		{ ROLE_IMAPD_LOGIN, "pop3", AUTHD_STEP_FAILED },
		{ ROLE_POP3D_LOGIN, "imap", AUTHD_STEP_FAILED },
		{ ROLE_POP3D_LOGIN, "pop3", AUTHD_STEP_DONE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct client *cl = client_new(cases[i].role);
		struct ipc_out o;

		put_start(&o, 1, cases[i].service, "PLAIN", TLS | INITIAL | TICKET,
		    PLAIN("\0alice@example.test\0secret-a"));
		assert_int_equal(step_of(ask(cl, &o, AUTHD_STEP_SIG)).state, cases[i].state);
		client_free(cl);
	}
}

static void
delivery_sees_the_mailboxes_of_its_uid(void **state)
{
	static const struct {
		const char *address;
		unsigned status;
		const char *home;
	} cases[] = { { "bob@example.test", AUTHD_OK, "example.test/bob" },
		{ "Bob+ext@Example.test", AUTHD_OK, "example.test/bob" },
		{ "alice@example.test", AUTHD_NO, "" }, { "ghost@example.test", AUTHD_NO, "" },
		{ "", AUTHD_NO, "" } };
	struct client *master = client_new(ROLE_MASTER), *delivery;
	struct answer *a;
	struct ipc_out o;

	(void)state;
	ipc_out_init(&o, AUTHD_MINT_DELIVERY);
	ipc_put_u32(&o, 2001);
	a = ask(master, &o, "uh");
	assert_int_equal(ipc_get_u32(&a->in), AUTHD_OK);
	delivery = client_of_fd(a->fd);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		ipc_out_init(&o, AUTHD_MAILBOX);
		ipc_put_str(&o, cases[i].address);
		a = ask(delivery, &o, "usuus");
		assert_int_equal(ipc_get_u32(&a->in), cases[i].status);
		assert_string_equal(
		    ipc_get_str(&a->in), cases[i].status == AUTHD_OK ? "bob@example.test" : "");
		ipc_get_u32(&a->in);
		ipc_get_u32(&a->in);
		assert_string_equal(ipc_get_str(&a->in), cases[i].home);
	}
	client_free(delivery);
	client_free(master);
}

/* --- what each edge may say --------------------------------------------------------------------------- */

static void
edges_carry_only_their_messages(void **state)
{
	static const enum role roles[] = { ROLE_SMTPD, ROLE_IMAPD_LOGIN, ROLE_POP3D_LOGIN,
		ROLE_QMGR };

	(void)state;
	for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
		struct client *cl = client_new(roles[i]);
		struct step s = { .ticket_len = TICKET_BYTES };

		assert_true(ask_account(cl, &s, "imap", 1, 1)->is_null); /* only master asks that */
		client_free(cl);
	}
	for (unsigned type = 0; type < 64; type++) {
		struct client *cl = client_new(ROLE_IMAPD_LOGIN);
		struct ipc_out o;

		ipc_out_init(&o, (uint16_t)type);
		ipc_put_bytes(&o, "xxxx", 4);
		assert_true(ask(cl, &o, "u")->is_null);
		client_free(cl);
	}
}

/* --- the tool ------------------------------------------------------------------------------------------ */

static unsigned
user_add(struct client *cl, const char *address, const char *password, uint32_t uid)
{
	struct ipc_out o;
	struct answer *a;

	ipc_out_init(&o, AUTHD_USER_ADD);
	ipc_put_str(&o, address);
	ipc_put_str(&o, password);
	ipc_put_u32(&o, uid);
	ipc_put_u32(&o, 0);
	ipc_put_str(&o, "");
	a = ask(cl, &o, "us");
	return ipc_get_u32(&a->in);
}

static unsigned
user_passwd(struct client *cl, const char *address, const char *password)
{
	struct ipc_out o;
	struct answer *a;

	ipc_out_init(&o, AUTHD_USER_PASSWD);
	ipc_put_str(&o, address);
	ipc_put_str(&o, password);
	a = ask(cl, &o, "us");
	return ipc_get_u32(&a->in);
}

static unsigned
user_del(struct client *cl, const char *address)
{
	struct ipc_out o;
	struct answer *a;

	ipc_out_init(&o, AUTHD_USER_DEL);
	ipc_put_str(&o, address);
	a = ask(cl, &o, "us");
	return ipc_get_u32(&a->in);
}

static struct client *
tool_as(uid_t uid)
{
	struct client *cl = client_new(ROLE_TOOL);
	struct peer *p = ipc_conn_arg(cl->theirs);

	p->uid = uid;
	return cl;
}

static void
root_manages_accounts(void **state)
{
	struct client *cl = tool_as(0), *front = client_new(ROLE_IMAPD_LOGIN);
	struct answer *a;
	struct ipc_out o;

	(void)state;
	assert_int_equal(user_add(cl, "Carol@example.test", "secret-c", 0), AUTHD_OK);
	assert_int_equal(user_add(cl, "carol@example.test", "secret-c", 0), AUTHD_NO);
	assert_int_equal(user_add(cl, "not an address", "x", 0), AUTHD_BAD);
	assert_int_equal(user_add(cl, "dave@example.test", "", 0), AUTHD_BAD);
	assert_int_equal(
	    scram_login(front, 1, "carol@example.test", "secret-c").state, AUTHD_STEP_DONE);
	assert_int_equal(user_passwd(cl, "carol@example.test", "other"), AUTHD_OK);
	assert_int_equal(user_passwd(cl, "ghost@example.test", "other"), AUTHD_NO);
	assert_int_equal(
	    scram_login(front, 1, "carol@example.test", "secret-c").state, AUTHD_STEP_FAILED);
	assert_int_equal(
	    scram_login(front, 1, "carol@example.test", "other").state, AUTHD_STEP_DONE);
	ipc_out_init(&o, AUTHD_USER_LIST);
	ipc_put_str(&o, "");
	a = ask(cl, &o, "u(s)");
	assert_int_equal(ipc_get_u32(&a->in), AUTHD_OK);
	assert_string_equal(ipc_get_str(&a->in), "alice@example.test");
	assert_string_equal(ipc_get_str(&a->in), "bob@example.test");
	assert_string_equal(ipc_get_str(&a->in), "carol@example.test");
	assert_false(ipc_in_more(&a->in));
	ipc_out_init(&o, AUTHD_USER_SHOW);
	ipc_put_str(&o, "Bob@example.test");
	a = ask(cl, &o, "usuuss");
	assert_int_equal(ipc_get_u32(&a->in), AUTHD_OK);
	assert_string_equal(ipc_get_str(&a->in), "bob@example.test");
	assert_int_equal(ipc_get_u32(&a->in), 2001);
	ipc_get_u32(&a->in);
	ipc_get_str(&a->in);
	assert_string_equal(ipc_get_str(&a->in), "sha512-crypt SCRAM-SHA-256");
	assert_int_equal(user_del(cl, "carol@example.test"), AUTHD_OK);
	assert_int_equal(user_del(cl, "carol@example.test"), AUTHD_NO);
	assert_int_equal(
	    scram_login(front, 1, "carol@example.test", "other").state, AUTHD_STEP_FAILED);
	client_free(front);
	client_free(cl);
}

static void
others_change_their_own_password_only(void **state)
{
	struct client *owner = tool_as(2001), *vmail = tool_as(5000), *stranger = tool_as(3000);

	(void)state;
	assert_int_equal(user_add(owner, "x@example.test", "x", 0), AUTHD_NO);
	assert_int_equal(user_del(owner, "bob@example.test"), AUTHD_NO);
	assert_int_equal(user_passwd(owner, "alice@example.test", "x"), AUTHD_NO);
	assert_int_equal(user_passwd(vmail, "alice@example.test", "x"), AUTHD_NO);
	assert_int_equal(user_passwd(stranger, "bob@example.test", "x"), AUTHD_NO);
	assert_int_equal(user_passwd(stranger, "ghost@example.test", "x"), AUTHD_NO);
	assert_int_equal(user_passwd(owner, "bob@example.test", "new-b"), AUTHD_OK);
	client_free(owner);
	client_free(vmail);
	client_free(stranger);
}

/* RFC 4616 2, RFC 5802 2.2: what is the same to a reader is the same to us. */
static void
names_and_passwords_are_prepared(void **state)
{
	struct client *cl = client_new(ROLE_IMAPD_LOGIN), *tool = client_new(ROLE_TOOL);

	(void)state;
	assert_int_equal(
	    user_add(tool, "jose\xcc\x81@example.test", "caf\x65\xcc\x81 I\xc2\xadX", 0), AUTHD_OK);
	for (int i = 0; i < 2; i++) {
		struct step s = sasl_start(cl, 1, "PLAIN", TLS | INITIAL,
		    i == 0
			? PLAIN("\0jos\xc3\xa9@example.test\0caf\xc3\xa9 IX")
			: PLAIN(
			      "\0Jose\xcc\x81@example.test\0caf\x65\xcc\x81\xc2\xa0\xe2\x85\xa8"));

		assert_int_equal(s.state, AUTHD_STEP_DONE);
		assert_string_equal(s.account, "jos\xc3\xa9@example.test");
	}
	/* a client of SCRAM prepares its password itself */
	assert_int_equal(scram_login(cl, 1, "jose\xcc\x81@example.test", "caf\xc3\xa9 IX").state,
	    AUTHD_STEP_DONE);
	assert_int_equal(
	    scram_login(cl, 1, "jos\xc3\xa9@example.test", "cafe IX").state, AUTHD_STEP_FAILED);
	client_free(tool);
	client_free(cl);
}

/* --- timing ---------------------------------------------------------------------------------------------- */

static double
try_plain_us(struct client *cl, struct view initial)
{
	int64_t start = clock_wall_us();

	assert_int_equal(
	    sasl_start(cl, 1, "PLAIN", TLS | INITIAL, initial).state, AUTHD_STEP_FAILED);
	return (double)(clock_wall_us() - start);
}

/* Known and unknown user, interleaved: the middle values differ by less than a quarter.  A check without the dummy
 * hash would differ by more than a half. */
static int
compare_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void
an_unknown_user_costs_the_same(void **state)
{
	enum { SAMPLES = 300 };
	struct client *cl = client_new(ROLE_SMTPD);
	double known[SAMPLES], ghost[SAMPLES], a, b;

	(void)state;
	for (int i = 0; i < SAMPLES; i++) {
		known[i] = try_plain_us(cl, PLAIN("\0alice@example.test\0wrong-password"));
		ghost[i] = try_plain_us(cl, PLAIN("\0ghost@example.test\0wrong-password"));
	}
	qsort(known, SAMPLES, sizeof known[0], compare_double);
	qsort(ghost, SAMPLES, sizeof ghost[0], compare_double);
	a = known[SAMPLES / 2];
	b = ghost[SAMPLES / 2];
	if ((a > b ? a - b : b - a) > 0.25 * (a > b ? a : b))
		fail_msg("known %.0f us, unknown %.0f us", a, b);
	client_free(cl);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, instance_start, instance_stop)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(plain_and_login),
		TEST(refused_logins_look_alike),
		TEST(mechanisms_and_tls),
		TEST(scram_proves_both_sides),
		TEST(scram_does_not_tell_who_exists),
		TEST(scram_oddities_harm_nobody),
		TEST(names_and_passwords_are_prepared),
		TEST(a_bad_exchange_hurts_only_itself),
		TEST(two_steps_at_once),
		TEST(a_front_that_goes_leaves_nothing),
		cmocka_unit_test_setup_teardown(a_crowd_from_one_address_delays_others_by_one,
		    slow_instance_start, instance_stop),
		TEST(failure_or_leaving_delays_the_next_of_its_address),
		TEST(leaving_the_queue_gives_the_turn_back),
		TEST(the_oldest_waiting_client_makes_room),
		TEST(sasl_workers_are_replaced),
		TEST(the_database_worker_is_replaced),
		TEST(a_damaged_database_stops_only_accounts),
		TEST(a_missing_table_stops_only_addresses),
		TEST(recipients),
		TEST(tables_of_the_configuration),
		TEST(a_changed_alias_is_seen),
		TEST(a_ticket_opens_one_session),
		TEST(a_foreign_ticket_opens_nothing),
		TEST(tickets_are_for_login_fronts),
		TEST(delivery_sees_the_mailboxes_of_its_uid),
		TEST(edges_carry_only_their_messages),
		TEST(root_manages_accounts),
		TEST(others_change_their_own_password_only),
		TEST(an_unknown_user_costs_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
