/* login_client.h - one client of a login front; known only inside common/login. */
#ifndef COMMON_LOGIN_LOGIN_CLIENT_H
#define COMMON_LOGIN_LOGIN_CLIENT_H

#include "common/ipc/msg/authd.h"
#include "common/login/login.h"
#include "common/net/tls.h"
#include "common/net/addr.h"
#include "common/net/stream.h"

#include <sys/queue.h>

enum {
	LOGIN_CLIENT_OUTPUT =
	    96 * 1024, /* what a client may leave unread, and in the end the session's last words */
	LOGIN_SESSION_BUFFER = 32 * 1024,
	LOGIN_FINISH_MS = 10 * 1000,
};

enum login_phase {
	LOGIN_PHASE_TLS, /* handshake, at once or after STARTTLS */
	LOGIN_PHASE_COMMAND,
	LOGIN_PHASE_AUTHD,    /* authd is asked */
	LOGIN_PHASE_RESPONSE, /* the client is asked */
	LOGIN_PHASE_DELAY,    /* a wrong password is being slow */
	LOGIN_PHASE_HANDOVER, /* master is asked */
	LOGIN_PHASE_PROXY,    /* bytes go to and fro */
	LOGIN_PHASE_ENDED,    /* freed at the next safe place */
};

struct login_address { /* how many connections an address has */
	unsigned count;
	unsigned char key[16];
	size_t key_len;
};

struct login_client {
	struct login_front *front;
	TAILQ_ENTRY(login_client) link;
	enum login_phase phase;
	bool is_counted_waiting; /* on the list of those who have not logged in */
	struct stream *stream;   /* the client; owned */
	struct login_address *address;
	char rip[ADDR_TEXT], lip[ADDR_TEXT];
	unsigned rport, lport;
	uint32_t id;         /* towards authd and master */
	char session_id[20]; /* for the log */
	int64_t born_ms;
	struct loop_timer timer; /* time to log in */
	struct loop_timer delay;
	enum login_failure delayed; /* what is told after it */
	struct ipc_call *call;

	/* login */
	char mech[32];
	char user[256]; /* quoted, as the client said or, once logged in, as authd says */
	unsigned attempts, bad_commands, responses;
	bool has_tried_plaintext, wants_tls, is_tls_up, has_exchange, has_final_data, was_greeted;
	unsigned char ticket[TICKET_BYTES];
	void *state; /* the protocol's; owned */

	/* session */
	struct stream *session;   /* owned */
	int session_fd;           /* our end of its byte stream until master has answered */
	struct ipc_conn *control; /* owned */
	bool is_half_closed;      /* the client has ended its side */
};
TAILQ_HEAD(login_client_list, login_client);

struct login_front {
	struct login_setup setup;
	const struct login_protocol *protocol;
	struct tls_context *tls; /* owned; NULL: none configured, or not there yet */
	struct tls_server_setup tls_setup;
	struct loop_timer tls_retry, stop;
	bool has_wrapper_tls, disables_plaintext, is_full, is_draining, is_ready, is_paused;
	size_t client_limit, address_limit;
	uint32_t next_id;
	size_t count;
	struct login_client_list waiting; /* oldest first */
	struct login_client_list logged_in;
	struct map addresses;
};

/* login_front.c */
void login_front_forget(struct login_front *f, struct login_client *c);
void login_front_moved(struct login_front *f, struct login_client *c); /* has logged in */

/* login_client.c */
void login_client_new(
    struct login_front *f, int fd, const struct sockaddr_storage *peer, struct login_address *a);
void login_client_free(struct login_client *c);
/* Says goodbye (bye NULL: nothing), logs the reason, and frees the client. */
void login_client_end(struct login_client *c, const char *bye, const char *reason);
void login_client_run(struct login_client *c); /* goes on with its input; may free it */

/* login_auth.c: the exchange with authd */
void login_auth_response(struct login_client *c, struct view line);
void login_auth_cancel(struct login_client *c);
void login_auth_fail(struct login_client *c, enum login_failure why);
void login_auth_delay_over(void *arg);

/* login_proxy.c: the session */
void login_handover(struct login_client *c);
void login_proxy_input(struct login_client *c);
void login_proxy_drained(struct login_client *c);
void login_proxy_client_closed(struct login_client *c, const struct err *why);

/* login_log.c */
void login_log_login(struct login_client *c, const char *pid);
void login_log_end(struct login_client *c, const char *reason);
/* The user name in a SASL client message (PLAIN, LOGIN, SCRAM-*), quoted for the log; nth: 0 = first.  Pure.
 * false: this message has none. */
bool login_sasl_user(const char *mech, unsigned nth, struct view message, char *out, size_t size);

#endif
