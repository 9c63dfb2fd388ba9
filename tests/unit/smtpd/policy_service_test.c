#include "smtpd/policy_service.h"
#include "common/base/clock.h"
#include "common/ipc/msg/dialer.h"
#include "smtpd/action.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* --- pure ----------------------------------------------------------------------------------------------------- */

static void
test_parse(void **state)
{
	static const struct {
		const char *input;
		int result;
		const char *action;
		size_t used;
	} cases[] = {
		{ "action=DUNNO\n\n", 0, "DUNNO", 14 },
		{ "action=DUNNO\r\n\r\n", 0, "DUNNO", 16 },
		{ "x=y\naction=  reject you \n\nmore", 0, "reject you", 26 },
		{ "action=DUNNO\n", 1, "", 0 },
		{ "action=DUN", 1, "", 0 },
		{ "", 1, "", 0 },
		{ "\n", -1, "", 0 },
		{ "action=\n\n", -1, "", 0 },
		{ "HTTP/1.1 400 Bad Request\r\n\r\n", -1, "", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct view action;
		size_t used = 0;

		assert_int_equal(policy_parse(view_of(cases[i].input), &action, &used), cases[i].result);
		if (cases[i].result == 0) {
			assert_true(view_eq_str(action, cases[i].action));
			assert_int_equal(used, cases[i].used);
		}
	}
}

static void
test_put(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 100);
	policy_put(&b, "helo_name", "a\nsasl_username=root\r\n");
	policy_put(&b, "sender", NULL);
	assert_string_equal(buf_cstr(&b), "helo_name=asasl_username=root\nsender=\n");
	buf_clear(&b);
}

static void
test_actions(void **state)
{
	static const struct {
		const char *value;
		enum action_kind kind;
		int code;
		const char *dsn, *text;
	} cases[] = {
		{ "OK", ACTION_OK, 0, "", "" },
		{ "ok", ACTION_OK, 0, "", "" },
		{ "1234", ACTION_OK, 0, "", "" },
		{ "0", ACTION_OK, 0, "", "" },
		{ " DUNNO ", ACTION_DUNNO, 0, "", "" },
		{ "REJECT", ACTION_REJECT, 0, "", "" },
		{ "reject  5.7.2 go away", ACTION_REJECT, 0, "5.7.2", "go away" },
		{ "550 no such user", ACTION_REJECT, 550, "", "no such user" },
		{ "450 4.2.1 busy", ACTION_DEFER, 450, "4.2.1", "busy" },
		{ "521", ACTION_REJECT, 521, "", "" },
		{ "DEFER_IF_PERMIT x", ACTION_DEFER_IF_PERMIT, 0, "", "x" },
		{ "HOLD because", ACTION_HOLD, 0, "", "because" },
		{ "FILTER smtp:[127.0.0.1]:10025", ACTION_FILTER, 0, "", "smtp:[127.0.0.1]:10025" },
		{ "PREPEND X-Spam: 5.7.1 high", ACTION_PREPEND, 0, "", "X-Spam: 5.7.1 high" },
		{ "permit_mynetworks, reject", ACTION_RESTRICTIONS, 0, "", "permit_mynetworks, reject" },
		{ "check_policy_service inet:x:1", ACTION_RESTRICTIONS, 0, "", "check_policy_service inet:x:1" },
		{ "REJECTED", ACTION_RESTRICTIONS, 0, "", "REJECTED" },
		{ "", ACTION_RESTRICTIONS, 0, "", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct action a;

		action_parse(view_of(cases[i].value), &a);
		assert_int_equal(a.kind, cases[i].kind);
		assert_int_equal(a.code, cases[i].code);
		assert_string_equal(a.dsn, cases[i].dsn);
		assert_true(view_eq_str(a.text, cases[i].text));
	}
}

static void
test_settings(void **state)
{
	static const struct {
		const char *text, *fault;
	} cases[] = {
		{ "inet:127.0.0.1:1", NULL },
		{ "unix:private/policy, timeout=10s, max_idle=1m, max_ttl=1h, request_limit=100, try_limit=1, "
		  "retry_delay=0, policy_context=x, { default_action = 451 4.3.5 later }",
		    NULL },
		{ "", "check_policy_service: no server" },
		{ "inet:127.0.0.1:1, timeout=soon", "timeout: \"soon\" is not a time" },
		{ "inet:127.0.0.1:1, try_limit=many", "try_limit: \"many\" is not a number" },
		{ "inet:127.0.0.1:1, x=y", "check_policy_service: unknown attribute \"x\"" },
		{ "inet:127.0.0.1:1, timeout", "check_policy_service: \"timeout\" is no name=value" },
	};
	struct conf conf;

	(void)state;
	conf_init(&conf);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct err err;
		struct policy_service *p = policy_service_new(view_of(cases[i].text), &conf, &err);

		assert_true((p == NULL) == (cases[i].fault != NULL));
		if (p == NULL)
			assert_string_equal(err.text, cases[i].fault);
		policy_service_free(p);
	}
	conf_clear(&conf);
}

