/* The milter gate: every stage against milters that answer by script.  A case's milters are lines
 *   command replies		"R r", "E hX-A\0 b\0|c": replies between bars, each a letter and its data (escapes as in
 *				scripts), sent when that command comes; "-": no reply; "X": closes; "Y": 10,001 changes of headers; "*N": N bytes of garbage
 *   O version actions protocol	hexadecimal; its answer to option negotiation
 *   =				the next milter
 * A command without a line gets "c".  Scripts know two lines more than session_world.h:
 *   m text	the milters have seen this, in the form "C(host|4|...)M(<a@b>)"; m! text: they have not */
#include "tests/unit/smtpd/session_world.h"

#include "common/ipc/msg/dialer.h"

enum { MILTERS_MAX = 3, ROWS = 16 };

struct fake_milter {
	const char *rows[ROWS];
	size_t nrows;
	int fd;
	struct loop_watch watch;
	struct buf in;
};

static struct fake_milter milters[MILTERS_MAX];
static struct buf seen;
static struct ipc_conn *dialer_side;

static void
send_packet(struct fake_milter *f, struct view packet)
{
	char head[4] = { (char)(packet.len >> 24), (char)(packet.len >> 16),
		(char)(packet.len >> 8), (char)packet.len };

	/* the session may have gone */
	(void)send(f->fd, head, 4, MSG_NOSIGNAL);
	(void)send(f->fd, packet.p, packet.len, MSG_NOSIGNAL);
}

static void
fake_close(struct fake_milter *f)
{
	if (f->fd < 0)
		return;
	loop_watch_set(&f->watch, 0);
	fd_close(&f->fd);
	buf_clear(&f->in);
}

static void
send_replies(struct fake_milter *f, const char *text)
{
	struct view rest = view_of(text), reply;
	bool more = true;

	while (more && f->fd >= 0) {
		struct buf bytes;
		char *copy;

		more = view_cut(rest, '|', &reply, &rest);
		copy = x_strndup(reply.p, reply.len);
		buf_init(&bytes, 4 << 20);
		if (copy[0] == 'X') {
			fake_close(f);
		} else if (copy[0] == 'Y') {
			/* "abc" removed again and again: as much as a socket takes at once, the fake does not wait */
			for (int n = 0; n <= 10000; n++)
				buf_append(&bytes, "\0\0\0\12m\0\0\0\1abc\0", 14);
			fcntl(f->fd, F_SETFL, 0);
			(void)send(f->fd, bytes.p, bytes.len, MSG_NOSIGNAL);
		} else if (copy[0] == '*') {
			for (long n = strtol(copy + 1, NULL, 10); n > 0; n--)
				buf_append_byte(&bytes, 'z');
			(void)send(f->fd, bytes.p, bytes.len, MSG_NOSIGNAL);
		} else if (copy[0] != '-' || copy[1] != '\0') {
			unescape(&bytes, copy);
			send_packet(f, buf_view(&bytes));
		}
		buf_clear(&bytes);
		free(copy);
	}
}

static void
answer_options(struct fake_milter *f, const char *row)
{
	unsigned v[3] = { 6, 0x1ff, 0 };
	char packet[13] = "O";

	if (row != NULL)
		assert_int_equal(sscanf(row, "O %x %x %x", &v[0], &v[1], &v[2]), 3);
	for (int i = 0; i < 12; i++)
		packet[1 + i] = (char)(v[i / 4] >> (24 - 8 * (i % 4)));
	send_packet(f, view_make(packet, sizeof packet));
}

static const char *
row_of(const struct fake_milter *f, char command)
{
	for (size_t i = 0; i < f->nrows; i++)
		if (f->rows[i][0] == command)
			return f->rows[i];
	return NULL;
}

static void
note(struct view p)
{
	buf_append_byte(&seen, p.p[0]);
	buf_append_byte(&seen, '(');
	for (size_t i = 1; i < p.len && i < 3000; i++)
		buf_append_byte(&seen, p.p[i] == '\0' ? '|' : p.p[i]);
	buf_append_byte(&seen, ')');
}

