/* worker_msg.h - between authd's loop and its workers, and between the SASL workers and the
 * database worker. Answers are IPC_REPLY; status is enum authd_status unless said otherwise. */
#ifndef AUTHD_WORKER_MSG_H
#define AUTHD_WORKER_MSG_H

enum {
	/* worker -> loop, its first message.  sig "us": 0, or 1 and what is wrong */
	WORKER_HELLO = 1,
	/* SASL worker -> loop: its link to the database worker broke.  sig "" */
	WORKER_WANT_LINK = 2,
	/* loop -> either worker: one end of the link between them.  sig "h" */
	WORKER_LINK = 3,
};

/* To the database worker, from the loop. */
enum {
	DB_RESOLVE = 10, /* sig "sus"; answer AUTHD_RESOLVE_SIG: as AUTHD_RESOLVE */
	/* Account of a name: sig "s"; answer DB_ACCOUNT_SIG: status, account, uid, gid, home.
	 * Defaults are filled in. */
	DB_ACCOUNT = 11,
	DB_MAILBOX = 12, /* Account that an address is delivered to: as DB_ACCOUNT */
	DB_SHOW = 13,    /* sig "s"; answer "usuuss": as AUTHD_USER_SHOW */
	DB_LIST = 14,    /* sig "s"; answer "u(s)": as AUTHD_USER_LIST */
	/* sig "suusss": address, uid, gid, home, crypt, scram; answer "us" */
	DB_ADD = 15,
	DB_PASSWD = 16,     /* sig "sss": address, crypt, scram; answer "us" */
	DB_DEL = 17,        /* sig "s"; answer "us" */
	DB_LOOKUP = 18,     /* sig "s(us)"; answer AUTHD_LOOKUP_SIG: as AUTHD_LOOKUP */
	DB_ROUTE = 19,      /* sig "s(s)"; answer AUTHD_ROUTE_SIG: as AUTHD_ROUTE */
	DB_REWRITE = 23,    /* sig "(us)"; answer AUTHD_REWRITE_SIG: as AUTHD_REWRITE */
	DB_TRACE = 24,      /* sig "uss"; answer AUTHD_TRACE_SIG: as AUTHD_TRACE */
	DB_LOOKUP_OWN = 22, /* sig "u(us)": enum lookup_own, keys; answer AUTHD_LOOKUP_SIG */
};
#define DB_ACCOUNT_SIG "usuus"

/* To the database worker, from a SASL worker over its link. */
enum {
	DB_KEYS = 20,   /* sig "s": folded address; answer "uss": status, crypt, scram */
	DB_SECRET = 21, /* sig ""; answer "ub": status, the installation's secret */
};

/* To a SASL worker, from the loop. */
enum {
	/* sig "qssusssb": exchange, then as AUTHD_SASL_START from service on.  Answer
	 * SASL_ANSWER_SIG. */
	SASL_START = 30,
	SASL_STEP = 31,  /* sig "qb": exchange, response; answer SASL_ANSWER_SIG */
	SASL_ABORT = 32, /* sig "q"; no answer */
	/* sig "s": a new password; answer "usss": status, crypt, scram, what is wrong with it */
	SASL_HASH = 33,
};
/* enum authd_step, challenge, account (when done) or name that was tried, reason */
#define SASL_ANSWER_SIG "ubss"

#endif
