#include "common/config/nearest.h"

#include <string.h>

enum { NEAR_ENOUGH = 4 /* edits between a misspelt word and the one suggested */ };

/* Levenshtein distance, given up beyond NEAR_ENOUGH. */
static unsigned
edit_distance(const char *a, const char *b)
{
	enum { MAX = 80 };
	unsigned row[MAX + 1], best = 0;
	size_t la = strlen(a), lb = strlen(b);

	if (la > MAX || lb > MAX || (la > lb ? la - lb : lb - la) > NEAR_ENOUGH)
		return NEAR_ENOUGH + 1;
	for (size_t j = 0; j <= lb; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; i <= la; i++) {
		unsigned diag = row[0];

		row[0] = (unsigned)i;
		best = row[0];
		for (size_t j = 1; j <= lb; j++) {
			unsigned change = diag + (a[i - 1] != b[j - 1]);
			unsigned shift = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;

			diag = row[j];
			row[j] = change < shift ? change : shift;
			best = row[j] < best ? row[j] : best;
		}
		if (best > NEAR_ENOUGH)
			return best;
	}
	return row[lb];
}

void
nearest_offer(struct nearest *n, const char *known)
{
	unsigned d = edit_distance(n->word, known);

	if (d > NEAR_ENOUGH || d * 2 > strlen(n->word) || (n->found != NULL && d >= n->distance))
		return;
	n->found = known;
	n->distance = d;
}
