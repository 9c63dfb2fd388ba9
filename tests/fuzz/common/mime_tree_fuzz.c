/* MIME trees: children lie within their parents, in order, without overlap; bounds hold. */
#include "common/mime/message.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned
check(const struct mime_part *part, size_t from, size_t to, const struct mime_part *parent,
    unsigned depth)
{
	unsigned n = 0;

	if (depth > 8)
		abort();
	for (; part != NULL; part = part->next) {
		if (part->parent != parent || part->header_off < from || part->type == NULL ||
		    part->header_off + part->header_len != part->body_off || part->body_off > to ||
		    part->body_len > to - part->body_off || part->body_lines > part->body_len)
			abort();
		from = part->body_off + part->body_len;
		n += 1 + check(part->first_child, part->body_off, from, part, depth + 1);
	}
	return n;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mime_part *root;
	struct arena a;
	struct buf out;

	arena_init(&a, 64 << 20);
	root = mime_parse(view_make(data, size), &a, 7, 50);
	if (root == NULL || check(root, 0, size, NULL, 0) > 50)
		abort();
	buf_init(&out, size);
	transfer_decode(root->encoding, view_make(data + root->body_off, root->body_len), &out);
	buf_clear(&out);
	arena_clear(&a);
	return 0;
}
