#include "common/ipc/edges.h"
#include "common/base/err.h"

#include <stdio.h>
#include <string.h>

/* clang-format off */
static const struct role_row roles[ROLE_COUNT] = {
	/*                   name           user         root        log tag        mailbox excl.  required  implied by */
	[ROLE_MASTER]      = { "master",      "root",      ROOT_NONE,  "master",      false,  true,  true,  ROLE_MASTER },
	[ROLE_LOG]         = { "log",         "es-log",    ROOT_EDGES, "log",         false,  true,  true,  ROLE_MASTER },
	[ROLE_DNSD]        = { "dnsd",        "es-dns",    ROOT_EDGES, "dnsd",        false,  true,  true,  ROLE_MASTER },
	[ROLE_KEYD]        = { "keyd",        "es-key",    ROOT_EDGES, "keyd",        false,  false, true,  ROLE_MASTER },
	[ROLE_AUTHD]       = { "authd",       "es-auth",   ROOT_AUTH,  "authd",       false,  true,  true,  ROLE_MASTER },
	[ROLE_QMGR]        = { "qmgr",        "es-queue",  ROOT_QUEUE, "qmgr",        false,  true,  true,  ROLE_MASTER },
	[ROLE_RELAY]       = { "relay",       "es-relay",  ROOT_EDGES, "smtp",        false,  false, true,  ROLE_MASTER },
	[ROLE_DELIVERY]    = { "delivery",    NULL,        ROOT_MAIL,  "virtual",     false,  false, true,  ROLE_MASTER },
	[ROLE_SMTPD]       = { "smtpd",       "es-smtpd",  ROOT_EDGES, "smtpd",       false,  false, false, ROLE_MASTER },
	[ROLE_IMAPD_LOGIN] = { "imapd-login", "es-login",  ROOT_EDGES, "imap-login",  true,   false, false, ROLE_MASTER },
	[ROLE_IMAPD]       = { "imapd",       NULL,        ROOT_HOME,  "imap",        true,   false, false, ROLE_MASTER },
	[ROLE_POP3D_LOGIN] = { "pop3d-login", "es-login",  ROOT_EDGES, "pop3-login",  true,   false, false, ROLE_MASTER },
	[ROLE_POP3D]       = { "pop3d",       NULL,        ROOT_HOME,  "pop3",        true,   false, false, ROLE_MASTER },
	[ROLE_ANVIL]       = { "anvil",       "es-anvil",  ROOT_STATE, "anvil",       false,  true,  false, ROLE_SMTPD },
	[ROLE_DIALER]      = { "dialer",      "es-dial",   ROOT_EDGES, "dialer",      false,  false, false, ROLE_SMTPD },
	[ROLE_FETCHD]      = { "fetchd",      "es-fetch",  ROOT_STATE, "fetchd",      false,  true,  false, ROLE_RELAY },
	[ROLE_TOOL]        = { "estafeta",    NULL,        ROOT_NONE,  "estafeta",    false,  false, false, ROLE_MASTER },
};

static const struct edge_row edges[] = {
	{ ROLE_MASTER,      ROLE_AUTHD,    EDGE_PATH   },
	{ ROLE_SMTPD,       ROLE_AUTHD,    EDGE_PATH   },
	{ ROLE_SMTPD,       ROLE_KEYD,     EDGE_PATH   },
	{ ROLE_SMTPD,       ROLE_DNSD,     EDGE_PATH   },
	{ ROLE_SMTPD,       ROLE_QMGR,     EDGE_PATH   },
	{ ROLE_SMTPD,       ROLE_ANVIL,    EDGE_PATH   },
	{ ROLE_SMTPD,       ROLE_DIALER,   EDGE_PATH   },
	{ ROLE_DIALER,      ROLE_DNSD,     EDGE_PATH   },
	{ ROLE_QMGR,        ROLE_AUTHD,    EDGE_PATH   }, /* a DSN's return path and sendmail's recipients */
	{ ROLE_QMGR,        ROLE_RELAY,    EDGE_PATH   },
	{ ROLE_QMGR,        ROLE_DELIVERY, EDGE_HANDED },
	{ ROLE_RELAY,       ROLE_DNSD,     EDGE_PATH   },
	{ ROLE_RELAY,       ROLE_KEYD,     EDGE_PATH   },
	{ ROLE_RELAY,       ROLE_AUTHD,    EDGE_PATH   }, /* its passwords at other servers */
	{ ROLE_RELAY,       ROLE_FETCHD,   EDGE_PATH   },
	{ ROLE_FETCHD,      ROLE_DNSD,     EDGE_PATH   },
	{ ROLE_FETCHD,      ROLE_QMGR,     EDGE_PATH   }, /* TLS reports */
	{ ROLE_DELIVERY,    ROLE_AUTHD,    EDGE_MINTED },
	{ ROLE_IMAPD_LOGIN, ROLE_AUTHD,    EDGE_PATH   },
	{ ROLE_IMAPD_LOGIN, ROLE_KEYD,     EDGE_PATH   },
	{ ROLE_POP3D_LOGIN, ROLE_AUTHD,    EDGE_PATH   },
	{ ROLE_POP3D_LOGIN, ROLE_KEYD,     EDGE_PATH   },
	{ ROLE_IMAPD,       ROLE_AUTHD,    EDGE_MINTED },
	{ ROLE_POP3D,       ROLE_AUTHD,    EDGE_MINTED },
	{ ROLE_TOOL,        ROLE_MASTER,   EDGE_PATH   },
	{ ROLE_TOOL,        ROLE_AUTHD,    EDGE_PATH   },
	{ ROLE_TOOL,        ROLE_QMGR,     EDGE_PATH   },
	{ ROLE_TOOL,        ROLE_SMTPD,    EDGE_HANDED }, /* estafeta explain */
};
/* clang-format on */

const struct role_row *
role_row(enum role r)
{
	if ((unsigned)r >= ROLE_COUNT)
		bug("role %d", (int)r);
	return &roles[r];
}

int
role_by_name(const char *name)
{
	for (int r = 0; r < ROLE_COUNT; r++)
		if (strcmp(roles[r].name, name) == 0)
			return r;
	return -1;
}

const struct edge_row *
edge_rows(size_t *count)
{
	*count = sizeof edges / sizeof edges[0];
	return edges;
}

const struct edge_row *
edge_find(enum role caller, enum role server)
{
	for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++)
		if (edges[i].caller == caller && edges[i].server == server)
			return &edges[i];
	return NULL;
}

void
edge_path(enum role caller, enum role server, char *path, size_t size)
{
	enum role_root root = role_row(caller)->root;
	const char *dir = root == ROOT_QUEUE || root == ROOT_AUTH || root == ROOT_STATE ? "/edges" : "";

	snprintf(path, size, "%s/%s", dir, role_row(server)->name);
}
