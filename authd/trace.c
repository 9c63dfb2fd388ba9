#include "authd/trace.h"

#include "common/ipc/msg/authd.h"

enum { VALUE_MAX = 500, STEPS_BYTES = 48 * 1024 };

static void
put_bounded(struct ipc_out *o, struct view text)
{
	const char *end = text.len > 0 ? memchr(text.p, '\0', text.len) : NULL;

	if (end != NULL)
		text.len = (size_t)(end - text.p);
	ipc_put_view_str(o, view_make(text.p, text.len < VALUE_MAX ? text.len : VALUE_MAX));
}

/* r: 0 found, 1 not, -1 no answer. */
static int
add(struct trace *t, const char *table, struct view key, int r, struct view value)
{
	if (t->count == AUTHD_TRACE_STEPS || t->steps.body.len > STEPS_BYTES)
		return r;
	t->count++;
	ipc_put_str(&t->steps, table);
	put_bounded(&t->steps, key);
	ipc_put_u32(&t->steps, r == 0 ? AUTHD_OK : r == 1 ? AUTHD_NO : AUTHD_TEMP);
	put_bounded(&t->steps, r == 0 ? value : view_make("", 0));
	return r;
}

static int
lookup(
    void *arg, enum resolve_table table, struct lookup_key key, struct buf *value, struct err *err)
{
	struct trace *t = arg;
	int r = t->inner->lookup(t->inner->arg, table, key, value, err);

	return add(t, resolve_table_params[table], key.text, r, buf_view(value));
}

static int
include(void *arg, const char *path, struct buf *text, struct err *err)
{
	struct trace *t = arg;
	int r = t->inner->include(t->inner->arg, path, text, err);

	return add(t, ":include:", view_of(path), r, buf_view(text));
}

static int
user(void *arg, const char *address, struct user_record *out, struct err *err)
{
	struct trace *t = arg;
	int r = t->inner->user(t->inner->arg, address, out, err);

	return add(t, "user_database", view_of(address), r, view_make("", 0));
}

void
trace_init(struct trace *t, const struct resolve_source *inner)
{
	*t = (struct trace){ .source = { lookup, include, user, t }, .inner = inner };
	ipc_out_init(&t->steps, 0);
}

void
trace_clear(struct trace *t)
{
	ipc_out_clear(&t->steps);
}
