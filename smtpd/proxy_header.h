/* proxy_header.h - the header that HAProxy and its kin put before a connection: PROXY protocol versions 1 and 2.  Pure. */
#ifndef SMTPD_PROXY_HEADER_H
#define SMTPD_PROXY_HEADER_H

#include "common/base/err.h"
#include "common/base/view.h"

#include <sys/socket.h>

enum { PROXY_HEADER_MAX = 4096 };

struct proxy_header {
	bool has_addresses; /* false: LOCAL or UNKNOWN, the proxy speaks for itself */
	struct sockaddr_storage client, server; /* with ports */
};

/* At the start of in.  0: *used bytes were the header; 1: more is needed; -1: ERR_SYNTAX, ERR_LIMIT. */
int proxy_header_parse(struct view in, size_t *used, struct proxy_header *out, struct err *err);

#endif
