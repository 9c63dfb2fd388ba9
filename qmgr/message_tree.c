#include "qmgr/message_tree.h"
#include "common/base/err.h"
#include "qmgr/message.h"

/* Ids rise with time; what decides about the tree's shape must not (splitmix64's mixing). */
static uint64_t
priority(const struct message *m)
{
	uint64_t x = m->id.us + ((uint64_t)m->id.life << 32);

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

/* Where m is, or would stand if nothing of less than this priority were in the tree. */
static struct message **
slot_of(struct message_tree *t, const struct message *m, uint64_t least)
{
	struct message **at = &t->root;

	while (*at != NULL && *at != m && priority(*at) >= least)
		at = queue_id_compare(m->id, (*at)->id) < 0 ? &(*at)->earlier : &(*at)->later;
	return at;
}

void
message_tree_put(struct message_tree *t, struct message *m)
{
	struct message **at = slot_of(t, m, priority(m));
	struct message *rest = *at, **earlier = &m->earlier, **later = &m->later;

	*at = m;
	t->count++;
	while (rest != NULL) { /* what was there is divided into both sides of m */
		if (queue_id_compare(rest->id, m->id) < 0) {
			*earlier = rest;
			earlier = &rest->later;
			rest = rest->later;
		} else {
			*later = rest;
			later = &rest->earlier;
			rest = rest->earlier;
		}
	}
	*earlier = *later = NULL;
}

void
message_tree_remove(struct message_tree *t, struct message *m)
{
	struct message **at = slot_of(t, m, 0), *a = m->earlier, *b = m->later;

	if (*at != m)
		bug("queue: a message is not among the others");
	t->count--;
	while (a != NULL && b != NULL) {
		if (priority(a) > priority(b)) {
			*at = a;
			at = &a->later;
			a = a->later;
		} else {
			*at = b;
			at = &b->earlier;
			b = b->earlier;
		}
	}
	*at = a != NULL ? a : b;
}

struct message *
message_tree_from(const struct message_tree *t, struct queue_id id)
{
	struct message *m = t->root, *found = NULL;

	while (m != NULL) {
		if (queue_id_compare(m->id, id) >= 0) {
			found = m;
			m = m->earlier;
		} else {
			m = m->later;
		}
	}
	return found;
}
