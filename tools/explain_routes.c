/* What the tables of authd say of each address, and qmgr of each recipient that there would be. */
#include "common/base/mem.h"
#include "common/ipc/envelope.h"
#include "common/ipc/msg/authd.h"
#include "common/ipc/msg/qmgr.h"
#include "tools/explain.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { TRACE_MS = 35000, QMGR_MS = 60000 };

static char packet[IPC_MAX_PACKET];

/* Into `where` under that name. */
static int
trace(int authd, enum authd_trace what, const char *address, const char *sender, json_t *where,
    const char *as, struct err *err)
{
	json_t *lookups = json_array();
	struct ipc_out o;
	struct ipc_in in;
	uint32_t status;
	const char *word;

	json_object_set_new(where, as, lookups);
	ipc_out_init(&o, AUTHD_TRACE);
	ipc_put_u32(&o, what);
	ipc_put_str(&o, address);
	ipc_put_str(&o, sender);
	if (ipc_call_blocking(authd, &o, AUTHD_TRACE_SIG, TRACE_MS, packet, &in, err) < 0)
		return err_prefix(err, "authd");
	status = ipc_get_u32(&in);
	word = ipc_get_str(&in);
	if (status != AUTHD_OK)
		json_object_set_new(where, "lookup_error", explain_string(word));
	else if (what == AUTHD_TRACE_SENDER && word[0] != '\0')
		json_object_set_new(where, "rewritten", explain_string(word));
	while (ipc_in_more(&in)) {
		json_t *lookup = json_object();

		json_array_append_new(lookups, lookup);
		json_object_set_new(lookup, "table", explain_string(ipc_get_str(&in)));
		json_object_set_new(lookup, "key", explain_string(ipc_get_str(&in)));
		status = ipc_get_u32(&in);
		json_object_set_new(lookup, "result",
		    json_string(status == AUTHD_OK   ? "found"
				: status == AUTHD_NO ? "none"
						     : "temporary"));
		word = ipc_get_str(&in);
		if (word[0] != '\0')
			json_object_set_new(lookup, "value", explain_string(word));
	}
	return 0;
}

/* Each RCPT command's, and the sender's once it is rewritten. */
static int
trace_commands(int authd, const struct explain_request *q, json_t *out, struct err *err)
{
	json_t *command;
	size_t i, rcpt = 0;

	json_array_foreach(json_object_get(out, "commands"), i, command)
	{
		const char *name = explain_get(command, "command");
		int r = 0;

		if (strcmp(name, "MAIL") == 0 && q->sender[0] != '\0')
			r = trace(
			    authd, AUTHD_TRACE_SENDER, q->sender, "", command, "lookups", err);
		else if (strcmp(name, "RCPT") == 0 && rcpt < q->nrcpts)
			r = trace(authd, AUTHD_TRACE_RESOLVE, q->rcpts[rcpt++], q->sender, command,
			    "lookups", err);
		if (r < 0)
			return -1;
	}
	return 0;
}

/* The sender that a recipient's mail leaves with. */
static const char *
sender_of(const json_t *out, const json_t *recipient)
{
	return json_object_get(recipient, "sender") != NULL ? explain_get(recipient, "sender")
							    : explain_get(out, "sender");
}

/* What the client has named was looked for at RCPT; copies and redirections were not. */
static bool
was_named(const struct explain_request *q, const char *address)
{
	for (size_t i = 0; i < q->nrcpts; i++)
		if (strcasecmp(q->rcpts[i], address) == 0)
			return true;
	return false;
}

static int
trace_recipients(int authd, const struct explain_request *q, json_t *out, struct err *err)
{
	json_t *r;
	size_t i;

	json_array_foreach(json_object_get(out, "recipients"), i, r)
	{
		const char *address = explain_get(r, "address");
		const char *named = explain_get(r, "original");

		named = named[0] != '\0' ? named : address;
		if ((!was_named(q, named) &&
			trace(authd, AUTHD_TRACE_RESOLVE, named, explain_get(out, "sender"), r,
			    "expansion", err) < 0) ||
		    trace(authd, AUTHD_TRACE_ROUTE, address, sender_of(out, r), r, "lookups", err) <
			0)
			return -1;
	}
	return 0;
}

