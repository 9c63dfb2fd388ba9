/* edges.h - the one service graph: every role, its user, its root, and who may call whom (DESIGN 3).
 *
 * Three kinds of edge:
 *   PATH    a listener in a root-owned directory, mode 0600, owned by the calling uid, made and kept by
 *           master over restarts of the server; its last path component is the server's name.
 *   HANDED  master makes the connection and hands an end to each side over their control channels
 *           (qmgr and the delivery process of one uid; estafeta explain and a smtpd).
 *   MINTED  authd makes the connection, bound to one account or uid, and master hands it to that process:
 *           processes that share a uid are told apart by what their edge was bound to at birth.
 * The control channel between master and each worker and the log socket are made at spawn and are not
 * listed.
 */
#ifndef COMMON_IPC_EDGES_H
#define COMMON_IPC_EDGES_H

#include <stdbool.h>
#include <stddef.h>

enum role {
	ROLE_MASTER,
	ROLE_LOG,
	ROLE_DNSD,
	ROLE_KEYD,
	ROLE_AUTHD,
	ROLE_QMGR,
	ROLE_RELAY,
	ROLE_DELIVERY,
	ROLE_SMTPD,
	ROLE_IMAPD_LOGIN,
	ROLE_IMAPD,
	ROLE_POP3D_LOGIN,
	ROLE_POP3D,
	ROLE_ANVIL,
	ROLE_DIALER,
	ROLE_FETCHD,
	ROLE_TOOL, /* estafeta, sendmail: not spawned by master */
	ROLE_COUNT
};

enum role_root {
	ROOT_NONE,  /* stays at / (master, tools) */
	ROOT_EDGES, /* the directory of its outgoing edges, and nothing else */
	ROOT_QUEUE, /* queue_directory; edges in its subdirectory "edges" */
	ROOT_AUTH,  /* the auth directory; edges in its subdirectory "edges" */
	ROOT_MAIL,  /* virtual_mailbox_base */
	ROOT_HOME,  /* the account's home */
	ROOT_STATE, /* data_directory/NAME: its own files; edges in its subdirectory "edges" */
};

struct role_row {
	const char *name;    /* of the program and in master.cf */
	const char *user;    /* system user; NULL: the mailbox's owner */
	enum role_root root;
	const char *log_tag; /* the name Postfix or Dovecot would log under */
	bool is_mailbox;     /* logs under Dovecot's name */
	bool is_exclusive;   /* a new one starts only when the old one has gone */
	bool is_required;    /* the suite does not run without it */
	enum role implied_by; /* runs wherever that one does: master.cf need not name it; ROLE_MASTER: named always */
};
const struct role_row *role_row(enum role r);
/* -1: no such role. */
int role_by_name(const char *name);

enum edge_kind { EDGE_PATH, EDGE_HANDED, EDGE_MINTED };
struct edge_row {
	enum role caller, server;
	enum edge_kind kind;
};
/* All edges; *count gets their number. */
const struct edge_row *edge_rows(size_t *count);
const struct edge_row *edge_find(enum role caller, enum role server); /* NULL: not allowed */

/* Path of a PATH edge's socket as the caller sees it inside its cage ("/authd", "/edges/relay"). */
void edge_path(enum role caller, enum role server, char *path, size_t size);

#endif
