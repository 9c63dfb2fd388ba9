/* Random commands in three sessions of one account, and a foreign program beside them.  Each client keeps its own picture of
 * the mailbox from the untagged responses alone, as a real one does; whenever things are quiet, it must be the truth. */
#include "wire.h"

enum { SESSIONS = 3, MESSAGES_MAX = 4000, ROUNDS = 60, COMMANDS = 12 };

struct picture {
	size_t count;
	struct {
		char flags[100]; /* "" = not known yet */
		bool is_recent;
	} message[MESSAGES_MAX];
};

static struct picture pictures[SESSIONS + 1];
static uint64_t state_of_dice = 88172645463325252u;

static unsigned
dice(unsigned sides)
{
	state_of_dice ^= state_of_dice << 13;
	state_of_dice ^= state_of_dice >> 7;
	state_of_dice ^= state_of_dice << 17;
	return (unsigned)(state_of_dice >> 33) % sides;
}

/* \Recent is a matter of the session and no part of the picture. */
static void
copy_flags(char *out, size_t size, const char *line)
{
	const char *p = strstr(line, "FLAGS (");
	size_t len = 0;

	assert_non_null(p);
	for (p += 7; *p != ')' && len + 1 < size; p++)
		out[len++] = *p;
	out[len] = '\0';
	if ((p = strstr(out, "\\Recent")) != NULL) {
		char *from = out + (p - out), *rest = from + 7;

		if (from > out)
			from--;
		else if (*rest == ' ')
			rest++;
		memmove(from, rest, strlen(rest) + 1);
	}
	if (out[0] == '\0')
		snprintf(out, size, "none");
}

static void
see(struct wire *w, struct picture *p, const char *line)
{
	unsigned n;
	char word[20];

	if (sscanf(line, "* %u %19s", &n, word) != 2)
		return;
	if (strcmp(word, "EXISTS") == 0) {
		if (n < p->count || n > MESSAGES_MAX)
			wire_fail(w, "EXISTS %u after %zu", n, p->count);
		for (; p->count < n; p->count++)
			p->message[p->count].flags[0] = '\0';
	} else if (strcmp(word, "EXPUNGE") == 0) {
		if (n == 0 || n > p->count)
			wire_fail(w, "EXPUNGE %u of %zu", n, p->count);
		memmove(&p->message[n - 1], &p->message[n], (p->count - n) * sizeof p->message[0]);
		p->count--;
	} else if (strcmp(word, "FETCH") == 0) {
		if (n == 0 || n > p->count)
			wire_fail(w, "FETCH %u of %zu", n, p->count);
		if (strstr(line, "FLAGS (") != NULL) {
			copy_flags(p->message[n - 1].flags, sizeof p->message[0].flags, line);
			p->message[n - 1].is_recent = strstr(line, "\\Recent") != NULL;
		}
	}
}

/* Reads up to the tagged reply. */
static void
finish(struct wire *w, int n, struct picture *p, const char *forbidden)
{
	static char line[1 << 20];

	do {
		if (!wire_line(w, n, true, line, sizeof line))
			wire_fail(w, "no reply");
		if (forbidden != NULL && line[0] == '*' && view_ends(view_of(line), forbidden))
			wire_fail(w, "got \"%s\"", line);
		see(w, p, line);
	} while (strncmp(line, "t ", 2) != 0);
	if (strncmp(line, "t BAD", 5) == 0)
		wire_fail(w, "got \"%s\"", line);
}

static void
command(struct wire *w, int n, const char *text)
{
	static char kept[200];
	bool may_expunge = strncmp(text, "t FETCH", 7) != 0 && strncmp(text, "t STORE", 7) != 0 &&
			   strncmp(text, "t SEARCH", 8) != 0;

	snprintf(kept, sizeof kept, "%s", text);
	w->step = kept;
	wire_write(w, n, text, strlen(text));
	finish(w, n, &pictures[n], may_expunge ? NULL : "EXPUNGE");
}

