#include "qmgr/resolve.h"
#include "common/base/mem.h"

struct ipc_call *
resolve_ask(struct ipc_edge *authd, const char *address, const char *sender,
    void (*cb)(void *arg, struct ipc_in *in), void *arg)
{
	struct ipc_out o;

	ipc_out_init(&o, AUTHD_RESOLVE);
	ipc_put_str(&o, address);
	ipc_put_u32(&o, 0);
	ipc_put_str(&o, sender);
	return ipc_edge_ask(authd, &o, AUTHD_RESOLVE_SIG, RESOLVE_TIMEOUT_MS, cb, arg);
}

static void
add(struct resolved *out, struct arena *arena, const char *address, const char *orig,
    const struct recipient *like)
{
	struct recipient *r = &out->rcpts[out->count];

	*r = *like;
	r->address = arena_strdup(arena, address);
	r->orig = strcmp(address, orig) == 0 ? "" : arena_strdup(arena, orig);
	r->nexthop = arena_strdup(arena, like->nexthop);
	r->sender = arena_strdup(arena, like->sender);
	r->orcpt = "";
	if (r->address == NULL || r->orig == NULL || r->nexthop == NULL || r->sender == NULL)
		out->status = AUTHD_TEMP;
	else
		out->count++;
}

void
resolve_read(struct ipc_in *in, const char *orig, struct arena *arena, struct resolved *out)
{
	const struct recipient foreign = {
		.nexthop = "", .transport = TRANSPORT_SMTP, .sender = ""
	};

	*out = (struct resolved){ .status = AUTHD_TEMP, .text = "authd does not answer" };
	if (in == NULL)
		return;
	out->status = (enum authd_status)ipc_get_u32(in);
	out->is_local = ipc_get_u32(in) != 0;
	out->text = ipc_get_str(in);
	out->rcpts = arena_alloc(arena, RESOLVE_MAX * sizeof *out->rcpts);
	if (out->rcpts == NULL)
		out->status = AUTHD_TEMP;
	if (out->status == AUTHD_TEMP)
		return;
	while (ipc_in_more(in) && out->count < RESOLVE_MAX) {
		struct recipient r = { 0 };
		const char *address;

		r.transport = ipc_get_u32(in);
		r.nexthop = ipc_get_str(in);
		address = ipc_get_str(in);
		r.uid = ipc_get_u32(in);
		r.gid = ipc_get_u32(in);
		r.sender = ipc_get_str(in);
		ipc_get_u32(
		    in); /* local mail has no DSN parameters that a list would not pass on */
		if (r.transport != 0 && r.transport < TRANSPORT_COUNT && address[0] != '\0')
			add(out, arena, address, orig, &r);
	}
	if (!out->is_local && out->count == 0) {
		out->status = AUTHD_OK;
		add(out, arena, orig, orig, &foreign);
	}
}
