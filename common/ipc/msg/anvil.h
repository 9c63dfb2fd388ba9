/* anvil.h - what all smtpd processes know together: connections and rates (Postfix's anvil(8)), the greylist, and the
 * clients that passed the tests before the greeting (postscreen's temporary allow-list). */
#ifndef COMMON_IPC_MSG_ANVIL_H
#define COMMON_IPC_MSG_ANVIL_H

/* All answers come at once but for those that read or write a database. */
enum {
	/* A client has connected.  sig "ss": service, client (address, or network by smtpd_client_ipv4/6_prefix_length).
	 * Answer "uu": its connections now, and in this time unit.  Ends with ANVIL_DISCONNECT, or with the IPC connection. */
	ANVIL_CONNECT = 1,
	ANVIL_DISCONNECT = 2, /* sig "ss"; no answer */
	/* Something happened that is counted.  sig "uusu": enum anvil_event, time unit in seconds, key (client, login,
	 * sender address), how many at once.  Answer "u": how many in the present unit, these included. */
	ANVIL_COUNT = 3,
	/* sig "ssss": client network, sender, recipient, client's name ("" = unknown).  Answer "uu": enum anvil_greylist,
	 * seconds to wait (or waited). */
	ANVIL_GREYLIST = 4,
	/* sig "s": client address.  Answer "qqqqq": until when (seconds since 1970) it has passed each test, in the order of
	 * enum anvil_screen_test; 0 = never. */
	ANVIL_SCREEN_GET = 5,
	ANVIL_SCREEN_PUT = 6, /* sig "sqqqqq"; no answer */
};
enum anvil_event { ANVIL_MESSAGE, ANVIL_RCPT, ANVIL_AUTH, ANVIL_NEW_TLS, ANVIL_LOGIN_MESSAGE, ANVIL_LOGIN_RCPT,
	ANVIL_SENDER_MESSAGE, ANVIL_SENDER_RCPT, ANVIL_EVENTS };
enum anvil_greylist { ANVIL_GREY_PASS = 0, ANVIL_GREY_WAIT = 1, ANVIL_GREY_TEMP = 2 };
enum anvil_screen_test { ANVIL_SCREEN_PREGREET, ANVIL_SCREEN_DNSBL, ANVIL_SCREEN_PIPELINING,
	ANVIL_SCREEN_NON_SMTP, ANVIL_SCREEN_BARE_NEWLINE, ANVIL_SCREEN_TESTS };

#endif
