/* nearest.h - "did you mean ...?": of the known words the one nearest to a misspelt one. */
#ifndef COMMON_CONFIG_NEAREST_H
#define COMMON_CONFIG_NEAREST_H

/* struct nearest n = { .word = misspelt }; nearest_offer(&n, known) for each known one; n.found, NULL if none is near. */
struct nearest {
	const char *word; /* borrowed, as is found */
	const char *found;
	unsigned distance; /* of found */
};
void nearest_offer(struct nearest *n, const char *known);

#endif
