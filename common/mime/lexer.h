/* lexer.h - the lexical pieces that address lists, dates and MIME parameters share (RFC 5322 3.2).
 * Nothing here goes back: each byte is looked at once, however deep comments nest. */
#ifndef COMMON_MIME_LEXER_H
#define COMMON_MIME_LEXER_H

#include "common/base/buf.h"
#include "common/base/view.h"

struct lexer {
	const char *p, *end;
};

/* Skips folding white space and comments.  The text of the last comment replaces what is in comment (NULL: not
 * wanted), without its outer parentheses and with quoted pairs resolved.  Was anything skipped? */
bool lexer_skip_cfws(struct lexer *lx, struct buf *comment);
/* At '"': appends the content without quotes, backslashes, line ends and NULs; an unterminated string
 * ends with the input. */
void lexer_quoted_string(struct lexer *lx, struct buf *out);
/* Appends what is not one of stops, white space, NUL or a control character of line ends. */
void lexer_atom(struct lexer *lx, const char *stops, struct buf *out);

static inline bool
lexer_at(const struct lexer *lx, char c)
{
	return lx->p < lx->end && *lx->p == c;
}
static inline bool
lexer_is_fws(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

#endif
