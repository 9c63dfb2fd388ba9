#include "tools/queue_client.h"
#include "common/ipc/conn.h"
#include "common/ipc/msg/qmgr.h"
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
	return err_set(err, ERR_PERM, "User %s is not allowed to %s the mail queue", tool_user_name(),
	    what);
}

/* The lines of one packet; *last gets the id of the last one.  1 = fn wants no more. */
static int
read_lines(struct view text, char last[ID_MAX],
    bool (*fn)(void *arg, struct view line, json_t *entry), void *arg, struct err *err)
{
	struct view line;

	while (view_token(&text, "\n", &line)) {
		json_error_t why;
		json_t *entry = json_loadb(line.p, line.len, 0, &why);
		bool more;

		if (entry == NULL)
			return err_set(err, ERR_SYNTAX, "queue manager sent no JSON: %s", why.text);
		snprintf(last, ID_MAX, "%s", queue_string(entry, "queue_id"));
		more = fn(arg, line, entry);
		json_decref(entry);
		if (!more)
			return 1;
	}
	return 0;
}

int
queue_each(
    int fd, bool (*fn)(void *arg, struct view line, json_t *entry), void *arg, struct err *err)
{
	static char packet[IPC_MAX_PACKET];
	char after[ID_MAX] = "", last[ID_MAX];
	uint32_t more = 1;
	int r = 0;

	while (more != 0 && r == 0) {
		struct ipc_out o;
		struct ipc_in in;

		ipc_out_init(&o, QMGR_CTL_LIST);
		ipc_put_str(&o, after);
		if (ipc_call_blocking(fd, &o, "u(b)", QUEUE_CALL_MS, packet, &in, err) < 0)
			return -1;
		more = ipc_get_u32(&in);
		if (more == QMGR_LIST_DENIED)
			return denied("view", err);
		snprintf(last, sizeof last, "%s", after);
		while (ipc_in_more(&in) && r == 0)
			r = read_lines(ipc_get_bytes(&in), last, fn, arg, err);
		if (r == 0 && more != 0 && strcmp(last, after) == 0)
			return err_set(err, ERR_SYNTAX, "queue manager repeats itself");
		snprintf(after, sizeof after, "%s", last);
	}
	return r < 0 ? -1 : 0;
}

int
queue_act(int fd, unsigned type, const char *what, unsigned *count, struct err *err)
{
	static char packet[IPC_MAX_PACKET];
	struct ipc_out o;
	struct ipc_in in;
	uint32_t status;

	ipc_out_init(&o, (uint16_t)type);
	ipc_put_str(&o, what);
	if (ipc_call_blocking(fd, &o, "uus", QUEUE_CALL_MS, packet, &in, err) < 0)
		return -1;
	status = ipc_get_u32(&in);
	*count = ipc_get_u32(&in);
	if (status == QMGR_OK)
		return 0;
	if (status == QMGR_DENIED)
		return denied("flush", err);
	return err_set(err, status == QMGR_BAD ? ERR_PERM : ERR_TEMP, "%s", ipc_get_str(&in));
}