/* --- a server behind a fake dialer ------------------------------------------------------------------------------ */

enum { QUESTIONS_MAX = 8, DEADLINE_MS = 10000 };

/* What the server does with the nth question: this text, then closes if it ends with '$'; NULL: the dialer has no
 * connection to give. */
struct world {
	struct loop *loop;
	struct conf conf;
	struct ipc_edge *edge;
	struct ipc_conn *dialer;
	struct loop_timer tick;
	const char *const *answers;
	size_t asked, dialed;
	int server; /* the present connection, -1 */
	char action[200];
	unsigned called;
	int64_t until;
};

static void
on_dial(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct world *w = arg;
	int pair[2];
	struct ipc_out o;

	assert_string_equal(ipc_get_str(in), "inet:127.0.0.1:10023");
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	w->dialed++;
	ipc_reply_init(&o);
	if (w->answers[w->asked] == NULL) {
		w->asked++;
		ipc_put_u32(&o, DIALER_TEMP);
		ipc_put_str(&o, "connection refused");
	} else {
		ipc_put_u32(&o, DIALER_OK);
		ipc_put_str(&o, "");
	}
	ipc_put_fd(&o, pair[1]);
	ipc_conn_reply(c, in->id, &o);
	close(pair[1]);
	if (w->server >= 0)
		close(w->server);
	w->server = pair[0];
}

static void
on_tick(void *arg)
{
	struct world *w = arg;
	char request[1000];
	ssize_t n = w->server >= 0 ? read(w->server, request, sizeof request - 1) : -1;

	if (n > 0) {
		const char *text = w->answers[w->asked++];
		size_t len = strlen(text);
		bool closes = len > 0 && text[len - 1] == '$';

		request[n] = '\0';
		assert_string_equal(request, "request=smtpd_access_policy\n\n");
		assert_int_equal(write(w->server, text, len - closes), (ssize_t)(len - closes));
		if (closes) {
			close(w->server);
			w->server = -1;
		}
	}
	if (clock_mono_ms() > w->until)
		loop_stop(w->loop);
	loop_timer_start(&w->tick, 1);
}

static void
on_action(void *arg, const char *action)
{
	struct world *w = arg;

	w->called++;
	snprintf(w->action, sizeof w->action, "%s", action);
	loop_stop(w->loop);
}

static const struct ipc_handler handlers[] = { { DIALER_CONNECT, "s", IPC_STATE_ANY, on_dial }, { 0, NULL, 0, NULL } };
static const struct ipc_conn_ops dialer_ops = { handlers, NULL };

static int
set_up(void **state)
{
	struct world *w = calloc(1, sizeof *w);
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	w->loop = loop_new();
	w->server = -1;
	conf_init(&w->conf);
	w->edge = ipc_edge_new_fd(w->loop, pair[0], NULL, NULL);
	w->dialer = ipc_conn_new(w->loop, pair[1], &dialer_ops, w);
	loop_timer_init(&w->tick, w->loop, on_tick, w);
	loop_timer_start(&w->tick, 1);
	*state = w;
	return 0;
}

static int
tear_down(void **state)
{
	struct world *w = *state;

	loop_timer_stop(&w->tick);
	ipc_edge_free(w->edge);
	ipc_conn_close(w->dialer);
	if (w->server >= 0)
		close(w->server);
	conf_clear(&w->conf);
	loop_free(w->loop);
	free(w);
	return 0;
}

static const char *
ask(struct world *w, struct policy_service *p)
{
	w->called = 0;
	w->until = clock_mono_ms() + DEADLINE_MS;
	policy_call_start(
	    p, w->loop, w->edge, view_of("request=smtpd_access_policy\n\n"), on_action, w);
	loop_run(w->loop);
	assert_int_equal(w->called, 1);
	return w->action;
}