static void
take_command(struct fake_milter *f, struct view p)
{
	const char *row = row_of(f, p.p[0]);

	note(p);
	if (p.p[0] == 'O')
		answer_options(f, row);
	else if (row != NULL)
		send_replies(f, row + 2);
	else if (strchr("DAQ", p.p[0]) == NULL)
		send_packet(f, VIEW_LIT("c"));
}

static void
on_fake_readable(void *arg, short what)
{
	struct fake_milter *f = arg;
	char *to = buf_reserve(&f->in, 65536);
	ssize_t n = recv(f->fd, to, 65536, 0);

	(void)what;
	if (n <= 0) {
		fake_close(f);
		return;
	}
	f->in.len += (size_t)n;
	while (f->fd >= 0 && f->in.len >= 4) {
		const unsigned char *u = (const unsigned char *)f->in.p;
		size_t len = (size_t)u[0] << 24 | (size_t)u[1] << 16 | (size_t)u[2] << 8 | u[3];

		if (f->in.len < 4 + len)
			break;
		take_command(f, view_make(f->in.p + 4, len));
		if (f->fd >= 0)
			buf_consume(&f->in, 4 + len);
	}
}

static void
on_dial(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	const char *endpoint = ipc_get_str(in);
	unsigned n = (unsigned)(endpoint[strlen(endpoint) - 1] - '1');
	struct ipc_out o;
	int fds[2];

	(void)arg;
	if (strstr(endpoint, "silent") != NULL)
		return;
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	ipc_reply_init(&o);
	ipc_put_u32(&o, strstr(endpoint, "down") != NULL ? DIALER_TEMP : DIALER_OK);
	ipc_put_str(&o, strstr(endpoint, "down") != NULL ? "connect: Connection refused" : "");
	ipc_put_fd(&o, fds[0]);
	ipc_conn_reply(c, in->id, &o);
	close(fds[0]);
	if (strstr(endpoint, "down") != NULL) {
		close(fds[1]);
		return;
	}
	assert_in_range(n, 0, MILTERS_MAX - 1);
	fake_close(&milters[n]);
	milters[n].fd = fds[1];
	buf_init(&milters[n].in, 4 << 20);
	loop_watch_init(&milters[n].watch, the_loop, fds[1], on_fake_readable, &milters[n]);
	loop_watch_set(&milters[n].watch, LOOP_READ);
}

static const struct ipc_handler dialer_rows[] = { { DIALER_CONNECT, "s", IPC_STATE_ANY, on_dial },
	{ 0, NULL, 0, NULL } };

static void
expect_seen(struct world *w, const char *text, bool is_there)
{
	int64_t until = clock_mono_ms() + (is_there ? DEADLINE_MS : 0);
	struct buf b;

	buf_init(&b, TEXT_MAX);
	unescape(&b, text);
	while (view_find(buf_view(&seen), buf_view(&b)) == NULL && clock_mono_ms() < until)
		turn(w);
	if ((view_find(buf_view(&seen), buf_view(&b)) != NULL) != is_there)
		fail_msg("%s: milters %s \"%s\":\n%s", w->where, is_there ? "have not seen" : "have seen",
		    text, buf_cstr(&seen));
	buf_clear(&b);
}

static void
play_case(struct world *w, const char *script)
{
	char *copy = x_strdup(script), *save = NULL;

	for (char *line = strtok_r(copy, "\n", &save); line != NULL;
	     line = strtok_r(NULL, "\n", &save)) {
		if (line[0] == 'm')
			expect_seen(w, strchr(line, ' ') + 1, line[1] != '!');
		else if (line[0] == 'H')
			assert_true(w->flags & ENVELOPE_HOLD);
		else if (line[0] == 'F')
			assert_string_equal(w->sender, line + 2);
		else
			play(w, line);
	}
	free(copy);
}

struct milter_case {
	const char *name, *settings, *milters, *script;
};

