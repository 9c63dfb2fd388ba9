/* sendmail(1), mailq(1), newaliases(1): what every Unix program expects to find under these names.
 *
 * The message goes to qmgr over its control edge; who sends is the kernel's word there.  Options that only
 * Sendmail itself has a use for are accepted and ignored, as Postfix does.  Exit status: sysexits.h. */
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/base/random.h"
#include "common/ipc/envelope.h"
#include "common/ipc/msg/qmgr.h"
#include "common/mime/message.h"
#include "common/table/table.h"
#include "tools/mailq.h"
#include "tools/submission.h"
#include "tools/tool.h"

#include <errno.h>
#include <libgen.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

static const char default_directory[] = "/etc/estafeta";

enum mode { MODE_SEND, MODE_MAILQ, MODE_NEWALIASES, MODE_FLUSH };

struct invocation {
	const char *program;
	struct tool tool;
	char *conf_path; /* owned */
	enum mode mode;
	bool from_headers, ignore_dots;
	const char *sender; /* -f as given; NULL: who calls */
	const char *full_name;
	const char *flush_domain, *flush_id; /* -qR, -qI; NULL: all */
	uint32_t flags;                      /* enum envelope_flags */
	int argc;                            /* recipients */
	char **argv;
};

__attribute__((noreturn, format(printf, 3, 4))) static void
fatal(const struct invocation *i, int status, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s: fatal: ", i->program);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(status);
}

/* --- options -------------------------------------------------------------------------------------------- */

static void
option_b(struct invocation *i, const char *value)
{
	switch (value[0]) {
	case 'm':
		i->mode = MODE_SEND;
		break;
	case 'p':
		i->mode = MODE_MAILQ;
		break;
	case 'i':
		i->mode = MODE_NEWALIASES;
		break;
	default: /* -bs and -bd are smtpd's work: connect to a port; -bv would send mail */
		fatal(i, EX_USAGE, "unsupported: -b%s", value);
	}
}

static void
option_q(struct invocation *i, const char *value)
{
	if (ascii_is_digit((unsigned char)value[0]))
		return; /* -q30m: how often a Sendmail daemon looks into its queue */
	i->mode = MODE_FLUSH;
	if (value[0] == 'R')
		i->flush_domain = value + 1;
	else if (value[0] == 'I')
		i->flush_id = value + 1;
	else if (value[0] != '\0')
		fatal(i, EX_USAGE, "unsupported: -q%s", value);
}

static void
option_body_type(struct invocation *i, const char *value)
{
	if (view_case_eq_str(view_of(value), "8BITMIME"))
		i->flags |= ENVELOPE_8BIT;
	else if (!view_case_eq_str(view_of(value), "7BIT"))
		fatal(i, EX_USAGE, "bad -B argument: %s", value);
}

static void
option_return(struct invocation *i, const char *value)
{
	if (view_case_eq_str(view_of(value), "full"))
		i->flags |= ENVELOPE_RET_FULL;
	else if (view_case_eq_str(view_of(value), "hdrs"))
		i->flags |= ENVELOPE_RET_HDRS;
	else
		fatal(i, EX_USAGE, "bad -R argument: %s", value);
}

static void
parse_options(struct invocation *i, int argc, char **argv)
{
	int c;

	/* Sendmail's letters with Postfix's reading of them; what has no case is taken and ignored */
	while ((c = getopt(argc, argv, "+A:B:C:F:GIL:N:O:R:UV:X:b:ce:f:h:imno:p:r:q::tvx")) != -1) {
		const char *value = optarg == NULL ? "" : optarg;

		switch (c) {
		case 'B':
			option_body_type(i, value);
			break;
		case 'C':
			i->tool.config_directory = value;
			break;
		case 'F':
			i->full_name = value;
			break;
		case 'I':
			i->mode = MODE_NEWALIASES;
			break;
		case 'R':
			option_return(i, value);
			break;
		case 'b':
			option_b(i, value);
			break;
		case 'f':
		case 'r':
			i->sender = value;
			break;
		case 'i':
			i->ignore_dots = true;
			break;
		case 'o':
			if (strcmp(value, "i") == 0)
				i->ignore_dots = true;
			break;
		case 'q':
			option_q(i, value);
			break;
		case 't':
			i->from_headers = true;
			break;
		case '?':
			fatal(i, EX_USAGE, "usage: %s [options] [recipient...]", i->program);
		default:
			break;
		}
	}
	i->argc = argc - optind;
	i->argv = argv + optind;
}

static void
load_conf(struct invocation *i)
{
	const char *place = i->tool.config_directory;
	struct err err;

	if (place == NULL)
		place = getenv("MAIL_CONFIG");
	if (place == NULL)
		place = default_directory;
	/* -C names the file with Sendmail, the directory with Postfix */
	i->conf_path = view_ends(view_of(place), "/main.cf") ? x_strdup(place)
							     : x_asprintf("%s/main.cf", place);
	conf_init(&i->tool.conf);
	if (conf_load(&i->tool.conf, i->conf_path, &err) < 0)
		fatal(i, EX_CONFIG, "%s", err.text);
	i->tool.config_directory = dirname(i->conf_path);
}

