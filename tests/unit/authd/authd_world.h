/* authd_world.h - the whole of authd without its cages: loop, nurseries, workers, database; socket pairs play master and the
 * fronts. */
#ifndef TESTS_UNIT_AUTHD_AUTHD_WORLD_H
#define TESTS_UNIT_AUTHD_AUTHD_WORLD_H

#include "authd/authd.h"
#include "common/base/codec.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/ipc/conn.h"
#include "common/ipc/msg/authd.h"
#include "common/user/user_db.h"
#include "tests/unit/remove_all.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { SHA256_BYTES = 32 };

/* valgrind takes its time */
static inline unsigned
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

static inline void
on_client_closed(void *arg, struct ipc_conn *c, const struct err *why)
{
	struct client *cl = arg;

	(void)c, (void)why;
	cl->is_closed = true;
	cl->ours = NULL;
}

static inline struct client *
client_of_fd(int fd)
{
	static const struct ipc_conn_ops ops = { NULL, on_client_closed };
	struct client *cl = x_calloc(1, sizeof *cl);

	cl->ours = ipc_conn_new(loop, fd, &ops, cl);
	return cl;
}

static inline struct client *
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

static inline void
client_free(struct client *cl)
{
	ipc_conn_close(cl->ours);
	free(cl);
	for (int i = 0; i < 3; i++)
		loop_run_once(loop, false);
}

static inline void
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

static inline void
on_deadline(void *arg)
{
	(void)arg;
	fail_msg("no answer in time");
}

static inline void
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
static inline struct answer *
ask(struct client *cl, struct ipc_out *o, const char *signature)
{
	static struct answer a;

	memset(&a, 0, offsetof(struct answer, body));
	ipc_conn_call(cl->ours, o, signature, deadline_ms(), on_answer, &a);
	await(&a.is_done);
	return &a;
}

/* --- the instance ----------------------------------------------------------------------------------- */

static inline void
add_user(struct user_db *db, const char *address, const char *password, uint32_t uid)
{
	struct user_record r = { .uid = uid };
	struct err e;

	if (user_password_set(&r, password, &conf.policy, &e) < 0 ||
	    user_db_put(db, address, &r, USER_DB_NEW, &e) < 0)
		fail_msg("%s", e.text);
	mem_wipe(&r, sizeof r);
}

static inline void
put_aliases(const char *text)
{
	FILE *f = fopen(aliases + strlen("texthash:"), "w");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static inline int
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
		.tables = { aliases, "", "", "", "", "" },
		.own_maps = { [LOOKUP_PASSWORDS] = "inline:{mx.test=user:secret}, inline:{b.test=b:2}",
		    [LOOKUP_TLS_POLICIES] = "inline:{.b.test=secure}" },
		.lookup_tables =
		    "inline:{host.test=OK, {example.test=REJECT go away}}, pcre:{{/^host/ pattern}, "
		    "{/^(Mail)/i $1}}, hash:/nonexistent/map, fail:x",
		.mailbox_domains = "example.test",
		.destination = "",
		.relay_domains = "relayed.test",
		.relay_parents = true,
		.virtual_way = { TRANSPORT_VIRTUAL, "" },
		.relay_way = { TRANSPORT_SMTP, "" },
		.default_way = { TRANSPORT_SMTP, "" },
		.origin = "example.test",
		.relayhost = "",
		.delimiter = "+",
		.directory = dir,
		.srs_domain = "",
		.srs_secret_file = "",
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

static inline int
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

#define TEST(f) cmocka_unit_test_setup_teardown(f, instance_start, instance_stop)

/* --- SASL ------------------------------------------------------------------------------------------- */

struct step {
	unsigned state;
	char challenge[4096];
	size_t challenge_len;
	char account[512], reason[256];
	uint8_t ticket[TICKET_BYTES];
	size_t ticket_len;
};

static inline struct step
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

static inline const char *
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

static inline void
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
static inline struct step
sasl_start(struct client *cl, uint32_t name, const char *mech, unsigned flags, struct view initial)
{
	struct ipc_out o;

	cl->last_number = name > cl->last_number ? name : cl->last_number + 1;
	cl->numbers[name] = cl->last_number;
	put_start(&o, cl->last_number, "imap", mech, flags, initial);
	return step_of(ask(cl, &o, AUTHD_STEP_SIG));
}

static inline void
put_step(struct ipc_out *o, uint32_t session, struct view response)
{
	ipc_out_init(o, AUTHD_SASL_STEP);
	ipc_put_u32(o, session);
	ipc_put_bytes(o, response.p, response.len);
}

static inline struct step
sasl_step(struct client *cl, uint32_t name, struct view response)
{
	struct ipc_out o;

	put_step(&o, cl->numbers[name], response);
	return step_of(ask(cl, &o, AUTHD_STEP_SIG));
}

#define PLAIN(text) VIEW_LIT(text)
enum { TLS = AUTHD_HAS_TLS, INITIAL = AUTHD_HAS_INITIAL, TICKET = AUTHD_WANT_TICKET };

/* --- a SCRAM client (RFC 5802, RFC 7677) ------------------------------------------------------------- */

static inline void
hmac(const uint8_t *key, size_t key_len, const char *text, uint8_t *out)
{
	unsigned n = SHA256_BYTES;

	assert_non_null(
	    HMAC(EVP_sha256(), key, (int)key_len, (const uint8_t *)text, strlen(text), out, &n));
}

static inline void
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

static inline struct step
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

static inline void
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

static inline struct step
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

/* --- addresses -------------------------------------------------------------------------------------- */

static inline struct answer *
resolve(struct client *cl, const char *address)
{
	struct ipc_out o;

	ipc_out_init(&o, AUTHD_RESOLVE);
	ipc_put_str(&o, address);
	ipc_put_u32(&o, 0);
	ipc_put_str(&o, "sender@elsewhere.test");
	return ask(cl, &o, AUTHD_RESOLVE_SIG);
}

static inline unsigned
resolve_status(struct client *cl, const char *address)
{
	struct answer *a = resolve(cl, address);

	assert_false(a->is_null);
	return ipc_get_u32(&a->in);
}

#endif
