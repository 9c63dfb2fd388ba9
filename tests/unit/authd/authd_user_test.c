/* estafeta user: accounts are made, changed and removed. */
#include "tests/unit/authd/authd_world.h"

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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(root_manages_accounts),
		TEST(others_change_their_own_password_only),
		TEST(names_and_passwords_are_prepared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
