/* estafeta explain [-j] [options] [-f SENDER] RECIPIENT... - what would become of a message, and why; nothing is sent, counted
 * or queued.  The daemons that run say it themselves. */
#include "common/base/mem.h"
#include "common/net/addr.h"
#include "common/proto/idn.h"
#include "tools/explain.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

enum { OPT_CLIENT = 256, OPT_NAME, OPT_HELO, OPT_SASL, OPT_TLS, OPT_POLICY, OPT_SIZE, OPT_MESSAGE };

/* clang-format off */
static const struct option options[] = {
	{ "json",    no_argument,       NULL, 'j' },
	{ "service", required_argument, NULL, 's' },
	{ "client",  required_argument, NULL, OPT_CLIENT },
	{ "name",    required_argument, NULL, OPT_NAME },
	{ "helo",    required_argument, NULL, OPT_HELO },
	{ "sasl",    required_argument, NULL, OPT_SASL },
	{ "tls",     no_argument,       NULL, OPT_TLS },
	{ "policy",  no_argument,       NULL, OPT_POLICY },
	{ "size",    required_argument, NULL, OPT_SIZE },
	{ "message", required_argument, NULL, OPT_MESSAGE },
	{ "from",    required_argument, NULL, 'f' },
	{ "to",      required_argument, NULL, 't' },
	{ NULL,      0,                 NULL, 0 },
};
/* clang-format on */

/* What the answer is printed as, and what has to live as long as the request. */
struct arguments {
	struct explain_request q;
	bool as_json;
	char client[ADDR_TEXT], helo[ADDR_TEXT + 8];
};

/* "192.0.2.1", "192.0.2.1:25", "2001:db8::1", "[2001:db8::1]:25" */
static bool
read_client(struct arguments *a, const char *word)
{
	struct sockaddr_storage ss;
	struct view host = view_of(word);
	const char *colon = strrchr(word, ':');
	uint64_t port = 0;

	if (!addr_parse(host, &ss)) {
		if (colon == NULL || !view_u64(view_of(colon + 1), UINT16_MAX, &port))
			return false;
		host.len = (size_t)(colon - word);
		if (host.len > 1 && host.p[0] == '[' && host.p[host.len - 1] == ']')
			host = view_make(host.p + 1, host.len - 2);
		if (!addr_parse(host, &ss))
			return false;
	}
	a->q.client = addr_text(&ss, a->client);
	a->q.port = (unsigned)port;
	return true;
}

static bool
read_message(struct arguments *a, const char *path)
{
	FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	size_t n;
	char *p;

	if (f == NULL) {
		tool_complain("%s: %s", path, strerrordesc_np(errno));
		return false;
	}
	p = buf_reserve(&a->q.message, EXPLAIN_MESSAGE);
	n = p != NULL ? fread(p, 1, EXPLAIN_MESSAGE, f) : 0;
	/* its lines end as on this machine */
	for (size_t i = 0; i < n; i++)
		if (p[i] != '\r')
			a->q.message.p[a->q.message.len++] = p[i];
	if (f != stdin)
		fclose(f);
	return true;
}

/* What would be a second command, or none of mail's, is none of ours. */
static bool
is_word(const char *text)
{
	for (const char *p = text; *p != '\0'; p++)
		if ((unsigned char)*p < ' ' || *p == 127)
			return false;
	return true;
}

static bool
add_recipient(struct arguments *a, const char *address)
{
	if (a->q.nrcpts == EXPLAIN_RCPTS || address[0] == '\0')
		return false;
	a->q.rcpts[a->q.nrcpts++] = address;
	return true;
}

static bool
take_option(struct arguments *a, int option, const char *value)
{
	struct explain_request *q = &a->q;

	if (value != NULL && !is_word(value))
		return false;
	switch (option) {
	case 'j':
		return a->as_json = true;
	case 's':
		q->service = value;
		return true;
	case 'f':
		q->sender = strcmp(value, "<>") == 0 ? "" : value;
		return true;
	case 't':
		return add_recipient(a, value);
	case OPT_CLIENT:
		return read_client(a, value);
	case OPT_NAME:
		q->name = value;
		return true;
	case OPT_HELO:
		q->helo = value;
		return true;
	case OPT_SASL:
		q->login = value;
		return true;
	case OPT_TLS:
		return q->has_tls = true;
	case OPT_POLICY:
		return q->asks_policy = true;
	case OPT_SIZE:
		return view_u64(view_of(value), INT64_MAX, &q->size);
	case OPT_MESSAGE:
		return read_message(a, value);
	default:
		return false;
	}
}

static bool
read_arguments(struct arguments *a, int argc, char **argv)
{
	int option;

	while ((option = getopt_long(argc, argv, "js:f:t:", options, NULL)) != -1)
		if (!take_option(a, option, optarg))
			return false;
	for (int i = optind; i < argc; i++)
		if (!is_word(argv[i]) || !add_recipient(a, argv[i]))
			return false;
	return a->q.nrcpts > 0;
}

static void
set_defaults(struct explain_request *q, struct arguments *a)
{
	bool is_ipv6 = strchr(q->client, ':') != NULL;

	if (q->helo[0] == '\0' && q->name[0] != '\0' && strcmp(q->name, "unknown") != 0)
		q->helo = q->name;
	if (q->helo[0] == '\0') {
		snprintf(a->helo, sizeof a->helo, "[%s%s]", is_ipv6 ? "IPv6:" : "", q->client);
		q->helo = a->helo;
	}
	q->is_utf8 = !bytes_are_ascii(view_of(q->sender));
	for (size_t i = 0; i < q->nrcpts; i++)
		q->is_utf8 |= !bytes_are_ascii(view_of(q->rcpts[i]));
}

static json_t *
client_object(const struct explain_request *q)
{
	json_t *client = json_object();

	json_object_set_new(client, "address", json_string(q->client));
	json_object_set_new(client, "port", json_integer(q->port));
	json_object_set_new(client, "name", json_string(q->name));
	json_object_set_new(client, "login", json_string(q->login));
	json_object_set_new(client, "tls", json_boolean(q->has_tls));
	return client;
}

static int
explain(struct tool *t, struct arguments *a)
{
	json_t *out = json_object();
	struct err err;
	int r;

	json_object_set_new(out, "client", client_object(&a->q));
	r = explain_session(t, &a->q, out, &err);
	if (r == 0)
		r = explain_routes(t, &a->q, out, &err);
	if (r < 0)
		tool_complain("explain: %s", err.text);
	else if (a->as_json)
		json_dumpf(out, stdout, JSON_COMPACT), putchar('\n');
	else
		explain_print(out);
	json_decref(out);
	if (fflush(stdout) != 0)
		return EX_IOERR;
	return r == 0 ? EX_OK : err.kind == ERR_GONE ? EX_UNAVAILABLE : EX_TEMPFAIL;
}

int
tool_cmd_explain(struct tool *t, int argc, char **argv)
{
	struct arguments *a = x_calloc(1, sizeof *a);
	int status;

	a->q = (struct explain_request){ .service = "",
		.client = "127.0.0.1",
		.name = "",
		.helo = "",
		.login = "",
		.sender = "" };
	buf_init(&a->q.message, EXPLAIN_MESSAGE + 1);
	if (!read_arguments(a, argc, argv)) {
		status = tool_usage(t);
	} else if (geteuid() != 0) {
		tool_complain("explain: only root may ask the daemons");
		status = EX_NOPERM;
	} else {
		set_defaults(&a->q, a);
		status = explain(t, a);
	}
	buf_clear(&a->q.message);
	free(a);
	return status;
}
