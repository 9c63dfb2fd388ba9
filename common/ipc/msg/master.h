/* master.h - the control channel between master and each worker (descriptor 3 of the worker). */
#ifndef COMMON_IPC_MSG_MASTER_H
#define COMMON_IPC_MSG_MASTER_H

/* master -> worker.  "sig" is the frame signature. */
enum {
	/* Before START, any number of times: descriptors by name.  sig "sh": name, descriptor.
	 * names: "root" (the directory to become the root, where a path could be swapped), "log:FILE" (to log), "counters"
	 * (the role's page of common/daemon/counters.h),
	 * "tls:ROLE/SERVICE" (to keyd: the effective configuration of each service with TLS listeners, as a sealed
	 * memfd; keyd opens the files it names before its cage closes, for some are named in tables) */
	MASTER_ATTACH = 1,
	/* sig MASTER_START_SIG.  Sent once. */
	MASTER_START = 2,
	/* End after the present work.  sig "u": 0 = sessions may take the time they need (reload), 1 = the suite
	 * stops: what can be broken off without breaking a promise is broken off.  1 may follow 0. */
	MASTER_DRAIN = 3,
	/* A connection to a HANDED or MINTED edge.  sig "uh": enum role of the other side, descriptor.
	 * To the delivery process: the qmgr's end, or its authd edge; to qmgr it comes as answer to
	 * MASTER_DELIVERY instead.  To smtpd: that of estafeta explain (msg/smtpd.h). */
	MASTER_EDGE = 4,
	/* To imapd/pop3d: a client that authd has let in.  sig MASTER_LOGIN_SIG: ticket (16 bytes), front's pid,
	 * front's session id, control socket (SEQPACKET, msg/login.h), byte stream, authd edge bound to the
	 * account.  The session redeems the ticket over that edge before it answers a byte. */
	MASTER_LOGIN = 5,
	/* To imapd: something changed in this account's mailboxes (delivery, POP3).  sig "s": mailbox name,
	 * "" = any */
	MASTER_CHANGED = 6,
	/* To log: one worker's end of its log socket.  sig "suuh": syslog name, pid, is it a mailbox daemon
	 * (Dovecot's form of line), descriptor. */
	MASTER_LOG_SOURCE = 7,
	/* To log: the log file was renamed and opened anew.  sig "h" */
	MASTER_LOG_FILE = 8,
};
/* service, account, root directory, uid, gid, permissive, configuration directory, effective
 * configuration (sealed memfd, "name = value\n"), log socket, then for each listener: kind (0 inet,
 * 1 edge), for an edge the calling role and its uid, descriptor. */
#define MASTER_START_SIG "sssuuushh(uuuh)"
#define MASTER_LOGIN_SIG "buuhhh"
enum { MASTER_LISTEN_INET = 0, MASTER_LISTEN_EDGE = 1, MASTER_LISTENERS_MAX = 14 };

/* worker -> master */
enum {
	/* The cage is closed, the loop runs, clients are accepted.  sig "" */
	MASTER_READY = 20,
	/* qmgr only: the delivery process of this mailbox uid.  sig "uu": uid, gid; answer
	 * MASTER_DELIVERY_REPLY_SIG: 0 and its descriptor, or a status and a descriptor of no use. */
	MASTER_DELIVERY = 21,
	/* Login fronts only: hand this client over.  sig "sbuhh": service ("imap", "pop3"), ticket, front's
	 * session id, control socket, byte stream.  Answer "us": 0 and the pid of the session process for the log,
	 * or status (err_kind) and text. */
	MASTER_HANDOVER = 22,
	/* delivery, imapd, pop3d: this account's mailboxes changed; goes on to its imapd.  sig "ss": account,
	 * mailbox name.  Of imapd and pop3d the account is the one that master bound, whatever it says. */
	MASTER_NOTE = 23,
	/* delivery: its authd edge was lost, a new one please.  sig "u": enum role.  Comes as MASTER_EDGE. */
	MASTER_WANT_EDGE = 24,
	/* imapd, pop3d, delivery: idle, would end; master answers with DRAIN unless a hand-over is under way.
	 * sig "" */
	MASTER_IDLE = 25,
	/* The reason why this worker ends before it was ready.  sig "s" */
	MASTER_FAILED = 26,
};
#define MASTER_DELIVERY_REPLY_SIG "uh"

/* estafeta -> master (control edge, uid 0 only); answer "us": exit status, text */
enum {
	MASTER_CTL_STATUS = 40, /* sig "": text is JSON lines, one a service and one a process */
	MASTER_CTL_RELOAD =
	    41, /* sig "": answered when all new workers serve, one failed, or it took too long */
	MASTER_CTL_STOP = 42,   /* sig "": answered when every worker has ended */
	MASTER_CTL_ROTATE = 43, /* sig "": open the log file anew */
	MASTER_CTL_COUNTERS = 44, /* sig "": text is a JSON object, what was counted since master started (common/daemon/counters.h) */
	/* A connection to a process of this smtpd service.  sig "s": first column of master.cf, or its port; "" = the first one.  Answer
	 * MASTER_EXPLAIN_SIG: exit status, text (the service's name), and it; of no use unless the status is 0. */
	MASTER_CTL_EXPLAIN = 45,
};
#define MASTER_EXPLAIN_SIG "ush"

#endif
