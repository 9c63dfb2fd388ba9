/* generic.h - the addresses of a message that leaves, in envelope and header, as smtp_generic_maps or lmtp_generic_maps have them
 * (generic(5)); authd knows these.  Only the message's own header is rewritten, none inside of it. */
#ifndef QMGR_RELAY_GENERIC_H
#define QMGR_RELAY_GENERIC_H

#include "common/ipc/rewriting.h"
#include "qmgr/relay/content.h"

enum { RELAY_GENERIC_HEADER_MAX = 4 << 20 }; /* fields behind that stay as they are */

struct relay_generic;
/* class: REWRITE_GENERIC or REWRITE_LMTP_GENERIC. */
struct relay_generic *relay_generic_new(enum rewrite_class class);
void relay_generic_free(struct relay_generic *g); /* cancels; NULL is allowed */
void relay_generic_add(struct relay_generic *g, const char *address);
/* Reads the header; what addresses it has are asked for, too.  0, or -1: ERR_TEMP. */
int relay_generic_read(
    struct relay_generic *g, const struct relay_content *content, struct err *err);
/* false: there is no address anywhere, and cb does not come.  cb(arg, ok): not ok, a table has no answer for the time being. */
bool relay_generic_ask(
    struct relay_generic *g, struct ipc_edge *authd, void (*cb)(void *arg, bool ok), void *arg);
/* What the address is on its way out: itself, or another, valid until free. */
const char *relay_generic_find(const struct relay_generic *g, const char *address);
/* Puts the new header into the content that was read.  0, or -1: ERR_TEMP, and the content is as before. */
int relay_generic_apply(
    const struct relay_generic *g, struct relay_content *content, struct err *err);

#endif
