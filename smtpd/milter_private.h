/* milter_private.h - between milter.c (the gate and the conversation), milter_link.c (one connection) and
 * milter_content.c (the message out, the changes in). */
#ifndef SMTPD_MILTER_PRIVATE_H
#define SMTPD_MILTER_PRIVATE_H

#include "common/net/stream.h"
#include "smtpd/body.h"
#include "smtpd/milter_config.h"
#include "smtpd/session.h"

/* How far the message has been sent. */
enum milter_replay { REPLAY_HEADERS, REPLAY_EOH, REPLAY_BODY, REPLAY_EOM, REPLAY_DONE };

struct milter {
	struct milter_session *all;        /* borrowed */
	const struct milter_setting *conf; /* borrowed */
	struct ipc_call *dial;             /* owned, while dialer connects */
	struct stream *stream;             /* owned; NULL: not connected */
	enum milter_command asked;         /* what it is to reply to, while is_busy */
	uint32_t actions, protocol;
	char *macros
	    [MILTER_MACRO_STAGES]; /* owned; lists that the milter has chosen; NULL: as configured */
	struct loop_timer turn;    /* more of what it has sent is looked at */
	bool is_busy;              /* the gate waits for it */
	bool is_satisfied;         /* with the connection: nothing more is asked */
	bool has_message;          /* it has seen MAIL, and no end yet */
	bool wants_no_more;        /* of this message */
};

/* A recipient that a milter adds or removes. */
struct milter_rcpt {
	bool is_removed;
	char *address;   /* owned */
	char *orcpt;     /* owned; NULL: none */
	uint32_t notify; /* enum notify_flags; 0: default */
};

struct milter_session {
	struct smtpd_session *session; /* borrowed */
	struct milter *list;           /* owned */
	size_t count, at;              /* at: the one being asked */
	enum smtpd_stage stage;
	gate_then *then;
	bool waits_for_name;
	struct milter_text held;    /* of CONNECT and HELO, told with every command; code 0: none */
	struct milter_text refusal; /* of this stage */
	bool discards;              /* this message */

	/* the message on its way to the milter at `at` */
	enum milter_replay replay;
	size_t next_field;
	uint64_t body_off;
	bool skips_body;
	char *chunk; /* owned; a piece of the body, while it is sent */
	struct loop_timer
	    unreadable; /* the content cannot be read: the gate goes on from the loop */
	/* what that milter has changed besides headers, done once it has accepted */
	struct body new_body;
	bool has_new_body, new_body_saw_cr;
	struct milter_rcpt *rcpts; /* owned */
	size_t nrcpts, next_rcpt;
	size_t nheader_changes;
	bool is_resolving;
};

/* milter_link.c */
/* Asks dialer for a connection and negotiates; milter_went_up or milter_went_down follows. */
void milter_link_open(struct milter *m);
/* Says QUIT, if there is anybody to say it to. */
void milter_link_close(struct milter *m);
/* Sends packets.  What cannot be sent ends the link from the loop. */
void milter_link_send(struct milter *m, const struct buf *packets);
/* A reply to `command` is due in time. */
void milter_link_expect(struct milter *m, enum milter_command command);
/* More can be sent when milter_drained comes. */
bool milter_link_is_full(struct milter *m);
/* Cut off: logs why. */
void milter_link_fail(struct milter *m, const struct err *why);
/* Macros for the command, as the milter or the configuration wants them. */
void milter_link_put_macros(struct milter *m, enum milter_command command, struct buf *out);

/* milter.c; may free the session */
void milter_went_up(struct milter *m);
void milter_went_down(struct milter *m); /* while the gate waits for it */
void milter_drained(struct milter *m);
/* text: of MILTER_REPLY */
void milter_answered(struct milter *m, enum milter_answer answer, const struct milter_text *text);
/* What it wants cannot be done: the client is to try again. */
void milter_changes_failed(struct milter_session *a, const struct err *why);
/* The gate goes on behind this milter. */
void milter_settled(struct milter_session *a);

/* milter_content.c */
/* 0: the message will be sent; -1: it cannot be read. */
int milter_replay_start(struct milter *m, struct err *err);
/* Sends as much as the milter takes; it is asked for a reply at the end. */
void milter_replay_step(struct milter *m);
void milter_replay_clear(struct milter_session *a);
/* One change; -1: it makes no sense. */
int milter_change(struct milter *m, const struct milter_reply *r, struct err *err);
/* The milter has accepted: its changes of body and recipients become the message's.  0: done; 1: smtpd_milter_resolved
 * goes on; -1: they cannot be, and why. */
int milter_changes_apply(struct milter_session *a, struct err *err);

#endif
