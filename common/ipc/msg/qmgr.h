/* qmgr.h - smtpd (and sendmail through the control edge) to qmgr. */
#ifndef COMMON_IPC_MSG_QMGR_H
#define COMMON_IPC_MSG_QMGR_H

/* smtpd -> qmgr */
enum {
	/* A new message is coming.  sig "qs": announced size (SIZE=, 0 = unknown), login ("" = none).
	 * Answer "uss": enum qmgr_status, queue id, text for the log.  Reserves nothing but the id. */
	QMGR_BEGIN = 1,
	/* A file for a large body: sig "sq": queue id, size limit.  Answer QMGR_BODY_SIG "uh" (a closed
	 * descriptor when status is not QMGR_OK).  The caller writes it with write(2) from offset 0 and closes
	 * every copy before QMGR_COMMIT. */
	QMGR_BODY = 2,
	/* Take responsibility.  sig QMGR_COMMIT_SIG.  Answer "us": status, text.  QMGR_OK: durable. */
	QMGR_COMMIT = 3,
	/* Forget an id that was begun.  sig "s".  No answer. */
	QMGR_ABORT = 4,
	/* Recipients of a login's that were refused as unknown.  sig "su": login, how many.  No answer. */
	QMGR_REFUSED = 10,
	/* Would mail for this address be taken where it goes?  sig QMGR_VERIFY_SIG: address, client (for its share of the probes),
	 * milliseconds that an answer may be waited for.  Answer QMGR_VERIFIED_SIG: enum qmgr_verified, text for the reply. */
	QMGR_VERIFY = 13,
};
/* As it stands in the cache, too. */
enum qmgr_verified {
	QMGR_DELIVERABLE = 0,
	QMGR_UNVERIFIED = 1, /* nobody can say now */
	QMGR_UNDELIVERABLE = 2,
	QMGR_VERIFYING = 3, /* a probe is under way */
};
#define QMGR_VERIFY_SIG "ssu"
#define QMGR_VERIFIED_SIG "us"
enum qmgr_status {
	QMGR_OK = 0,
	QMGR_TEMP = 1,  /* 451: a write failed */
	QMGR_FULL = 2,  /* 452: no room */
	QMGR_BAD = 3,   /* descriptors not sealed, sizes wrong, unknown id: 451 and a log line */
	QMGR_DENIED = 4, /* control edge: not for this user */
	QMGR_LOCKED = 5, /* 550: the login is on hold (qmgr/contain.h) */
};
#define QMGR_BODY_SIG "uh"
/* queue id, envelope (envelope_encode, inline or as descriptor: 0 = inline bytes, 1 = first descriptor),
 * envelope bytes ("" when it is a descriptor), headers' size, body's size, offset in the body where the message goes on behind
 * the headers, where the body is (0: descriptor, 1: the file of QMGR_BODY), then the descriptors:
 * [envelope memfd], headers memfd, [body memfd], each in a group of its own */
#define QMGR_COMMIT_SIG "subqqqu(h)"

/* estafeta queue, mailq, sendmail: control edge, uid checked */
enum {
	QMGR_CTL_LIST =
	    40, /* sig QMGR_SELECT_SIG: from this id on ("" = the first), conditions.  Answer
			       * QMGR_LIST_SIG: enum qmgr_list, the id to go on from, entries as JSON lines with
			       * postqueue -j's fields, perhaps none */
	QMGR_CTL_SHOW = 41,   /* sig "s"; answer "usbh": status, text, envelope, content (a sealed memfd or a file) */
	QMGR_CTL_DELETE = 42, /* sig QMGR_SELECT_SIG: id or ALL, conditions; answer "uus": status, count, text */
	QMGR_CTL_HOLD = 43, QMGR_CTL_RELEASE = 44, QMGR_CTL_REQUEUE = 45, /* as DELETE */
	QMGR_CTL_FLUSH = 46,  /* sig "s": domain, "" = all; answer "uus" */
	QMGR_CTL_SUBMIT = 47, /* sendmail.  sig "susuhh"-like: QMGR_SUBMIT_SIG; answer "uss": status, queue id, text */
	/* Logins on hold, for root.  LIST: sig "", answer "uh": status, JSON lines as a sealed memfd.  HOLD: sig "ss": login, reason;
	 * RELEASE: sig "su": login, does its mail stay on hold?  Answer "uus" as DELETE's. */
	QMGR_CTL_CONTAIN_LIST = 55, QMGR_CTL_CONTAIN_HOLD = 56, QMGR_CTL_CONTAIN_RELEASE = 57,
	/* Where would mail go?  Root only.  sig "sssu(ssu)": sender ("" = <>), login ("" = none), filter ("" = none), flags (enum
	 * envelope_flags), then each recipient, QMGR_EXPLAIN_RCPTS at most: address, the sender of its own ("" = the
	 * message's), is it for a mailbox here.  Answer QMGR_EXPLAIN_SIG: status, text, then particulars: number of
	 * the recipient, or QMGR_EXPLAIN_MESSAGE; name, value (docs/estafeta.8). */
	QMGR_CTL_EXPLAIN = 59,
	QMGR_CTL_EXPIRE = 48, /* as DELETE: returned to the sender after the next attempt, which is due now unless held */
};
#define QMGR_SELECT_SIG "s(us)"
#define QMGR_LIST_SIG "us(b)"
#define QMGR_EXPLAIN_SIG "us(uss)"
enum { QMGR_EXPLAIN_RCPTS = 20 /* whose particulars fit a packet */ };
#define QMGR_EXPLAIN_MESSAGE UINT32_MAX
/* Conditions, each at most once; a message has to fulfil all.  Of those about recipients, one that is not finished
 * has to fulfil all.  Addresses, domains and reasons without regard to case. */
enum qmgr_filter {
	QMGR_FILTER_SENDER = 1, /* address, "" = <> */
	QMGR_FILTER_RECIPIENT = 2,
	QMGR_FILTER_DOMAIN = 3, /* of a recipient */
	QMGR_FILTER_REASON = 4, /* part of the text of the last attempt */
	QMGR_FILTER_QUEUE = 5,  /* active, deferred, hold */
	QMGR_FILTER_OLDER = 6, QMGR_FILTER_YOUNGER = 7, /* seconds since arrival, decimal */
	QMGR_FILTER_LARGER = 8, QMGR_FILTER_SMALLER = 9, /* bytes, decimal */
	QMGR_FILTER_KINDS,
};
enum qmgr_list { QMGR_LIST_END = 0, QMGR_LIST_MORE = 1, QMGR_LIST_DENIED = 2 };
/* sender ("" = <>), flags, full name, headers+body as one sealed memfd, sealed memfd with the recipients
 * (NUL-separated) */
#define QMGR_SUBMIT_SIG "sushh"

#endif