#define HELLO "C 192.0.2.1\n< 220\n> EHLO c.example\n< 250\n"
#define UP_TO_RCPT HELLO "> MAIL FROM:<a@sender.example>\n< 250\n> RCPT TO:<bob@example.test>\n< 250\n"
#define TEXT "> DATA\n< 354\n> Subject: x\n> \n> body\n> .\n"
#define ONE "smtpd_milters = inet:127.0.0.1:1"
#define TWO "smtpd_milters = inet:127.0.0.1:1, inet:127.0.0.1:2"

static const struct milter_case cases[] = {
	{ "all stages", ONE, "",
	    UP_TO_RCPT TEXT "< 250\n"
	    "m C(client.example|4||192.0.2.1|)\nm H(c.example|)\nm M(<a@sender.example>|)\n"
	    "m R(<bob@example.test>|)\nm T()\nm L(Subject|x|)\nm N()B(body\\r\\n)\nm E()\nm! A()\n"
	    "m D(Ei|\nQ= Subject: x\\r\\n\\r\\nbody\\r\\n\nN 1\n> QUIT\n< 221\nm Q()\n" },
	{ "macros", ONE, "", UP_TO_RCPT TEXT "< 250\nm D(Cj|mail.example.test|{daemon_name}|mail.example.test|\n"
	    "m _|client.example [192.0.2.1]|\nm v|Estafeta|\nm {mail_addr}|a@sender.example|{mail_host}|sender.example|\n"
	    "m D(R\nm {rcpt_addr}|bob@example.test|{rcpt_host}|example.test|{rcpt_mailer}|virtual|)\nm D(Ei|4ZfakeId1|)\n" },
	{ "macro defaults", ONE "\nmilter_macro_defaults = auth_type=none\nmilter_helo_macros = {auth_type} nonsense", "",
	    UP_TO_RCPT "m D(H{auth_type}|none|)H(\nm {auth_type}|none|\n" },
	{ "unknown client", ONE, "", "C 192.0.2.2\n< 220\nm C([192.0.2.2]|4\n" },
	{ "IPv6", ONE, "", "C 2001:db8::1\n< 220\nm |6||2001:db8::1|)\n" },
	{ "parameters of MAIL", ONE, "", HELLO "> MAIL FROM:<> SIZE=10 BODY=8BITMIME\n< 250\nm M(<>|SIZE=10|BODY=8BITMIME|)\n" },
	{ "unknown command", ONE, "U y500 5.5.1 go away\\0", HELLO "> FROBNICATE it\n< 500 5.5.1 go away\nm U(FROBNICATE it|)\n> NOOP\n< 250\n" },
	{ "version 2", ONE, "O 2 3f 0", UP_TO_RCPT TEXT "< 250\nm O(|||\\x06\nm! T()\nm E()\nN 1\n" },
	{ "offers version 2", "smtpd_milters = { inet:127.0.0.1:1, protocol=2 }", "O 2 3f 0", UP_TO_RCPT "m O(|||\\x02|||\\x3f\n" },
	{ "a milter that wants nothing", ONE, "O 6 1ff 37f", UP_TO_RCPT TEXT "< 250\nm! C(\nm! M(\nm! L(\nm! B(\nm E()\nN 1\n" },
	{ "a milter that does not reply", ONE, "O 6 1ff ff080\nC -\nH -\nM -\nR -\nT -\nL -\nN -\nB -", UP_TO_RCPT TEXT "< 250\nm B(body\nN 1\n" },
	{ "leading space", ONE, "O 6 1ff 100000\nE hX-A\\0 b\\0|c", UP_TO_RCPT TEXT "< 250\nm L(Subject| x|)\nQ X-A: b\\r\\n\n" },
	{ "rejects the connection", ONE, "C r", "C 192.0.2.1\n< 220\n> EHLO x\n< 550 5.7.1 Command rejected\n"
	    "L milter-reject: EHLO from client.example[192.0.2.1]: 550 5.7.1 Command rejected;\n> MAIL FROM:<a@b.example>\n< 550\n> RCPT TO:<b@example.test>\n< 503\n> QUIT\n< 221\n" },
	{ "rejects EHLO", ONE, "H y554 5.7.1 you?\\0", "C 192.0.2.1\n< 220\n> EHLO x\n< 554 5.7.1 you?\n> EHLO y\n< 554\n> HELO x\n< 554\n" },
	{ "421 at connection", ONE, "C y421 4.7.0 later\\0", "C 192.0.2.1\n< 421 4.7.0 later\n! closed\n" },
	{ "shutdown at RCPT", ONE, "R 4", HELLO "> MAIL FROM:<a@b.example>\n< 250\n> RCPT TO:<bob@example.test>\n< 421 4.7.0\n! closed\nE 0\n" },
	{ "accepts the connection", ONE, "C a", UP_TO_RCPT TEXT "< 250\nm Q()\nm! M(\nN 1\n" },
	{ "rejects MAIL", ONE, "M r", HELLO "> MAIL FROM:<a@b.example>\n< 550 5.7.1 Command rejected\nm A()\n> RCPT TO:<bob@example.test>\n< 503\n"
	    "L NOQUEUE: milter-reject: MAIL from client.example[192.0.2.1]: 550 5.7.1 Command rejected; from=<a@b.example> proto=ESMTP helo=<c.example>\n" },
	{ "rejects one recipient", ONE, "", UP_TO_RCPT TEXT "< 250\nN 1\n" },
	{ "rejects a recipient only", ONE, "R y550-5.1.1 not\\r\\n550 5.1.1 here\\0", HELLO "> MAIL FROM:<a@b.example>\n< 250\n> RCPT TO:<bob@example.test>\n< 550 5.1.1 here\n<~ 550-5.1.1 not\n> DATA\n< 554\n> RSET\n< 250\nm A()\n" },
	{ "tempfail at RCPT", ONE, "R t", HELLO "> MAIL FROM:<a@b.example>\n< 250\n> RCPT TO:<bob@example.test>\n< 451 4.7.1 Service unavailable\n" },
	{ "rejects DATA", ONE, "T r", UP_TO_RCPT "> DATA\n< 550 5.7.1\n" },
	{ "accepts at MAIL", ONE, "M a", UP_TO_RCPT TEXT "< 250\nm! R(\nm! E()\nm A()\nN 1\n> MAIL FROM:<c@d.example>\n< 250\nm M(<c@d.example>|)\n" },
	{ "discards at RCPT", ONE, "R d", UP_TO_RCPT TEXT "< 250 2.0.0 Ok: queued as\nN 0\nL milter-discard: RCPT from client.example[192.0.2.1]: milter triggers DISCARD action;\n" },
	{ "discards at the end", ONE, "E d", UP_TO_RCPT TEXT "< 250 2.0.0 Ok: queued as\nN 0\nL cleanup: 4ZfakeId1: milter-discard: END-OF-MESSAGE from client.example[192.0.2.1]: milter triggers DISCARD action; from=<a@sender.example> to=<bob@example.test>\n"
	    "> MAIL FROM:<c@d.example>\n< 250\n> RCPT TO:<alice@example.test>\n< 250\n" },
	{ "rejects the message", ONE, "E y554 5.7.1 Gtube pattern\\0", UP_TO_RCPT TEXT "< 554 5.7.1 Gtube pattern\nN 0\n"
	    "L cleanup: 4ZfakeId1: milter-reject: END-OF-MESSAGE from client.example[192.0.2.1]: 5.7.1 Gtube pattern; from=<a@sender.example> to=<bob@example.test> proto=ESMTP helo=<c.example>\n> NOOP\n< 250\n" },
	{ "rejects a header", ONE, "L r", UP_TO_RCPT TEXT "< 550 5.7.1\nm A()\nm! E()\nN 0\n" },
	{ "rejects the body", ONE, "B t", UP_TO_RCPT TEXT "< 451\nm! E()\nN 0\n" },
	{ "accepts at the headers", ONE, "N a", UP_TO_RCPT TEXT "< 250\nm! B(\nN 1\n" },
	{ "skips the body", ONE, "B s", UP_TO_RCPT "> DATA\n< 354\n> A: b\n> \nZ 3000 0123456789012345678901234567890123456789012345678\\r\\n\n> .\n< 250\nm B(0123\nm )E()\nN 1\n" },
	{ "progress", ONE, "E p|p|c", UP_TO_RCPT TEXT "< 250\nN 1\n" },
	{ "quarantine", ONE, "E qlooks odd\\0|c", UP_TO_RCPT TEXT "< 250\nN 1\nH\nL milter-hold: END-OF-MESSAGE from client.example[192.0.2.1]: milter triggers HOLD action: looks odd;\n" },
	{ "header changes", ONE, "E hX-Last\\0z\\0|i\\0\\0\\0\\0X-First\\0a\\nfold\\0|i\\0\\0\\0\\x02X-Second\\0s\\0|m\\0\\0\\0\\x01Subject\\0new\\0|m\\0\\0\\0\\x01X-None\\0added\\0|c",
	    UP_TO_RCPT TEXT "< 250\nQ X-First: a\\r\\n\\tfold\\r\\nReceived:\nQ +0000\n" },
	{ "header changes in order", ONE, "E hX-Last\\0z\\0|i\\0\\0\\0\\x01X-Second\\0s\\0|m\\0\\0\\0\\x01Subject\\0new\\0|m\\0\\0\\0\\x01X-None\\0added\\0|c",
	    UP_TO_RCPT TEXT "< 250\nQ X-Second: s\\r\\nSubject: new\\r\\nX-Last: z\\r\\nX-None: added\\r\\n\\r\\nbody\\r\\n\n" },
	{ "a header removed", ONE, "E m\\0\\0\\0\\x02A\\0\\0|c", UP_TO_RCPT "> DATA\n< 354\n> A: 1\n> B: 2\n> a: 3\n> C: 4\n> \n> body\n> .\n< 250\nQ \\r\\nA: 1\\r\\nB: 2\\r\\nC: 4\\r\\n\\r\\nbody\\r\\n\n" },
	{ "headers before text without any", ONE, "E hX-A\\0b\\0|c", UP_TO_RCPT "> DATA\n< 354\n> no header\n> .\n< 250\nm! L(\nm B(no header\\r\\n)\nQ X-A: b\\r\\n\\r\\nno header\\r\\n\n" },
	{ "headers of an empty message", ONE, "E hX-A\\0b\\0|c", UP_TO_RCPT "> DATA\n< 354\n> .\n< 250\nm! B(\nQ X-A: b\\r\\n\n" },
	{ "new body", ONE, "E bline one\\nand\\r|b\\ntwo\\0|c", UP_TO_RCPT TEXT "< 250\nQ \\r\\nSubject: x\\r\\n\\r\\nline one\\r\\nand\\r\\ntwo\n" },
	{ "new body of a message without headers", ONE, "E bnew\\r\\n|c", UP_TO_RCPT "> DATA\n< 354\n> no header\n> .\n< 250\nQ \\r\\n\\r\\nnew\\r\\n\n" },
	{ "the second sees what the first has done", TWO, "E hX-A\\0b\\0|bnew\\r\\n|c\n=\n", UP_TO_RCPT TEXT "< 250\nm E()\nm L(X-A|b|)\nm B(new\\r\\n)\nQ X-A: b\\r\\n\\r\\nnew\\r\\n\n" },
	{ "the second rejects", TWO, "\n=\nE r", UP_TO_RCPT TEXT "< 550\nN 0\n" },
	{ "the first rejects", TWO, "M r\n=\nM X", HELLO "> MAIL FROM:<a@b.example>\n< 550\n" },
	{ "sender changed", ONE, "E e<new@sender.example>\\0|c", UP_TO_RCPT TEXT "< 250\nN 1\nF new@sender.example\n" },
	{ "recipients changed", ONE, "E +<alice@example.test>\\0|-<bob@example.test>\\0|2<list@example.test>\\0NOTIFY=NEVER\\0|c", UP_TO_RCPT TEXT "< 250\nR alice@example.test bob@example.test\n"
	    "V to=<alice@example.test> orig=<> notify=0 orcpt= to=<bob@example.test> orig=<list@example.test> notify=1 orcpt=\n" },
	{ "parameters of a recipient", ONE, "E 2<alice@example.test>\\0NOTIFY=SUCCESS,DELAY orcpt=rfc822;a+2Bb@x FOO=bar\\0|c", UP_TO_RCPT TEXT "< 250\n"
	    "V to=<alice@example.test> orig=<> notify=10 orcpt=rfc822;a+2Bb@x\nL milter inet:127.0.0.1:1: not all ESMTP parameters are taken: NOTIFY=SUCCESS,DELAY orcpt=rfc822;a+2Bb@x FOO=bar\n" },
	{ "bad parameters of a recipient", ONE, "E 2<alice@example.test>\\0NOTIFY=ALWAYS ORCPT=x NOTIFY\\0|2<carol@example.test>\\0=\\0|c", UP_TO_RCPT TEXT "< 250\n"
	    "V to=<alice@example.test> orig=<> notify=0 orcpt= to=<carol@example.test> orig=<> notify=0 orcpt=\n"
	    "L taken: NOTIFY=ALWAYS ORCPT=x NOTIFY\nL taken: =\n" },
	{ "parameters of a sender", ONE, "E e<new@sender.example>\\0RET=HDRS ENVID=a+2Bb SIZE=1\\0|c", UP_TO_RCPT TEXT "< 250\nF new@sender.example\n"
	    "V flags=0x8 envid=a+2Bb\nL taken: RET=HDRS ENVID=a+2Bb SIZE=1\n" },
	{ "RFC 2033 4.2 replies count RCPT, not what milters add", ONE "\nsmtpd_lmtp = yes", "E +<alice@example.test>\\0|c", "C 192.0.2.1\n< 220\n> LHLO c.example\n< 250\n> MAIL FROM:<a@sender.example>\n< 250\n> RCPT TO:<bob@example.test>\n< 250\n"
	    TEXT "< 250 2.0.0 Ok: queued\n> VRFY x\n< 252\nR bob@example.test alice@example.test\n" },
	{ "more changes of headers than anybody needs", ONE, "E Y|c", UP_TO_RCPT TEXT "< 451 4.7.1\nL too many changes of headers\nN 0\n" },
	{ "all recipients removed", ONE, "E -<bob@example.test>\\0|c", UP_TO_RCPT TEXT "< 250\nN 0\n" },
	{ "a recipient that is not there", ONE, "E +<nobody@example.test>\\0|c", UP_TO_RCPT TEXT "< 451\nN 0\nL recipient <nobody@example.test> cannot be added: unknown\n" },
	{ "down", "smtpd_milters = inet:down:1", "", "C 192.0.2.1\n< 220\nL connect to Milter service inet:down:1: connect: Connection refused\n> EHLO x\n< 451 4.7.1 Service unavailable - try again later\n" },
	{ "down, accept", "smtpd_milters = { inet:down:1, default_action=accept }", "", UP_TO_RCPT TEXT "< 250\nN 1\n" },
	{ "down, reject", "smtpd_milters = inet:down:1\nmilter_default_action = reject", "", "C 192.0.2.1\n< 220\n> EHLO x\n< 550 5.5.0 Service unavailable\n" },
	{ "down, quarantine", "smtpd_milters = { inet:down:1, default_action=quarantine }", "", UP_TO_RCPT TEXT "< 250\nN 1\nH\n" },
	{ "down, shutdown", "smtpd_milters = { inet:down:1, default_action=shutdown }", "", "C 192.0.2.1\n< 421 4.7.0\n! closed\n" },
	{ "dialer is silent", "smtpd_milters = { inet:silent:1, connect_timeout=1s, default_action=accept }", "", UP_TO_RCPT "L connect to Milter service inet:silent:1: Connection timed out\n" },
	{ "one down of two", "smtpd_milters = { inet:down:1, default_action=accept } inet:up:2", "\n=\nE hX-A\\0b\\0|c", UP_TO_RCPT TEXT "< 250\nQ X-A: b\\r\\n\n" },
	{ "dies at RCPT", ONE, "R X", HELLO "> MAIL FROM:<a@b.example>\n< 250\n> RCPT TO:<bob@example.test>\n< 451\n> MAIL FROM:<a@b.example>\n< 503\n> RSET\n< 250\n> MAIL FROM:<a@b.example>\n< 451\n" },
	{ "dies at the end, accept", ONE "\nmilter_default_action = accept", "E X", UP_TO_RCPT TEXT "< 250\nN 1\n" },
	{ "dies between commands", ONE, "", UP_TO_RCPT TEXT "< 250\n" },
	{ "does not answer", "smtpd_milters = { inet:127.0.0.1:1, command_timeout=1s }", "M -", HELLO "> MAIL FROM:<a@b.example>\n< 451\nL milter inet:127.0.0.1:1: timeout\n" },
	{ "does not answer the end", "smtpd_milters = { inet:127.0.0.1:1, content_timeout=1s, default_action=accept }", "E -", UP_TO_RCPT TEXT "< 250\nN 1\n" },
	{ "nonsense", ONE, "M z", HELLO "> MAIL FROM:<a@b.example>\n< 451\nL milter inet:127.0.0.1:1: unknown reply 0x7a\n" },
	{ "garbage", ONE, "M *100", HELLO "> MAIL FROM:<a@b.example>\n< 451\nL packet of\n" },
	{ "a change too early", ONE, "M hA\\0b\\0", HELLO "> MAIL FROM:<a@b.example>\n< 451\nL a change before the end\n" },
	{ "a change that was not negotiated", ONE, "O 6 0 0\nE hA\\0b\\0|c", UP_TO_RCPT TEXT "< 451\nL was not negotiated\n" },
	{ "a header that is none", ONE, "E hA B\\0b\\0|c", UP_TO_RCPT TEXT "< 451\nL not a header name\n" },
	{ "a reply that is none", ONE, "M y200 ok\\0", HELLO "> MAIL FROM:<a@b.example>\n< 451\nL malformed SMTP reply\n" },
	{ "a body beyond the limit", ONE "\nmessage_size_limit = 1000", "E b0123456789|c", UP_TO_RCPT TEXT "< 250\nN 1\n" },
	{ "wrong version", ONE, "O 7 0 0", "C 192.0.2.1\n< 220\n> EHLO x\n< 451\nL protocol version 7\n" },
	{ "large message", ONE, "E hX-A\\0b\\0|c", UP_TO_RCPT "> DATA\n< 354\n> A: b\n> \nZ 20000 0123456789012345678901234567890123456789012345678\\r\\n\n> .\n< 250\nQ A: b\\r\\nX-A: b\\r\\n\\r\\n0123456789\nN 1\n" },
	{ "large message as it is", ONE, "", UP_TO_RCPT "> DATA\n< 354\n> A: b\n> \nZ 20000 0123456789012345678901234567890123456789012345678\\r\\n\n> .\n< 250\nQ A: b\\r\\n\\r\\n0123456789\nN 1\n" },
	{ "large message without replies", ONE, "O 6 1ff ff080\nC -\nH -\nM -\nR -\nT -\nL -\nN -\nB -", UP_TO_RCPT "> DATA\n< 354\n> A: b\n> \nZ 40000 0123456789012345678901234567890123456789012345678\\r\\n\n> .\n< 250\nN 1\n" },
	{ "large message gets a new body", ONE, "E bsmall\\r\\n|c", UP_TO_RCPT "> DATA\n< 354\n> A: b\n> \nZ 20000 0123456789012345678901234567890123456789012345678\\r\\n\n> .\n< 250\nQ A: b\\r\\n\\r\\nsmall\\r\\n\n" },
	{ "many headers", ONE, "E hX-A\\0b\\0|c", UP_TO_RCPT "> DATA\n< 354\nZ 5000 X-Field: 0123456789012345678901234567890123456789\\r\\n\n> \n> body\n> .\n< 250\nQ 0123456789\\r\\nX-A: b\\r\\n\\r\\nbody\n" },
	{ "too many headers", ONE, "", UP_TO_RCPT "> DATA\n< 354\nZ 100001 a:b\\r\\n\n> \n> .\n< 552 5.3.4\n> NOOP\n< 250\nN 0\n" },
	{ "the client goes while a milter thinks", ONE, "M -", HELLO "> MAIL FROM:<a@b.example>\nm M(\nX rst\n" },
	{ "submission gets what a milter has not added", ONE, "E hDate\\0Mon, 1 Jan 2024 00:00:00 +0000\\0|c", "C 127.0.0.1\n< 220\n> EHLO x\n< 250\n> MAIL FROM:<a@sender.example>\n< 250\n> RCPT TO:<bob@example.test>\n< 250\n" TEXT "< 250\nQ Message-Id: \nQ Subject: x\\r\\nDate: Mon, 1 Jan 2024\n" },
};

