/* Recipients and lookup tables. */
#include "common/base/clock.h"
#include "common/ipc/envelope.h"
#include "tests/unit/authd/authd_world.h"

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
	assert_string_equal(ipc_get_str(&a->in), "");
	assert_int_equal(ipc_get_u32(&a->in), AUTHD_SENDER_SAME);
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

static struct answer *
ask_routes(struct client *cl, const char *sender, const char *const *rcpts)
{
	struct ipc_out o;

	ipc_out_init(&o, AUTHD_ROUTE);
	ipc_put_str(&o, sender);
	for (; *rcpts != NULL; rcpts++)
		ipc_put_str(&o, *rcpts);
	return ask(cl, &o, AUTHD_ROUTE_SIG);
}

static void
assert_route(
    struct answer *a, uint32_t status, uint32_t transport, const char *nexthop, uint32_t uid)
{
	assert_int_equal(ipc_get_u32(&a->in), status);
	assert_int_equal(ipc_get_u32(&a->in), transport);
	assert_string_equal(ipc_get_str(&a->in), nexthop);
	assert_int_equal(ipc_get_u32(&a->in), uid);
	ipc_get_u32(&a->in);
}

static void
routes(void **state)
{
	static const char *const rcpts[] = { "bob@example.test", "ghost@example.test",
		"info@example.test", "x@relayed.test", "x@foreign.test", "@", NULL };
	struct client *cl = client_new(ROLE_QMGR);
	struct answer *a = ask_routes(cl, "x@sender.test", rcpts);

	(void)state;
	assert_false(a->is_null);
	assert_int_equal(ipc_get_u32(&a->in), AUTHD_OK);
	assert_route(a, AUTHD_OK, TRANSPORT_VIRTUAL, "", 2001);
	assert_route(a, AUTHD_NO, TRANSPORT_VIRTUAL, "", 5000);
	assert_route(a, AUTHD_NO, TRANSPORT_VIRTUAL, "", 5000); /* an alias is not expanded again */
	assert_route(a, AUTHD_OK, TRANSPORT_SMTP, "", 0);
	assert_route(a, AUTHD_OK, TRANSPORT_SMTP, "", 0);
	assert_route(a, AUTHD_TEMP, 0, "", 0);
	assert_false(ipc_in_more(&a->in));
	a = resolve(cl, "x@a.relayed.test");
	assert_int_equal(ipc_get_u32(&a->in), AUTHD_OK);
	assert_int_equal(ipc_get_u32(&a->in), AUTHD_RELAYED);
	client_free(cl);
}

/* status, key and value of what these keys give; a partial key begins with '~' */
static void
ask_for(struct client *cl, uint16_t type, const char *tables, const char *const *keys,
    const char *expected)
{
	struct answer *a;
	struct ipc_out o;
	char got[300];
	unsigned status, which;

	ipc_out_init(&o, type);
	if (tables != NULL)
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
		fail_msg(
		    "%s: \"%s\" instead of \"%s\"", tables != NULL ? tables : "", got, expected);
}

static void
look_up(struct client *cl, const char *tables, const char *const *keys, const char *expected)
{
	ask_for(cl, tables != NULL ? AUTHD_LOOKUP : AUTHD_PASSWORD, tables, keys, expected);
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
	look_up(cl,
	    "pcre:{{/^host/ pattern}, {/^(Mail)/i $1}}, inline:{host.test=OK, {example.test=REJECT go away}}",
	    keys, "0 1 OK");
	/* what cannot be opened says "try again", whatever stands behind it; nothing else is served */
	look_up(cl, "hash:/nonexistent/map", keys, "2 0 table");
	look_up(cl, "hash:/nonexistent/map, inline:{host.test=OK, {example.test=REJECT go away}}",
	    keys, "2 0 ");
	look_up(cl, "fail:x", keys, "2 0 table fail:x");
	look_up(cl, "texthash:/etc/passwd", keys,
	    "5 0 texthash:/etc/passwd: not a table of the configuration");
	look_up(cl, "inline:{host.test=OK}", keys, "5 0 ");
	for (size_t i = 0; i <= AUTHD_LOOKUP_KEYS; i++)
		many[i] = "x";
	look_up(cl, inline_table, many, "5 0 too many keys");
	many[AUTHD_LOOKUP_KEYS] = NULL;
	look_up(cl, inline_table, many, "1 0 ");
	client_free(cl);
}

/* smtp_sasl_password_maps: relay's alone, who names no table. */
static void
passwords(void **state)
{
	static const char *const keys[] = { "other.test", "b.test", "mx.test", NULL };
	struct client *smtpd = client_new(ROLE_SMTPD), *relay = client_new(ROLE_RELAY);

	(void)state;
	look_up(relay, NULL, keys, "0 1 b:2");
	look_up(relay, NULL, keys + 2, "0 0 user:secret");
	look_up(relay, NULL, keys + 3, "1 0 ");
	look_up(smtpd, "inline:{mx.test=user:secret}", keys, "5 0 ");
	client_free(relay);
	client_free(smtpd);
}

/* smtp_tls_policy_maps: the same, and not the other. */
static void
tls_policies(void **state)
{
	static const char *const keys[] = { "a.b.test", ".b.test", NULL }, *const other[] = {
		"b.test", "mx.test", NULL
	};
	struct client *relay = client_new(ROLE_RELAY);

	(void)state;
	ask_for(relay, AUTHD_TLS_POLICY, NULL, keys, "0 1 secure");
	ask_for(relay, AUTHD_TLS_POLICY, NULL, other, "1 0 ");
	ask_for(relay, AUTHD_PASSWORD, NULL, keys, "1 0 ");
	client_free(relay);
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(recipients),
		TEST(routes),
		TEST(tables_of_the_configuration),
		TEST(passwords),
		TEST(tls_policies),
		TEST(a_changed_alias_is_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