static struct policy_service *
service(struct world *w, const char *more, const char *const *answers)
{
	char text[200];
	struct err err;
	struct policy_service *p;

	snprintf(text, sizeof text, "inet:127.0.0.1:10023, retry_delay=0%s", more);
	p = policy_service_new(view_of(text), &w->conf, &err);
	assert_non_null(p);
	w->answers = answers;
	return p;
}

/* One connection carries question after question. */
static void
test_connection_is_kept(void **state)
{
	static const char *const answers[] = { "action=DUNNO\n\n", "action=REJECT a\n\n", "action=OK\n\n" };
	struct world *w = *state;
	struct policy_service *p = service(w, "", answers);

	assert_string_equal(ask(w, p), "DUNNO");
	assert_string_equal(ask(w, p), "REJECT a");
	assert_string_equal(ask(w, p), "OK");
	assert_int_equal(w->dialed, 1);
	policy_service_free(p);
}

/* The server has closed it meanwhile: a new one, and no try is lost. */
static void
test_closed_connection_is_no_try(void **state)
{
	static const char *const answers[] = { "action=DUNNO\n\n", "$", "action=OK\n\n" };
	struct world *w = *state;
	struct policy_service *p = service(w, ", try_limit=1", answers);

	assert_string_equal(ask(w, p), "DUNNO");
	assert_string_equal(ask(w, p), "OK");
	assert_int_equal(w->dialed, 2);
	policy_service_free(p);
}

/* A second answer that nobody has asked for is not the next client's. */
static void
test_answers_do_not_leak(void **state)
{
	static const char *const answers[] = { "action=OK\n\naction=OK\n\n", "action=REJECT\n\n" };
	struct world *w = *state;
	struct policy_service *p = service(w, "", answers);

	assert_string_equal(ask(w, p), "OK");
	assert_string_equal(ask(w, p), "REJECT");
	assert_int_equal(w->dialed, 2);
	policy_service_free(p);
}

static void
test_request_limit(void **state)
{
	static const char *const answers[] = { "action=a\n\n", "action=b\n\n", "action=c\n\n" };
	struct world *w = *state;
	struct policy_service *p = service(w, ", request_limit=2", answers);

	assert_string_equal(ask(w, p), "a");
	assert_string_equal(ask(w, p), "b");
	assert_string_equal(ask(w, p), "c");
	assert_int_equal(w->dialed, 2);
	policy_service_free(p);
}

/* Tried as often as allowed, then the default action. */
static void
test_default_action(void **state)
{
	static const char *const refused[] = { NULL, NULL, "action=DUNNO\n\n" };
	static const char *const nonsense[] = { "HTTP/1.1 400\n\n", "$", "action=DUNNO\n\n" };
	static const char *const silent[] = { "", "" };
	struct world *w = *state;
	struct policy_service *p = service(w, ", { default_action = 451 later }", refused);

	assert_string_equal(ask(w, p), "451 later");
	assert_int_equal(w->asked, 2);
	w->answers = nonsense;
	w->asked = 0;
	assert_string_equal(ask(w, p), "451 later");
	assert_int_equal(w->asked, 2);
	policy_service_free(p);
	p = service(w, ", timeout=1s, try_limit=1, default_action=DUNNO", silent);
	w->asked = 0;
	assert_string_equal(ask(w, p), "DUNNO");
	policy_service_free(p);
}

/* The session has gone: nobody is told, and the connection with its answer under way is not used again. */
static void
test_cancel(void **state)
{
	static const char *const answers[] = { "action=DUNNO\n\n", "action=OK\n\n" };
	struct world *w = *state;
	struct policy_service *p = service(w, "", answers);
	struct policy_call *call;

	call = policy_call_start(
	    p, w->loop, w->edge, view_of("request=smtpd_access_policy\n\n"), on_action, w);
	policy_call_cancel(call);
	assert_string_equal(ask(w, p), "DUNNO");
	assert_int_equal(w->called, 1);
	policy_service_free(p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_put),
		cmocka_unit_test(test_actions),
		cmocka_unit_test(test_settings),
		cmocka_unit_test_setup_teardown(test_connection_is_kept, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_closed_connection_is_no_try, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_request_limit, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_answers_do_not_leak, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_default_action, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_cancel, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