static void
read_milters(char *text)
{
	size_t n = 0;
	char *save = NULL;

	for (size_t i = 0; i < MILTERS_MAX; i++)
		milters[i] = (struct fake_milter){ .fd = -1 };
	for (char *row = strtok_r(text, "\n", &save); row != NULL; row = strtok_r(NULL, "\n", &save)) {
		if (row[0] == '=')
			n++;
		else
			milters[n].rows[milters[n].nrows++] = row;
	}
}

static void
run_case(const struct milter_case *c)
{
	struct ipc_conn_ops ops = { .handlers = dialer_rows };
	char *text = x_strdup(c->milters);
	struct ipc_edge *dialer;
	struct world w;
	int fds[2];

	read_milters(text);
	buf_init(&seen, 8 << 20);
	world_init(&w, c->name, c->settings);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	dialer_side = ipc_conn_new(the_loop, fds[1], &ops, NULL);
	w.server.dialer = dialer = ipc_edge_new_fd(the_loop, fds[0], NULL, NULL);
	play_case(&w, c->script);
	world_clear(&w);
	ipc_edge_free(dialer);
	ipc_conn_close(dialer_side);
	for (size_t i = 0; i < MILTERS_MAX; i++)
		fake_close(&milters[i]);
	buf_clear(&seen);
	free(text);
}