/* --- what it can be asked for ------------------------------------------------------------------------------- */

static int
connect_qmgr(const struct invocation *i)
{
	struct err err;
	int fd = tool_connect(&i->tool, ROLE_QMGR, &err);

	if (fd < 0)
		fatal(i, err.kind == ERR_GONE ? EX_TEMPFAIL : EX_UNAVAILABLE, "%s", err.text);
	return fd;
}

static int
run_mailq(const struct invocation *i)
{
	struct err err;

	if (mailq_print(connect_qmgr(i), NULL, stdout, &err) < 0)
		fatal(i, err.kind == ERR_PERM ? EX_NOPERM : EX_UNAVAILABLE, "%s", err.text);
	return fflush(stdout) == EOF && errno != EPIPE ? EX_IOERR : EX_OK;
}

static int
run_flush(const struct invocation *i)
{
	unsigned count;
	struct err err;
	int fd = connect_qmgr(i), r;

	if (i->flush_id != NULL)
		r = queue_act(fd, QMGR_CTL_REQUEUE, i->flush_id, NULL, &count, &err);
	else
		r = queue_ask_flush(
		    fd, i->flush_domain == NULL ? "" : i->flush_domain, &count, &err);
	if (r < 0)
		fatal(i, err.kind == ERR_PERM ? EX_NOPERM : EX_TEMPFAIL, "%s", err.text);
	return EX_OK;
}

static void
warn(void *arg, const char *text)
{
	const struct invocation *i = arg;

	fprintf(stderr, "%s: warning: %s\n", i->program, text);
}

/* Postfix rebuilds alias_database; here virtual_alias_maps are aliases, too. */
static int
build_tables(struct invocation *i, const char *param)
{
	struct view rest = view_of(conf_str(&i->tool.conf, param)), item;
	int status = EX_OK;
	struct err err;

	while (table_spec_next(&rest, &item)) {
		char *spec = x_strndup(item.p, item.len);

		if (table_spec_is_built(item) &&
		    table_build(spec, tool_table_form(&i->tool.conf, spec), warn, i, &err) < 0) {
			warn(i, err.text);
			status = err.kind == ERR_GONE ? EX_NOINPUT : EX_DATAERR;
		}
		free(spec);
	}
	return status;
}

static int
run_newaliases(struct invocation *i)
{
	int status = build_tables(i, "alias_database"),
	    other = build_tables(i, "virtual_alias_maps");

	return status != EX_OK ? status : other;
}

/* --- sending ------------------------------------------------------------------------------------------------ */

static void
read_input(const struct invocation *i, struct buf *input)
{
	struct err err;

	buf_init(input, (size_t)conf_size(&i->tool.conf, "message_size_limit"));
	if (input->max == 0)
		input->max = SIZE_MAX / 2;
	if (fd_read_rest(STDIN_FILENO, input, &err) == 0)
		return;
	if (err.kind == ERR_LIMIT)
		fatal(i, EX_DATAERR, "message file too big");
	fatal(i, EX_IOERR, "%s", err.text);
}

/* On a terminal the dot ends the message: nobody types an end of file. */
static void
read_terminal(const struct invocation *i, struct buf *input)
{
	char line[8192];
	bool at_start = true;

	buf_init(input, (size_t)conf_size(&i->tool.conf, "message_size_limit"));
	while (fgets(line, sizeof line, stdin) != NULL) {
		if (at_start && !i->ignore_dots && strcmp(line, ".\n") == 0)
			return;
		at_start = strchr(line, '\n') != NULL;
		if (buf_append_str(input, line) < 0)
			fatal(i, EX_DATAERR, "message file too big");
	}
}

/* The address of whoever calls, or what -f says, with a domain. */
static void
find_sender(const struct invocation *i, const char *origin, struct buf *out)
{
	const struct passwd *pw = getpwuid(getuid());
	struct mail_address *list;
	struct arena a;
	size_t n;

	if (i->sender == NULL && pw == NULL)
		fatal(i, EX_OSERR, "unable to find out your login name");
	if (i->sender == NULL) {
		submission_put_address(out, pw->pw_name, "", origin);
		return;
	}
	arena_init(&a, 1 << 20);
	list = address_list_parse(view_of(i->sender), &a, 2, &n);
	if (list == NULL || n > 1 || (n == 1 && list[0].kind != MAIL_ADDRESS))
		fatal(i, EX_USAGE, "malformed sender address: %s", i->sender);
	if (n == 1 && list[0].local[0] != '\0')
		submission_put_address(out, list[0].local, list[0].domain, origin);
	arena_clear(&a);
}

static const char *
find_full_name(const struct invocation *i, char *out, size_t size)
{
	const struct passwd *pw = getpwuid(getuid());
	const char *name = i->full_name != NULL ? i->full_name : getenv("NAME");

	if (name == NULL && i->sender == NULL && pw != NULL && pw->pw_gecos != NULL)
		name = pw->pw_gecos; /* its first part; '&' is the login name */
	snprintf(out, size, "%.*s",
	    name == NULL ? 0 : (int)strcspn(name, i->full_name != NULL ? "" : ",&"),
	    name == NULL ? "" : name);
	return out;
}

