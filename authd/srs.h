/* srs.h - the Sender Rewriting Scheme, as postsrsd and libsrs2 have it: what we forward leaves with a sender of our own, and
 * what is returned to it finds its way back.  Pure.
 *
 *   SRS0=HHHH=TT=DOMAIN=LOCAL@OURS        of LOCAL@DOMAIN: hash, day
 *   SRS1=HHHH=HOST==HHHH=TT=D=L@OURS      of SRS0=HHHH=TT=D=L@HOST, and of what another one has made of that */
#ifndef AUTHD_SRS_H
#define AUTHD_SRS_H

#include "common/base/err.h"
#include "common/base/view.h"
#include "common/proto/address.h"

enum { SRS_SECRETS_MAX = 16, SRS_SECRET_MIN = 8, SRS_DAYS_MAX = 1023 };

struct srs {
	const char *domain;             /* srs_domain, lower case; NULL or "": no SRS */
	int64_t max_days;               /* srs_max_age */
	char *secrets[SRS_SECRETS_MAX]; /* owned: the first one signs, all verify */
	size_t nsecrets;
};

/* The secrets: a line each, white space around them and empty lines do not count.  -1: ERR_SYNTAX. */
int srs_read_secrets(struct srs *s, struct view text, struct err *err);
void srs_clear(struct srs *s);

/* The sender as it leaves us.  0, or 1: it is to stay: null, of srs_domain already, or not to be had in an address. */
int srs_forward(const struct srs *s, const char *sender, int64_t now, char out[ADDRESS_MAX + 1]);
/* 0: out is the address that was rewritten; 1: this is none of our SRS addresses; -1: forged, or too old. */
int srs_reverse(const struct srs *s, const char *address, int64_t now, char out[ADDRESS_MAX + 1]);

#endif
