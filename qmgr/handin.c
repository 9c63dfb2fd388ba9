#include "qmgr/handin.h"
#include "common/base/mem.h"
#include "common/ipc/msg/qmgr.h"

#include <stdlib.h>
#include <sys/queue.h>

struct handin {
	LIST_ENTRY(handin) link;
	struct ipc_conn *c; /* NULL: it has ended */
	uint32_t id;
};
static LIST_HEAD(, handin) under_way = LIST_HEAD_INITIALIZER(under_way);

static void
on_taken(void *arg, enum qmgr_status status, const char *id, const char *text)
{
	struct handin *h = arg;
	struct ipc_out o;

	if (h->c != NULL) {
		ipc_reply_init(&o);
		ipc_put_u32(&o, status);
		ipc_put_str(&o, id);
		ipc_put_str(&o, text);
		ipc_conn_reply(h->c, h->id, &o);
	}
	LIST_REMOVE(h, link);
	free(h);
}

static void
on_submit(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct handin *h = x_calloc(1, sizeof *h);
	const char *sender = ipc_get_str(in), *full_name;
	uint32_t flags = ipc_get_u32(in);
	int content, recipients;
	uid_t uid;

	full_name = ipc_get_str(in);
	content = ipc_get_fd(in);
	recipients = ipc_get_fd(in);
	h->c = c;
	h->id = in->id;
	LIST_INSERT_HEAD(&under_way, h, link);
	ipc_conn_peer(c, NULL, &uid, NULL);
	submit_start(arg, uid, sender, flags, full_name, content, recipients, on_taken, h);
}

static void
on_close(void *arg, struct ipc_conn *c, const struct err *why)
{
	struct handin *h;

	(void)arg, (void)why;
	LIST_FOREACH (h, &under_way, link)
		if (h->c == c)
			h->c = NULL;
}

static const struct ipc_handler rows[] = {
	{ QMGR_CTL_SUBMIT, QMGR_SUBMIT_SIG, IPC_STATE_ANY, on_submit },
	{ 0, NULL, 0, NULL },
};
const struct ipc_conn_ops handin_ops = { rows, on_close };
