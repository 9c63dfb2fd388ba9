/* Text of strangers that relay reads or puts into a command: EHLO, SASL, nexthops, addresses, DSN parameters.  No command
 * holds more than one line. */
#include "qmgr/relay/esmtp.h"
#include "qmgr/relay/nexthop.h"
#include "qmgr/relay/sasl.h"
#include "qmgr/relay/verdict.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_one_line(struct buf *b)
{
	const char *s = buf_cstr(b);

	if (s == NULL || b->len < 2 || strcspn(s, "\r\n") != b->len - 2 || strlen(s) != b->len)
		abort();
}

static void
check_commands(const char *text)
{
	struct relay_mail m = {
		.sender = relay_path_is_safe(text, true) ? text : "", .envid = text, .flags = ~0u
	};
	struct buf b;

	buf_init(&b, 4096);
	relay_mail_command(&b, &m, ~0u);
	check_one_line(&b);
	buf_reset(&b);
	relay_rcpt_command(&b, m.sender, ~0u, text, text[0] & 1, ~0u);
	check_one_line(&b);
	buf_clear(&b);
}

static void
check_verdict(struct view text)
{
	struct smtp_reply r;
	struct relay_verdict v;
	size_t used;

	smtp_reply_init(&r);
	if (smtp_reply_feed(&r, text, &used, NULL) == 0) {
		relay_verdict_reply(&v, &r, "host said", "x");
		for (const char *p = v.text; *p != '\0'; p++)
			if (*p < ' ' || *p > '~')
				abort();
	}
	smtp_reply_clear(&r);
}

static void
check_login(struct view text, const char *offered, const char *mechanism)
{
	struct relay_sasl x = { relay_sasl_choose(view_of(mechanism), "", 0), "user", "secret", 0 };
	struct buf b;

	relay_sasl_choose(view_of(offered), "!plain, static:all", 0);
	relay_sasl_filter_passes("plain", view_of(offered));
	buf_init(&b, 16384);
	while (relay_sasl_respond(&x, text, &b, NULL) == 0)
		if (x.steps > 2 || (b.len > 0 && strcspn(buf_cstr(&b), "\r\n") != b.len))
			abort();
	buf_clear(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const mechanisms[] = { "PLAIN", "LOGIN", "CRAM-MD5" };
	char *text = malloc(size + 1);
	struct relay_ehlo ehlo;
	struct relay_nexthop hop;

	memcpy(text, data, size);
	text[size] = '\0';
	relay_ehlo_parse(view_make(text, size), &ehlo);
	if (relay_nexthop_parse(text, 25, &hop, NULL) == 0 &&
	    (hop.port == 0 || hop.port > 65535 || hop.host[0] == '\0'))
		abort();
	check_commands(text);
	for (size_t i = 0; i < 3; i++)
		check_login(view_make(text, size), ehlo.mechanisms, mechanisms[i]);
	check_verdict(view_make(text, size));
	free(text);
	return 0;
}
