#include "tools/queue_client.h"
#include "common/ipc/conn.h"
#include "tools/tool.h"

#include <stdio.h>

enum { ID_MAX = 64 };

const char *
queue_string(const json_t *entry, const char *name)
{
	const char *s = json_string_value(json_object_get(entry, name));

	return s == NULL ? "" : s;
}

/* Postfix's words. */
static int
denied(const char *what, struct err *err)
{
	return err_set(
	    err, ERR_PERM, "User %s is not allowed to %s the mail queue", tool_user_name(), what);
}

static void
put_selection(struct ipc_out *o, const char *what, const struct queue_filter *filter)
{
	ipc_put_str(o, what);
	for (size_t i = 0; filter != NULL && i < filter->count; i++) {
		ipc_put_u32(o, filter->conditions[i].kind);
		ipc_put_str(o, filter->conditions[i].value);
	}
}

/* The lines of one packet.  1 = fn wants no more. */
static int
read_lines(struct view text, bool (*fn)(void *arg, struct view line, json_t *entry), void *arg,
    struct err *err)
{
	struct view line;

	while (view_token(&text, "\n", &line)) {
		json_error_t why;
		json_t *entry = json_loadb(line.p, line.len, 0, &why);
		bool more;

		if (entry == NULL)
			return err_set(err, ERR_SYNTAX, "queue manager sent no JSON: %s", why.text);
		more = fn(arg, line, entry);
		json_decref(entry);
		if (!more)
			return 1;
	}
	return 0;
}

int
queue_each(int fd, const struct queue_filter *filter,
    bool (*fn)(void *arg, struct view line, json_t *entry), void *arg, struct err *err)
{
	static char packet[IPC_MAX_PACKET];
	char from[ID_MAX] = "";
	uint32_t more = QMGR_LIST_MORE;
	int r = 0;

	while (more != QMGR_LIST_END && r == 0) {
		const char *next;
		struct ipc_out o;
		struct ipc_in in;

		ipc_out_init(&o, QMGR_CTL_LIST);
		put_selection(&o, from, filter);
		if (ipc_call_blocking(fd, &o, QMGR_LIST_SIG, QUEUE_CALL_MS, packet, &in, err) < 0)
			return -1;
		more = ipc_get_u32(&in);
		if (more == QMGR_LIST_DENIED)
			return denied("view", err);
		next = ipc_get_str(&in);
		if (more != QMGR_LIST_END && strcmp(next, from) == 0)
			return err_set(err, ERR_SYNTAX, "queue manager repeats itself");
		snprintf(from, sizeof from, "%s", next);
		while (ipc_in_more(&in) && r == 0)
			r = read_lines(ipc_get_bytes(&in), fn, arg, err);
		fflush(stdout);
	}
	return r < 0 ? -1 : 0;
}

static int
call_uus(int fd, struct ipc_out *o, int64_t timeout_ms, unsigned *count, struct err *err)
{
	static char packet[IPC_MAX_PACKET];
	struct ipc_in in;
	uint32_t status;

	if (ipc_call_blocking(fd, o, "uus", timeout_ms, packet, &in, err) < 0)
		return -1;
	status = ipc_get_u32(&in);
	*count = ipc_get_u32(&in);
	if (status == QMGR_OK)
		return 0;
	if (status == QMGR_DENIED)
		return denied("flush", err);
	return err_set(err, status == QMGR_BAD ? ERR_PERM : ERR_TEMP, "%s", ipc_get_str(&in));
}

int
queue_act(int fd, unsigned type, const char *what, const struct queue_filter *filter,
    unsigned *count, struct err *err)
{
	struct ipc_out o;

	ipc_out_init(&o, (uint16_t)type);
	put_selection(&o, what, filter);
	return call_uus(fd, &o, QUEUE_BULK_MS, count, err);
}

int
queue_ask_flush(int fd, const char *domain, unsigned *count, struct err *err)
{
	struct ipc_out o;

	ipc_out_init(&o, QMGR_CTL_FLUSH);
	ipc_put_str(&o, domain);
	return call_uus(fd, &o, QUEUE_BULK_MS, count, err);
}
