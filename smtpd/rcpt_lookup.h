/* rcpt_lookup.h - asks authd who takes the mail for one RCPT TO address. */
#ifndef SMTPD_RCPT_LOOKUP_H
#define SMTPD_RCPT_LOOKUP_H

struct smtpd_session;

/* Fills s->tx->found; smtpd_policy_continue follows. */
void smtpd_rcpt_lookup(struct smtpd_session *s, const char *address);

#endif
