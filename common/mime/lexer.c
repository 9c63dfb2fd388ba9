#include "common/mime/lexer.h"

static void
skip_comment(struct lexer *lx, struct buf *comment)
{
	size_t depth = 0;

	if (comment != NULL)
		buf_reset(comment);
	for (; lx->p < lx->end; lx->p++) {
		char c = *lx->p;

		if (c == '(' && depth++ == 0)
			continue;
		if (c == ')' && --depth == 0) {
			lx->p++;
			return;
		}
		if (c == '\\' && lx->end - lx->p > 1)
			c = *++lx->p;
		if (comment != NULL && c != '\r' && c != '\n' && c != '\0')
			buf_append_byte(comment, c);
	}
}

bool
lexer_skip_cfws(struct lexer *lx, struct buf *comment)
{
	const char *start = lx->p;

	while (lx->p < lx->end) {
		if (*lx->p == '(')
			skip_comment(lx, comment);
		else if (lexer_is_fws(*lx->p))
			lx->p++;
		else
			break;
	}
	return lx->p > start;
}

void
lexer_quoted_string(struct lexer *lx, struct buf *out)
{
	for (lx->p++; lx->p < lx->end; lx->p++) {
		char c = *lx->p;

		if (c == '"') {
			lx->p++;
			return;
		}
		if (c == '\\' && lx->end - lx->p > 1)
			c = *++lx->p;
		if (c != '\r' && c != '\n' && c != '\0')
			buf_append_byte(out, c);
	}
}

void
lexer_atom(struct lexer *lx, const char *stops, struct buf *out)
{
	for (; lx->p < lx->end; lx->p++) {
		char c = *lx->p;

		if (c == '\0')
			continue;
		if (lexer_is_fws(c) || strchr(stops, c) != NULL)
			return;
		buf_append_byte(out, c);
	}
}
