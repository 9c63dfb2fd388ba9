#include "qmgr/relay/generic.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/mime/message.h"

#include <stdlib.h>

enum { FIRST_READ = 32 << 10 };

struct relay_generic {
	enum rewrite_class class;
	struct rewriting *rewriting; /* owned */
	struct buf start;            /* of the message: its header, and what was read beyond */
	bool is_all;                 /* that is the whole message */
};

/* Nothing but what the tables have. */
static const struct address_completion no_completion;

struct relay_generic *relay_generic_new(enum rewrite_class class)
{
	struct relay_generic *g = x_calloc(1, sizeof *g);

	g->class = class;
	g->rewriting = rewriting_new(1U << class);
	buf_init(&g->start, RELAY_GENERIC_HEADER_MAX);
	return g;
}

void
relay_generic_free(struct relay_generic *g)
{
	if (g == NULL)
		return;
	rewriting_free(g->rewriting);
	buf_clear(&g->start);
	free(g);
}

void
relay_generic_add(struct relay_generic *g, const char *address)
{
	rewriting_add(g->rewriting, g->class, view_of(address));
}

/* Up to `upto` bytes.  1: the message has no more. */
static int
read_upto(
    struct relay_generic *g, const struct relay_content *content, size_t upto, struct err *err)
{
	while (g->start.len < upto) {
		char *p = buf_reserve(&g->start, upto - g->start.len);
		int64_t n;

		if (p == NULL)
			return err_set(err, ERR_TEMP, "no memory for the header");
		n = relay_content_read(content, g->start.len, p, upto - g->start.len, err);
		if (n < 0)
			return -1;
		if (n == 0)
			return 1;
		g->start.len += (size_t)n;
	}
	return 0;
}

static void
collect(struct relay_generic *g)
{
	struct buf unused;

	buf_init(&unused, 2 * g->start.len + REWRITING_GROWTH);
	rewriting_fields(g->rewriting, &no_completion, buf_view(&g->start), g->is_all,
	    REWRITING_COLLECT, &unused);
	buf_clear(&unused);
}

int
relay_generic_read(struct relay_generic *g, const struct relay_content *content, struct err *err)
{
	int r = 0;

	if (content->header_size > RELAY_GENERIC_HEADER_MAX)
		return err_set(err, ERR_TEMP, "a header of %llu bytes",
		    (unsigned long long)content->header_size);
	/* all that we have before the body goes into the new header */
	for (size_t upto = FIRST_READ; r == 0 && upto <= RELAY_GENERIC_HEADER_MAX; upto *= 2) {
		r = read_upto(g, content, upto, err);
		if (g->start.len >= content->header_size &&
		    header_block_length(buf_view(&g->start)) < g->start.len)
			break;
	}
	if (r < 0)
		return -1;
	g->is_all = r == 1;
	collect(g);
	return 0;
}

bool
relay_generic_ask(
    struct relay_generic *g, struct ipc_edge *authd, void (*cb)(void *arg, bool ok), void *arg)
{
	return rewriting_ask(g->rewriting, authd, cb, arg);
}

const char *
relay_generic_find(const struct relay_generic *g, const char *address)
{
	const char *to = rewriting_find(g->rewriting, g->class, view_of(address));

	return to != NULL ? to : address;
}

int
relay_generic_apply(const struct relay_generic *g, struct relay_content *content, struct err *err)
{
	struct view start = buf_view(&g->start);
	struct buf out;
	size_t used;
	int fd = -1;

	buf_init(&out, 2 * start.len + REWRITING_GROWTH);
	used =
	    rewriting_fields(g->rewriting, &no_completion, start, g->is_all, REWRITING_APPLY, &out);
	buf_append_view(&out, view_make(start.p + used, start.len - used));
	if (out.failed)
		err_set(err, ERR_TEMP, "no memory for the header");
	else
		fd = memfd_sealed("headers", out.p, out.len, err);
	if (fd >= 0) {
		fd_close(&content->header_fd);
		content->header_fd = fd;
		content->body_offset += start.len - content->header_size;
		content->header_size = out.len;
	}
	buf_clear(&out);
	return fd >= 0 ? 0 : -1;
}