static void
test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		run_case(&cases[i]);
	print_message("%zu dialogues\n", sizeof cases / sizeof cases[0]);
}

static void
test_settings(void **state)
{
	static const struct {
		const char *settings, *fault; /* fault NULL: good */
	} rows[] = {
		{ "smtpd_milters = inet:a:1, { unix:/b, { command_timeout = 5s } protocol=2 } local:/c", NULL },
		{ "smtpd_milters = { inet:a:1, protocol=7 }", "protocol=7" },
		{ "smtpd_milters = { inet:a:1, default_action=maybe }", "default_action=maybe" },
		{ "smtpd_milters = { inet:a:1, connect_timeout=0 }", "connect_timeout=0" },
		{ "smtpd_milters = { inet:a:1, connect_timeout=5x }", "connect_timeout=5x" },
		{ "smtpd_milters = { inet:a:1, colour=red }", "colour=red" },
		{ "smtpd_milters = { }", "empty" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct milter_config c;
		struct conf conf;
		struct err err;
		int r;

		conf_init(&conf);
		assert_int_equal(conf_parse(&conf, view_of(rows[i].settings), "case", &err), 0);
		r = milter_config_read(&c, &conf, &err);
		assert_int_equal(r, rows[i].fault == NULL ? 0 : -1);
		if (r < 0)
			assert_non_null(strstr(err.text, rows[i].fault));
		else
			assert_int_equal(c.count, 3);
		milter_config_clear(&c);
		conf_clear(&conf);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_settings), cmocka_unit_test(test_cases) };

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
