/* rewrite.h - what an address becomes in a message that passes: canonical(5), then masquerade_domains, as Postfix's cleanup(8)
 * does it; and in one that leaves: generic(5).  Pure but for the questions asked through struct resolve_source. */
#ifndef AUTHD_REWRITE_H
#define AUTHD_REWRITE_H

#include "common/base/err.h"
#include "common/ipc/msg/authd.h"
#include "common/proto/address.h"

#include <stdbool.h>

struct resolve_conf;
struct resolve_source;

struct rewrite_conf {
	/* *_classes: bits 1 << enum rewrite_class */
	unsigned canonical, sender_canonical, recipient_canonical, masquerade;
	const char *masquerade_domains, *exceptions; /* NULL: none */
	/* propagate_unmatched_extensions names canonical, generic */
	bool keeps_extension, keeps_generic_extension;
};

/* 0: it becomes *to, as it is written in envelopes and headers.  1: it stays.  -1 (ERR_TEMP): a table does not answer, gives what is no
 * address, or leads in circles: the message is not accepted until the admin has mended it. */
int rewrite_address(const struct resolve_conf *c, const struct resolve_source *s,
    enum rewrite_class class, const char *address, char to[ADDRESS_MAX + 1], struct err *err);

#endif
