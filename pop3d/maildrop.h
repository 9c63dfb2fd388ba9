/* maildrop.h - what a POP3 session sees: INBOX as it was at login, numbered from 1 (RFC 1939 5).
 *
 * The numbers stand for the whole session, whatever other sessions do to the mailbox meanwhile. */
#ifndef POP3D_MAILDROP_H
#define POP3D_MAILDROP_H

#include "common/store/store.h"

struct pop3d_message {
	uint32_t uid;
	bool is_deleted, is_read;
	uint64_t size;
};
struct pop3d_maildrop {
	struct store *store;            /* borrowed */
	struct mailbox *box;            /* owned */
	struct pop3d_message *messages; /* owned */
	size_t count;
	uint64_t size; /* of all */
	size_t ndeleted;
	uint64_t deleted_size;
};

/* Takes the lock between POP3 sessions and reads the mailbox.  1: another session has it. */
int pop3d_maildrop_open(struct store *s, struct pop3d_maildrop **out, struct err *err);
void pop3d_maildrop_close(struct pop3d_maildrop **d);
void pop3d_maildrop_delete(struct pop3d_maildrop *d, size_t index);
void pop3d_maildrop_reset(struct pop3d_maildrop *d);
/* The UPDATE state: removes what is marked.  *removed gets how many there were still. */
int pop3d_maildrop_update(struct pop3d_maildrop *d, size_t *removed, struct err *err);
/* Sets \Seen on what was retrieved. */
int pop3d_maildrop_mark_seen(struct pop3d_maildrop *d, struct err *err);

#endif
