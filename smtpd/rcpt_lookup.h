/* rcpt_lookup.h - asks authd who takes the mail for an address. */
#ifndef SMTPD_RCPT_LOOKUP_H
#define SMTPD_RCPT_LOOKUP_H

struct smtpd_session;

/* Fills s->tx->found; done(s) follows, from the loop.  address must live until then. */
void smtpd_address_lookup(struct smtpd_session *s, const char *address, void (*done)(struct smtpd_session *s));
/* Of RCPT TO: fills s->tx->found; smtpd_policy_continue follows. */
void smtpd_rcpt_lookup(struct smtpd_session *s, const char *address);
/* Is the sender one of ours, and unknown?  smtpd_policy_sender_found follows; no transaction is needed. */
void smtpd_sender_lookup(struct smtpd_session *s, const char *address);

#endif
