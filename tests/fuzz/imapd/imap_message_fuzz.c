/* ENVELOPE, BODYSTRUCTURE, sections and search texts of any message: bounded, and what is said is well-formed IMAP. */
#include "imapd/imap_envelope.h"
#include "imapd/imap_search.h"
#include "imapd/imap_section.h"

#include <stdlib.h>

/* Strings closed, literals whole, parentheses balanced: one list. */
static void
check_list(struct view v)
{
	size_t depth = 0, i = 0;

	do {
		char c = i < v.len ? v.p[i++] : '\0';

		if (c == '(') {
			depth++;
		} else if (c == ')') {
			depth--;
		} else if (c == '"') {
			for (; i < v.len && v.p[i] != '"'; i++) {
				if ((unsigned char)v.p[i] < ' ' || (unsigned char)v.p[i] >= 0x7f)
					abort();
				i += v.p[i] == '\\';
			}
			if (i++ >= v.len)
				abort();
		} else if (c == '{') {
			size_t n = 0;

			while (i < v.len && ascii_is_digit(v.p[i]))
				n = n * 10 + (size_t)(v.p[i++] - '0');
			if (v.len - i < 3 + n || memcmp(v.p + i, "}\r\n", 3) != 0 ||
			    memchr(v.p + i + 3, '\0', n) != NULL)
				abort();
			i += 3 + n;
		} else if (c != ' ' && !ascii_is_alnum((unsigned char)c)) {
			abort();
		}
	} while (depth > 0);
	if (i != v.len)
		abort();
}

static struct view message;

static int
read_message(void *arg, struct buf *out)
{
	(void)arg;
	return buf_append_view(out, message);
}

static void
search(struct arena *a)
{
	static const struct message_info info = { .uid = 1 };
	struct imap_search_source src = { read_message, read_message, NULL, 1, false, &info };
	struct imap_search_work work;
	struct imap_search program;
	struct imap_args p;

	imap_args_init(&p, view_of("OR TEXT nowhere OR FROM x SENTON 1-Jan-2000"), a);
	if (!imap_search_parse(&p, &program))
		abort();
	imap_search_work_init(&work);
	(void)imap_search_match(program.root, &src, &work);
	imap_search_work_clear(&work);
}

static void
sections(struct arena *a, const struct mime_part *root)
{
	static const char *const names[] = { "]", "1]", "1.MIME]", "1.1]", "2.1.HEADER]", "1.TEXT]",
		"HEADER]", "HEADER.FIELDS (Subject From)]", "2.HEADER.FIELDS.NOT (Subject)]",
		"TEXT]" };
	struct buf scratch;

	buf_init(&scratch, 1 << 20);
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		struct imap_section s;
		struct imap_args p;
		struct view out;

		imap_args_init(&p, view_of(names[i]), a);
		if (!imap_section_parse(&p, &s))
			abort();
		(void)imap_section_find(&s, message, root, &scratch, &out);
	}
	buf_clear(&scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a;
	struct buf out;
	const struct mime_part *root;

	message = view_make(data, size);
	arena_init(&a, 64 << 20);
	buf_init(&out, 8 << 20);
	root = mime_parse(message, &a, MIME_MAX_DEPTH, MIME_MAX_PARTS);
	for (int extended = 0; root != NULL && extended < 2; extended++) {
		buf_reset(&out);
		if (imap_body_write(message, root, extended, &a, &out) == 0)
			check_list(buf_view(&out));
	}
	buf_reset(&out);
	if (imap_envelope_write(view_make(message.p, header_block_length(message)), &a, &out) == 0)
		check_list(buf_view(&out));
	if (root != NULL)
		sections(&a, root);
	search(&a);
	buf_clear(&out);
	arena_clear(&a);
	return 0;
}
