/* Logins: mechanisms, exchanges beside each other, and what a refusal tells. */
#include "authd/sasl_exchange.h"
#include "common/base/clock.h"
#include "tests/unit/authd/authd_world.h"

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
		TEST(a_bad_exchange_hurts_only_itself),
		TEST(two_steps_at_once),
		TEST(a_front_that_goes_leaves_nothing),
		TEST(an_unknown_user_costs_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