static void
build(const struct invocation *i, struct submission *s, const char *sender, const char *full_name)
{
	const char *origin = conf_str(&i->tool.conf, "myorigin");
	time_t now = time(NULL);
	char id[200];
	struct tm tm;
	struct buf input;
	struct err err;
	struct submission_options o = { .recipients_from_headers = i->from_headers,
		.ignore_dots = i->ignore_dots,
		.origin = origin,
		.sender = sender,
		.full_name = full_name,
		.message_id = id,
		.drop_headers = conf_str(&i->tool.conf, "message_drop_headers"),
		.now = now };

	localtime_r(&now, &tm);
	o.zone_minutes = (int)(tm.tm_gmtoff / 60);
	snprintf(id, sizeof id, "%lld.%08x@%.150s", (long long)clock_wall_us(),
	    (unsigned)random_below(UINT32_MAX), conf_str(&i->tool.conf, "myhostname"));
	if (isatty(STDIN_FILENO))
		read_terminal(i, &input);
	else
		read_input(i, &input);
	/* every LF becomes two bytes, and a few lines come on top */
	submission_init(s, input.len * 2 + 4096);
	for (int k = 0; k < i->argc; k++)
		if (submission_add_recipients(s, view_of(i->argv[k]), origin, &err) < 0)
			fatal(i, EX_USAGE, "%s: %s", i->argv[k], err.text);
	if (submission_build(s, buf_view(&input), &o, &err) < 0)
		fatal(i, EX_DATAERR, "%s", err.text);
	buf_clear(&input);
	if (s->nrecipients == 0)
		fatal(i, EX_USAGE, "%s",
		    i->from_headers
			? "No recipient addresses found in message header"
			: "Recipient addresses must be specified on the command line or via the -t option");
}

static int
submit(const struct invocation *i, const struct submission *s, const char *sender,
    const char *full_name)
{
	static char packet[IPC_MAX_PACKET];
	int fd = connect_qmgr(i), message_fd, recipients_fd;
	struct ipc_out o;
	struct ipc_in in;
	struct err err;
	uint32_t status;

	message_fd = memfd_sealed("message", s->message.p, s->message.len, &err);
	recipients_fd = message_fd < 0
			    ? -1
			    : memfd_sealed("recipients", s->recipients.p, s->recipients.len, &err);
	if (recipients_fd < 0)
		fatal(i, EX_TEMPFAIL, "%s", err.text);
	ipc_out_init(&o, QMGR_CTL_SUBMIT);
	ipc_put_str(&o, sender);
	ipc_put_u32(&o, i->flags | (s->has_8bit ? ENVELOPE_8BIT : 0));
	ipc_put_str(&o, full_name);
	ipc_put_fd(&o, message_fd);
	ipc_put_fd(&o, recipients_fd);
	if (ipc_call_blocking(fd, &o, "uss", QUEUE_CALL_MS, packet, &in, &err) < 0)
		fatal(i, EX_TEMPFAIL, "%s", err.text);
	status = ipc_get_u32(&in);
	ipc_get_str(&in); /* queue id: on standard output nobody expects it */
	if (status == QMGR_DENIED)
		fatal(i, EX_NOPERM, "User %s is not allowed to submit mail", tool_user_name());
	if (status != QMGR_OK)
		fatal(i, status == QMGR_BAD ? EX_DATAERR : EX_TEMPFAIL, "%s", ipc_get_str(&in));
	return EX_OK;
}

static int
run_send(const struct invocation *i)
{
	char full_name[256];
	struct submission s;
	struct buf sender;
	int status;

	buf_init(&sender, 4096);
	find_sender(i, conf_str(&i->tool.conf, "myorigin"), &sender);
	if (sender.failed)
		fatal(i, EX_USAGE, "sender address too long");
	if (i->argc == 0 && !i->from_headers)
		fatal(i, EX_USAGE,
		    "Recipient addresses must be specified on the command line or via the -t option");
	find_full_name(i, full_name, sizeof full_name);
	build(i, &s, buf_cstr(&sender), full_name);
	status = submit(i, &s, buf_cstr(&sender), full_name);
	submission_clear(&s);
	buf_clear(&sender);
	return status;
}

int
main(int argc, char **argv)
{
	struct invocation i = { .program = argc > 0 ? basename(argv[0]) : "sendmail" };
	int status;

	signal(SIGPIPE, SIG_IGN);
	if (strcmp(i.program, "mailq") == 0)
		i.mode = MODE_MAILQ;
	else if (strcmp(i.program, "newaliases") == 0)
		i.mode = MODE_NEWALIASES;
	parse_options(&i, argc, argv);
	load_conf(&i);
	switch (i.mode) {
	case MODE_MAILQ:
		status = run_mailq(&i);
		break;
	case MODE_NEWALIASES:
		status = run_newaliases(&i);
		break;
	case MODE_FLUSH:
		status = run_flush(&i);
		break;
	default:
		status = run_send(&i);
	}
	conf_clear(&i.tool.conf);
	free(i.conf_path);
	return status;
}
