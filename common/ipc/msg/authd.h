/* authd.h - what the others ask authd. */
#ifndef COMMON_IPC_MSG_AUTHD_H
#define COMMON_IPC_MSG_AUTHD_H

enum { TICKET_BYTES = 16, TICKET_LIFE_MS = 30000 };

/* Answer to anything that looks something up. */
enum authd_status {
	AUTHD_OK = 0,
	AUTHD_NO = 1,   /* unknown recipient, wrong password */
	AUTHD_TEMP = 2, /* database unavailable, try again */
	AUTHD_FULL = 3, /* mailbox over quota */
	AUTHD_RELAY_DENIED = 4,
	AUTHD_BAD = 5, /* malformed exchange (bad base64 never reaches authd: bytes only) */
	/* AUTHD_RESOLVE: mail for it would be returned, or wait (transports error and retry); the text says why */
	AUTHD_REJECT = 6,
	AUTHD_RETRY = 7,
};
/* Whose domain it is. */
enum authd_destination {
	AUTHD_FOREIGN = 0,
	AUTHD_LOCAL = 1,
	AUTHD_RELAYED = 2 /* relay_domains */
};

/* smtpd, imapd-login, pop3d-login */
enum {
	/* A SASL exchange.  sig "ussusssb": session (chosen by the caller, higher than all before it on its connection),
	 * service ("smtp", "imap", "pop3"), mechanism (upper case), flags (AUTHD_*), client ip, server ip,
	 * server name (myhostname), initial response (see AUTHD_HAS_INITIAL).
	 * Answer AUTHD_STEP_SIG. */
	AUTHD_SASL_START = 1,
	/* sig "ub": session, client's response.  Answer AUTHD_STEP_SIG. */
	AUTHD_SASL_STEP = 2,
	/* sig "u": the client gave up, or went.  No answer. */
	AUTHD_SASL_ABORT = 3,
	/* Who takes mail for this address, rewritten and with aliases expanded?  sig "sus": address as in RCPT TO without <>, flags (0),
	 * the message's sender ("" = <>: it stays, whatever the aliases say).
	 * Answer AUTHD_RESOLVE_SIG. smtpd, qmgr, and sendmail through qmgr. */
	AUTHD_RESOLVE = 4,
	/* What do these tables say?  sig "s(us)": tables, "type:name, type:name", each of them as it stands in the
	 * configuration; then the keys to try, best first: is it partial (1: not for tables of patterns), key.
	 * Answer AUTHD_LOOKUP_SIG; AUTHD_BAD: a table that the configuration does not name.  smtpd. */
	AUTHD_LOOKUP = 5,
	/* Where does mail from this sender to these recipients, AUTHD_ROUTES at most, go now?  sig "s(s)".  They have been
	 * resolved before, and no alias is expanded.  Answer AUTHD_ROUTE_SIG.  qmgr. */
	AUTHD_ROUTE = 6,
	/* Who are we at another server?  sig "(us)": keys as in AUTHD_LOOKUP, for smtp_sasl_password_maps, which nobody else may
	 * ask.  Answer AUTHD_LOOKUP_SIG, the value user:password.  relay. */
	AUTHD_PASSWORD = 7,
	/* What do addresses of a message become (canonical_maps, masquerade_domains; smtp_generic_maps)?  sig "(us)", AUTHD_REWRITES at most: whose
	 * it is (enum rewrite_class), address.  Answer AUTHD_REWRITE_SIG.  smtpd, qmgr, relay. */
	AUTHD_REWRITE = 8,
	/* What TLS must there be with a destination?  The same for smtp_tls_policy_maps. */
	AUTHD_TLS_POLICY = 9,
	/* Which addresses does mail of a sender leave from?  The same for smtp_bind_address_maps.  relay. */
	AUTHD_BIND_ADDRESS = 16,
	/* What has the admin limited?  The same for destination_limit_maps and tenant_limit_maps.  qmgr. */
	AUTHD_LIMITS = 17,
	AUTHD_TENANT_LIMITS = 18,
};
/* status; for each address, in their order: what it becomes, "" = it stays */
#define AUTHD_REWRITE_SIG "u(s)"
enum { AUTHD_REWRITES = 100 };
/* As Postfix's *_classes have them, envelope recipients rewritten where they are resolved; and any address of what leaves by
 * SMTP or LMTP. */
enum rewrite_class {
	REWRITE_ENVELOPE_SENDER,
	REWRITE_ENVELOPE_RECIPIENT,
	REWRITE_HEADER_SENDER,
	REWRITE_HEADER_RECIPIENT,
	REWRITE_GENERIC,
	REWRITE_LMTP_GENERIC,
	REWRITE_CLASSES
};
/* status; for each recipient, in their order: status (OK; NO: no such mailbox here; TEMP), transport, nexthop, mailbox uid,
 * mailbox gid */
