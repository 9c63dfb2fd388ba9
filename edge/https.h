/* https.h - GET by HTTPS from one address, by libcurl on our loop: no redirect, no proxy, no cookie, no connection kept, no
 * name resolved; the certificate must be the host's. */
#ifndef EDGE_HTTPS_H
#define EDGE_HTTPS_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/event/loop.h"

#include <sys/socket.h>

enum { HTTPS_PORT = 443 };

struct https;
/* Before the cage closes: reads the certification authorities.  NULL: *err. */
struct https *https_new(struct loop *l, const char *ca_file, struct err *err);
void https_free(struct https *h); /* all requests have ended; NULL is allowed */

/* Borrowed for the call. */
struct https_request {
	const char *host; /* in lower case; its certificate must bear this name */
	const struct sockaddr_storage *address;
	const char *path;
	const char *media_type;
	size_t max_bytes;
	int64_t connect_ms, total_ms;
};
enum https_status {
	HTTPS_OK,
	HTTPS_UNREACHABLE, /* no connection: another address may do better */
	HTTPS_UNTRUSTED,   /* the certificate is not the one it should be */
	HTTPS_FAILED,
};
struct https_get;
/* cb(arg, status, body, why), once, from the loop, never after a cancel; all borrowed for the callback.  Never NULL. */
struct https_get *https_get_start(struct https *h, const struct https_request *r,
    void (*cb)(void *arg, enum https_status status, struct view body, const char *why), void *arg);
void https_get_cancel(struct https_get *g); /* NULL is allowed */

#endif
