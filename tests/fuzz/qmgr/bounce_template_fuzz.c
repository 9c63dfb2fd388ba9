/* Any bytes as a template file: whatever is taken of it can be sent. */
#include "common/base/err.h"
#include "common/base/utf8.h"
#include "qmgr/bounce.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
expand(void *arg, struct view name, struct buf *out)
{
	(void)arg;
	buf_printf(out, "<%.*s>", VIEW_ARG(name));
	return !view_starts(name, "no");
}

/* Lines of notices end with CRLF and no header ends early. */
static void
check(struct view v, bool is_headers)
{
	for (size_t i = 0; i < v.len; i++) {
		bool is_lf = v.p[i] == '\n';

		if (v.p[i] == '\0' || (is_lf && (i == 0 || v.p[i - 1] != '\r')) ||
		    (unsigned char)v.p[i] >= 0x80)
			bug("a byte that no notice may have");
		if (is_headers && is_lf && i + 3 < v.len && v.p[i + 1] == '\r')
			bug("the headers end early");
	}
}

static void
render(const struct bounce_template *t, enum notice_kind kind)
{
	const struct bounce_rcpt to = { "b@b.test", "", "", "5.0.0", "no", NULL, 0, false };
	const struct bounce_input in = { .kind = kind,
		.text = t,
		.myhostname = "a.test",
		.mail_name = "E",
		.id = { 1, 1 },
		.original = { 2, 1 },
		.to = "a@a.test",
		.sender = "a@a.test",
		.envid = "",
		.rcpts = &to,
		.nrcpts = 1,
		.returned = VIEW_LIT("Subject: x\r\n\r\n") };
	struct buf headers, body;
	bool is_8bit, is_utf8;

	buf_init(&headers, 1 << 16);
	buf_init(&body, 8 << 20);
	if (bounce_render(&in, &headers, &body, &is_8bit, &is_utf8) < 0 || is_8bit || is_utf8)
		bug("a template that cannot be sent");
	check(buf_view(&headers), true);
	check(buf_view(&body), false);
	buf_clear(&headers);
	buf_clear(&body);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bounce_templates t;
	struct buf faults;

	bounce_templates_init(&t, expand, NULL);
	buf_init(&faults, 1 << 16);
	bounce_templates_parse(&t, view_make(data, size), "fuzz", expand, NULL, &faults);
	for (int kind = 0; kind < TEMPLATE_KINDS; kind++)
		for (const struct bounce_template *b = t.first[kind]; b != NULL; b = b->next) {
			if (!utf8_is_valid(view_of(b->subject)) || !utf8_is_valid(view_of(b->text)))
				bug("a template that is not UTF-8");
			render(b, NOTICE_FAILURE);
			render(b, NOTICE_DELAY_COPY);
		}
	bounce_template_find(&t, TEMPLATE_FAILURE, view_make(data, size > 40 ? 40 : size));
	buf_clear(&faults);
	bounce_templates_clear(&t);
	return 0;
}
