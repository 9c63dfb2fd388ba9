/* message_tree.h - all messages by queue id: finds one, and walks them in the order of their arrival.
 *
 * A treap whose links stand in the messages and whose priorities are hashes of their ids: no memory of its
 * own, nothing to resize, and a walk that is only an id may rest for as long as it likes while messages come and go.
 */
#ifndef QMGR_MESSAGE_TREE_H
#define QMGR_MESSAGE_TREE_H

#include "qmgr/queue_id.h"

#include <stddef.h>

struct message;
struct message_tree {
	struct message *root; /* borrowed */
	size_t count;
};

/* There must be no other with its id. */
void message_tree_put(struct message_tree *t, struct message *m);
void message_tree_remove(struct message_tree *t, struct message *m);
/* The first message whose id is not before this one; NULL: there is none. */
struct message *message_tree_from(const struct message_tree *t, struct queue_id id);

#endif
