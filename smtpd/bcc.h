/* bcc.h - the gate that adds blind copies: always_bcc, sender_bcc_maps, recipient_bcc_maps (postconf(5)).  What it adds
 * are BCC verdicts, which the last gate resolves. */
#ifndef SMTPD_BCC_H
#define SMTPD_BCC_H

#include "common/config/conf.h"
#include "smtpd/gates.h"

struct smtpd_tables;
struct bcc_config {
	const char *always;                      /* "" = nobody; borrowed from the configuration */
	struct smtpd_tables *senders, *recipients; /* owned; NULL: none */
	const char *delimiter;
};
/* -1: ERR_SYNTAX and the like, naming the parameter. */
int bcc_config_read(struct bcc_config *c, const struct conf *conf, struct err *err);
void bcc_config_clear(struct bcc_config *c);

smtpd_gate smtpd_bcc_gate;
struct smtpd_bcc;
void smtpd_bcc_free(struct smtpd_bcc *b); /* the transaction ends; NULL is allowed */

#endif
