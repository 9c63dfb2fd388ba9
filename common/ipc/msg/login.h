/* login.h - the control socket between a login front and the session process, one per client. */
#ifndef COMMON_IPC_MSG_LOGIN_H
#define COMMON_IPC_MSG_LOGIN_H

enum {
	/* front -> session, the one message.  sig "ssssuuus": command tag (IMAP; "" for POP3), client ip, server ip,
	 * session id for the log, client port, server port, flags (LOGIN_*), TLS protocol and cipher for the log. */
	LOGIN_HELLO = 1,
};
enum { LOGIN_HAS_TLS = 1 };
#define LOGIN_HELLO_SIG "ssssuuus"

#endif
