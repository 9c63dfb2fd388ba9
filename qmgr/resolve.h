/* resolve.h - from authd's answer about an address to recipients. */
#ifndef QMGR_RESOLVE_H
#define QMGR_RESOLVE_H

#include "common/ipc/conn.h"
#include "common/ipc/envelope.h"
#include "common/ipc/msg/authd.h"

enum { RESOLVE_TIMEOUT_MS = 60000, RESOLVE_MAX = 1000 };

struct resolved {
	enum authd_status status;
	bool is_local;
	const char *text;        /* in the packet: valid during the callback only */
	struct recipient *rcpts; /* in the arena, strings too */
	size_t count;
};
/* Asks authd; cb(arg, in) as ipc_conn_call's. */
struct ipc_call *resolve_ask(struct ipc_edge *authd, const char *address, const char *sender,
    void (*cb)(void *arg, struct ipc_in *in), void *arg);
/* Reads its answer, AUTHD_TEMP when there is none (NULL) or it makes no sense.  orig is what was asked for.
 * A foreign address is its own recipient, by SMTP: whether it may be sent to was decided elsewhere. */
void resolve_read(struct ipc_in *in, const char *orig, struct arena *arena, struct resolved *out);

#endif
