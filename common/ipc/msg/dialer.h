/* dialer.h - connections to milters and policy servers, made for those who may make none. */
#ifndef COMMON_IPC_MSG_DIALER_H
#define COMMON_IPC_MSG_DIALER_H

enum {
	/* A connected, non-blocking stream socket to this place.  sig "s": the endpoint as it stands in main.cf,
	 * "inet:host:port", "inet:[2001:db8::1]:port", "unix:/path", "local:/path", "host:port"; dialer connects to what
	 * the configuration of the smtpd services names, and to nothing else.  Answer DIALER_ANSWER_SIG. */
	DIALER_CONNECT = 1,
};
/* enum dialer_status, reason for the log, the socket (a closed pair's end unless DIALER_OK) */
#define DIALER_ANSWER_SIG "ush"
enum dialer_status {
	DIALER_OK = 0,
	DIALER_TEMP = 1,   /* refused, no such socket, time-out: try again later */
	DIALER_DENIED = 2, /* not in the configuration */
};

#endif