#define AUTHD_ROUTE_SIG "u(uusuu)"
enum { AUTHD_ROUTES = 50, AUTHD_NEXTHOP_MAX = 1000 }; /* 50 such answers fit a packet */
/* status, number of the key that was found, its value (or what is wrong, for the log) */
#define AUTHD_LOOKUP_SIG "uus"
enum { AUTHD_LOOKUP_KEYS = 64 };
enum { AUTHD_HAS_TLS = 1, AUTHD_HAS_INITIAL = 2, AUTHD_WANT_TICKET = 4 };
/* state, challenge or final server data, account (login name, when done), ticket (TICKET_BYTES or empty),
 * reason for the log (when failed) */
#define AUTHD_STEP_SIG "ubsbs"
enum authd_step {
	AUTHD_STEP_MORE = 0,
	AUTHD_STEP_DONE = 1,
	AUTHD_STEP_FAILED = 2,
	AUTHD_STEP_TEMP = 3,
	AUTHD_STEP_NO_MECH = 4
};

/* status (enum authd_status), enum authd_destination, text, then each final
 * recipient: transport (enum transport of common/ipc/envelope.h), nexthop ("" = by the domain), address,
 * mailbox uid, mailbox gid, the sender that it leaves with ("" = the message's), enum authd_sender */
#define AUTHD_RESOLVE_SIG "uus(ussuusu)"
enum authd_sender {
	AUTHD_SENDER_SAME = 0,
	AUTHD_SENDER_LIST = 1, /* owner- alias: RFC 3461 5.2.7.3, DSN parameters end here */
	AUTHD_SENDER_SRS = 2,
};

/* master */
enum {
	/* Whose ticket is this?  sig "bsuu": ticket, service, pid of the front that handed it in, the front's
	 * session id.  Answer AUTHD_ACCOUNT_SIG.  The ticket stays redeemable once over the edge minted. */
	AUTHD_ACCOUNT = 20,
	/* An edge bound to a delivery uid.  sig "u": uid.  Answer "uh". */
	AUTHD_MINT_DELIVERY = 21,
};
/* status, account, uid, gid, home (absolute), minted edge (a closed pair when status is not AUTHD_OK) */
#define AUTHD_ACCOUNT_SIG "usuush"

/* estafeta explain (control edge, uid 0) */
enum {
	/* What was asked to find who takes mail for an address?  sig "uss": enum authd_trace, address, the message's sender.
	 * Answer AUTHD_TRACE_SIG. */
	AUTHD_TRACE = 22,
};
enum authd_trace {
	AUTHD_TRACE_RESOLVE, /* as AUTHD_RESOLVE: aliases, canonical_maps, classes */
	AUTHD_TRACE_ROUTE,   /* as AUTHD_ROUTE: transport_maps and their kin */
	AUTHD_TRACE_SENDER, /* as AUTHD_REWRITE of an envelope's sender; the text is what it becomes, "" = it stays */
};
/* status, text, then each question: the parameter that names the table (user_database, :include: beside these), key, enum
 * authd_status (OK, NO, TEMP), value; long ones are cut */
#define AUTHD_TRACE_SIG "us(ssus)"
enum { AUTHD_TRACE_STEPS = 500 };

/* over a minted edge */
enum {
	/* imapd, pop3d.  sig "b": ticket.  Answer "us": authd_status, account.  Each ticket once. */
	AUTHD_REDEEM = 30,
	/* delivery: where is this mailbox?  sig "s": address.  Answer "usuus": status, account, uid, gid, home
	 * relative to virtual_mailbox_base.  AUTHD_NO also when the uid is not the edge's. */
	AUTHD_MAILBOX = 31,
};

/* estafeta user ... (control edge; uid 0, or the account itself for PASSWD of its own) */
enum {
	AUTHD_USER_ADD =
	    40, /* sig "ssuus": address, password, uid, gid, home ("" / 0 = defaults); "us" */
	AUTHD_USER_PASSWD = 41, /* sig "ss"; "us" */
	AUTHD_USER_DEL = 42,    /* sig "s"; "us" */
	AUTHD_USER_LIST =
	    43, /* sig "s": after this address ("" = first); answer "u(s)": status, next up to 500 */
	AUTHD_USER_SHOW =
	    44, /* sig "s"; answer "usuuss": status, address, uid, gid, home, mechanisms/hash kinds */
};

#endif
