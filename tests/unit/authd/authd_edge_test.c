/* Tickets, and what each edge may say. */
#include "tests/unit/authd/authd_world.h"

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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_ticket_opens_one_session),
		TEST(a_foreign_ticket_opens_nothing),
		TEST(tickets_are_for_login_fronts),
		TEST(delivery_sees_the_mailboxes_of_its_uid),
		TEST(edges_carry_only_their_messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