static void
random_command(struct wire *w, int n)
{
	static const char *const flags[] = { "\\Seen", "\\Flagged", "\\Answered", "\\Deleted",
		"work", "$Forwarded" };
	unsigned count = (unsigned)pictures[n].count, at = count ? dice(count) + 1 : 0;
	char text[200];

	switch (dice(count == 0 ? 3 : 11)) {
	case 0:
		snprintf(text, sizeof text,
		    "t APPEND INBOX (%s) {20+}\r\nSubject: x\r\n\r\ntext\r\n\r\n", flags[dice(6)]);
		break;
	case 1:
		wire_deliver(w, dice(2) ? "one" : "two");
		return;
	case 2:
		snprintf(text, sizeof text, "t NOOP\r\n");
		break;
	case 3:
	case 4:
		snprintf(text, sizeof text, "t STORE %u:%u %sFLAGS%s (%s)\r\n", at, dice(count) + 1,
		    dice(2) ? "+" : "-", "", flags[dice(6)]);
		break;
	case 5:
		snprintf(text, sizeof text, "t UID STORE %u:%u FLAGS (%s %s)\r\n", dice(50) + 1,
		    dice(100) + 1, flags[dice(6)], flags[dice(6)]);
		break;
	case 6:
		snprintf(text, sizeof text, "t FETCH %u BODY[TEXT]\r\n", at);
		break;
	case 7:
		snprintf(text, sizeof text, dice(2) ? "t EXPUNGE\r\n" : "t UID EXPUNGE %u:*\r\n",
		    dice(100) + 1);
		break;
	case 8:
		snprintf(text, sizeof text, "t COPY %u INBOX\r\n", at);
		break;
	case 9:
		snprintf(text, sizeof text, "t %sSEARCH UNSEEN\r\n", dice(2) ? "UID " : "");
		break;
	default:
		snprintf(text, sizeof text, "t MOVE %u box\r\n", at);
	}
	command(w, n, text);
}

/* RFC 3501 2.3.2: the sessions were there when the message came, and the first to hear of it was one of them. */
static void
compare_recent(struct wire *w)
{
	for (size_t i = 0; i < pictures[1].count; i++) {
		unsigned sessions = 0;

		for (int n = 1; n <= SESSIONS; n++)
			sessions += pictures[n].message[i].is_recent;
		if (sessions != 1)
			wire_fail(w, "message %zu is \\Recent in %u sessions", i + 1, sessions);
	}
}

/* Now that it is quiet: what each knows is what there is. */
static void
compare(struct wire *w)
{
	static struct picture truth;

	for (int n = 1; n <= SESSIONS; n++)
		command(w, n, "t NOOP\r\n");
	for (int n = 1; n <= SESSIONS; n++) {
		truth = pictures[n];
		for (size_t i = 0; i < truth.count; i++)
			truth.message[i].flags[0] = '\0';
		wire_write(w, n, "t UID FETCH 1:* FLAGS\r\n", 23);
		finish(w, n, &truth, "EXPUNGE");
		if (truth.count != pictures[n].count)
			wire_fail(w, "client %d: %zu messages, not %zu", n, pictures[n].count,
			    truth.count);
		for (size_t i = 0; i < truth.count; i++) {
			char *known = pictures[n].message[i].flags;

			if (truth.message[i].flags[0] == '\0')
				wire_fail(w, "client %d: message %zu is not there", n, i + 1);
			if (known[0] != '\0' && strcmp(known, truth.message[i].flags) != 0)
				wire_fail(w, "client %d: message %zu has (%s), known as (%s)", n,
				    i + 1, truth.message[i].flags, known);
		}
		pictures[n] = truth;
		if (n > 1 && truth.count != pictures[1].count)
			wire_fail(w, "client %d and 1 differ", n);
	}
	compare_recent(w);
}

static void
test_pictures_hold(void **state)
{
	struct imapd_config config = wire_config;
	static struct wire w;

	(void)state;
	config.slice_ms = 0;
	wire_start(&w, "random", &config);
	wire_script(&w, "1> a CREATE box\n1< a OK ~\ndeliver one\ndeliver two\ndeliver three\n");
	for (int n = 1; n <= SESSIONS; n++) {
		char select[100];

		snprintf(select, sizeof select, "%d> a NOOP\n%d< a OK ~\n", n, n);
		wire_script(&w, select);
		command(&w, n, "t SELECT INBOX\r\n");
	}
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < COMMANDS; i++)
			random_command(&w, (int)dice(SESSIONS) + 1);
		compare(&w);
	}
	wire_stop(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pictures_hold),
	};

	if (getenv("WIRE_SEED") != NULL)
		state_of_dice = strtoull(getenv("WIRE_SEED"), NULL, 10) | 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
