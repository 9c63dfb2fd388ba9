#include "common/base/codec.h"
#include "common/base/utf8.h"
#include "common/mime/charset.h"
#include "common/mime/lexer.h"
#include "common/mime/message.h"

enum { CHARSET_NAME_MAX = 64 };

/* One =?charset*language?encoding?text?= (RFC 2047 2, RFC 2231 5) */
struct encoded_word {
	struct view charset;
	bool is_base64;
	struct view text;
	size_t len; /* all of it */
};

/* Looks no further than the next '?' at each step: a header full of "=?" costs one look at each byte. */
static bool
encoded_word_parse(struct view v, struct encoded_word *w)
{
	struct view rest, letter;

	if (!view_starts(v, "=?"))
		return false;
	rest = view_make(v.p + 2, v.len - 2);
	w->charset = rest;
	w->charset.len = rest.len < CHARSET_NAME_MAX ? rest.len : CHARSET_NAME_MAX;
	if (!view_cut(w->charset, '?', &w->charset, NULL) || w->charset.len == 0)
		return false;
	rest = view_make(rest.p + w->charset.len + 1, rest.len - w->charset.len - 1);
	if (rest.len < 2 || rest.p[1] != '?')
		return false;
	letter = view_make(rest.p, 1);
	w->is_base64 = view_case_eq_str(letter, "B");
	if (!w->is_base64 && !view_case_eq_str(letter, "Q"))
		return false;
	if (!view_cut(view_make(rest.p + 2, rest.len - 2), '?', &w->text, &rest) ||
	    !view_starts(rest, "="))
		return false;
	view_cut(w->charset, '*', &w->charset, NULL);
	w->len = (size_t)(rest.p + 1 - v.p);
	return true;
}

/* RFC 2047 4.2: '_' is a blank; the rest is quoted-printable. */
static int
q_decode(struct view text, struct buf *out)
{
	for (size_t i = 0; i < text.len; i++) {
		uint8_t byte;

		if (text.p[i] == '=' && text.len - i > 2 &&
		    hex_decode(&byte, 1, view_make(text.p + i + 1, 2))) {
			buf_append_byte(out, byte);
			i += 2;
		} else {
			buf_append_byte(out, text.p[i] == '_' ? ' ' : text.p[i]);
		}
	}
	return out->failed ? -1 : 0;
}

/* Line ends and NULs that were hidden in an encoded word must not become real ones. */
static void
blank_controls(struct buf *b, size_t from)
{
	for (size_t i = from; i < b->len; i++)
		if (b->p[i] == '\r' || b->p[i] == '\n' || b->p[i] == '\0')
			b->p[i] = ' ';
}

/* The bytes of neighbouring words of one charset are converted together: many senders cut in the middle of
 * a character (against RFC 2047 5). */
struct pending {
	char charset[CHARSET_NAME_MAX + 1];
	struct buf bytes;
	bool is_active;
};

static int
pending_flush(struct pending *p, struct buf *out)
{
	size_t from = out->len;
	int r = 0;

	if (p->is_active)
		r = charset_to_utf8(p->charset, buf_view(&p->bytes), out);
	if (r == 0)
		blank_controls(out, from);
	buf_reset(&p->bytes);
	p->is_active = false;
	return r;
}

static int
pending_add(struct pending *p, const struct encoded_word *w, struct buf *out)
{
	if (p->is_active && !view_case_eq_str(w->charset, p->charset) && pending_flush(p, out) < 0)
		return -1;
	memcpy(p->charset, w->charset.p, w->charset.len);
	p->charset[w->charset.len] = '\0';
	p->is_active = true;
	return w->is_base64 ? transfer_decode("base64", w->text, &p->bytes)
			    : q_decode(w->text, &p->bytes);
}

/* Plain text, line ends of folding dropped. */
static int
append_plain(struct view v, struct buf *out)
{
	struct buf unfolded;
	int r;

	buf_init(&unfolded, v.len + 1);
	r = header_unfold(v, &unfolded);
	if (r == 0)
		r = utf8_append_valid(buf_view(&unfolded), out);
	buf_clear(&unfolded);
	return r;
}

static bool
is_all_fws(struct view v)
{
	for (size_t i = 0; i < v.len; i++)
		if (!lexer_is_fws(v.p[i]))
			return false;
	return true;
}

/* Plain text up to an encoded word or the end; white space between two encoded words is no text (RFC 2047 6.2). */
static int
end_plain(struct pending *p, struct view plain, bool before_word, struct buf *out)
{
	if (plain.len == 0 || (before_word && p->is_active && is_all_fws(plain)))
		return 0;
	return pending_flush(p, out) < 0 ? -1 : append_plain(plain, out);
}

int
encoded_words_decode(struct view value, struct buf *out)
{
	struct pending p = { .is_active = false };
	size_t plain = 0, i = 0;
	int r = 0;

	if (value.len == 0) /* it may be NULL */
		return 0;
	buf_init(&p.bytes, value.len + 4);
	while (i < value.len && r == 0) {
		struct view rest = view_make(value.p + i, value.len - i);
		const char *eq = memchr(rest.p, '=', rest.len);
		struct encoded_word w;

		if (eq == NULL)
			break;
		i = (size_t)(eq - value.p);
		if (!encoded_word_parse(view_make(eq, value.len - i), &w)) {
			i++;
			continue;
		}
		r = end_plain(&p, view_make(value.p + plain, i - plain), true, out);
		if (r == 0)
			r = pending_add(&p, &w, out);
		i += w.len;
		plain = i;
	}
	if (r == 0)
		r = end_plain(&p, view_make(value.p + plain, value.len - plain), false, out);
	if (r == 0)
		r = pending_flush(&p, out);
	buf_clear(&p.bytes);
	return r;
}