/* --- qmgr --------------------------------------------------------------------------------------------- */

/* "tls.level" into the object "tls"; numbers as such. */
static void
set_particular(json_t *o, const char *name, const char *value)
{
	const char *dot = strchr(name, '.');
	uint64_t number;
	json_t *inner;
	char group[40];

	if (dot != NULL) {
		snprintf(group, sizeof group, "%.*s", (int)(dot - name), name);
		if ((inner = json_object_get(o, group)) == NULL) {
			inner = json_object();
			json_object_set_new(o, group, inner);
		}
		o = inner;
		name = dot + 1;
	}
	if (view_u64(view_of(value), INT64_MAX, &number))
		json_object_set_new(o, name, json_integer((json_int_t)number));
	else
		json_object_set_new(o, name, explain_string(value));
}

static void
put_recipient(struct ipc_out *o, const json_t *r)
{
	ipc_put_str(o, explain_get(r, "address"));
	ipc_put_str(o, explain_get(r, "sender"));
	ipc_put_u32(o, strcmp(explain_get(r, "transport"), transport_name(TRANSPORT_VIRTUAL)) == 0);
}

static uint32_t
tls_flags(const json_t *out)
{
	const char *tls = explain_get(out, "tls");

	return strcmp(tls, "required") == 0   ? ENVELOPE_REQUIRETLS
	       : strcmp(tls, "optional") == 0 ? ENVELOPE_TLS_OPTIONAL
					      : 0;
}

/* QMGR_EXPLAIN_RCPTS of them, from the one numbered at on. */
static int
ask_qmgr(int qmgr, const struct explain_request *q, json_t *out, size_t at, struct err *err)
{
	json_t *recipients = json_object_get(out, "recipients");
	struct ipc_out o;
	struct ipc_in in;

	ipc_out_init(&o, QMGR_CTL_EXPLAIN);
	ipc_put_str(&o, explain_get(out, "sender"));
	ipc_put_str(&o, q->login);
	ipc_put_str(&o, explain_get(out, "filter"));
	ipc_put_u32(&o, tls_flags(out));
	for (size_t i = 0; i < QMGR_EXPLAIN_RCPTS && at + i < json_array_size(recipients); i++)
		put_recipient(&o, json_array_get(recipients, at + i));
	if (ipc_call_blocking(qmgr, &o, QMGR_EXPLAIN_SIG, QMGR_MS, packet, &in, err) < 0)
		return err_prefix(err, "qmgr");
	if (ipc_get_u32(&in) != QMGR_OK)
		return err_set(err, ERR_PERM, "qmgr: %s", ipc_get_str(&in));
	(void)ipc_get_str(&in);
	while (ipc_in_more(&in)) {
		uint32_t about = ipc_get_u32(&in);
		const char *name = ipc_get_str(&in), *value = ipc_get_str(&in);
		json_t *o_about =
		    about == QMGR_EXPLAIN_MESSAGE ? out : json_array_get(recipients, at + about);

		if (o_about != NULL)
			set_particular(o_about, name, value);
	}
	return 0;
}

static int
ask_routes(const struct tool *t, const struct explain_request *q, json_t *out, struct err *err)
{
	size_t n = json_array_size(json_object_get(out, "recipients"));
	int qmgr, r = 0;

	if (n == 0 || json_object_get(out, "discard") != NULL)
		return 0;
	if ((qmgr = tool_connect(t, ROLE_QMGR, err)) < 0)
		return -1;
	for (size_t at = 0; r == 0 && at < n; at += QMGR_EXPLAIN_RCPTS)
		r = ask_qmgr(qmgr, q, out, at, err);
	close(qmgr);
	return r;
}

int
explain_routes(const struct tool *t, const struct explain_request *q, json_t *out, struct err *err)
{
	int authd = tool_connect(t, ROLE_AUTHD, err), r;

	if (authd < 0)
		return -1;
	r = trace_commands(authd, q, out, err);
	if (r == 0)
		r = trace_recipients(authd, q, out, err);
	close(authd);
	return r < 0 ? -1 : ask_routes(t, q, out, err);
}
