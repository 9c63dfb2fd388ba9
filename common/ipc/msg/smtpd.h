/* smtpd.h - `estafeta explain` to a smtpd process, over a connection that master hands to both. */
#ifndef COMMON_IPC_MSG_SMTPD_H
#define COMMON_IPC_MSG_SMTPD_H

enum {
	/* tool -> smtpd, once: let this client in.  sig SMTPD_EXPLAIN_SIG: its address, its port, its name ("" = is looked up,
	 * "unknown" = it has none), the login that it has given, flags (enum smtpd_explain_flags), the stream on which the tool
	 * speaks SMTP, which passes the same code as any client's; nothing is counted, logged or queued.  Answer "us": 0 or an
	 * exit status, and why. */
	SMTPD_EXPLAIN = 1,
	/* smtpd -> tool, any number.  sig SMTPD_STEP_SIG: the command under way, what was done, then its particulars: name,
	 * value.  docs/estafeta.8 names them. */
	SMTPD_STEP = 2,
	/* smtpd -> tool: the session has ended, and there are no more steps.  sig "" */
	SMTPD_EXPLAINED = 3,
};
enum smtpd_explain_flags {
	SMTPD_EXPLAIN_TLS = 1,    /* as if the session had TLS */
	SMTPD_EXPLAIN_POLICY = 2, /* policy servers are asked */
	SMTPD_EXPLAIN_FLAGS = SMTPD_EXPLAIN_TLS | SMTPD_EXPLAIN_POLICY
};
#define SMTPD_EXPLAIN_SIG "sussuh"
#define SMTPD_STEP_SIG "ss(ss)"

#endif
