/* anvil_client.h - questions to anvil (common/ipc/msg/anvil.h).
 *
 * As in Postfix, an anvil that does not answer limits nobody: the first failure is logged, and for ANVIL_PAUSE_MS nobody is
 * asked; then the next question tries again.  A question returns NULL when there is nobody to ask, and its
 * callback does not come; else it comes once, from the loop, unless anvil_call_cancel was called. */
#ifndef SMTPD_ANVIL_CLIENT_H
#define SMTPD_ANVIL_CLIENT_H

#include "common/ipc/msg/anvil.h"
#include "smtpd/server.h"

enum { ANVIL_TIMEOUT_MS = 3000, ANVIL_PAUSE_MS = 10000 };

struct anvil_answer {
	bool is_known;              /* false: anvil did not answer; the rest is 0 */
	uint32_t connections, rate; /* anvil_connect, anvil_count */
	enum anvil_greylist greylist;
	uint32_t seconds;
	int64_t until[ANVIL_SCREEN_TESTS]; /* seconds since 1970 */
};
typedef void anvil_cb(void *arg, const struct anvil_answer *a);

struct anvil_call;
/* The connection counts from here on, whether there is an answer or not, until anvil_disconnect. */
struct anvil_call *anvil_connect(
    struct smtpd_server *v, const char *client, anvil_cb *cb, void *arg);
void anvil_disconnect(struct smtpd_server *v, const char *client);
struct anvil_call *anvil_count(struct smtpd_server *v, enum anvil_event event, int64_t unit_s,
    const char *key, uint32_t n, anvil_cb *cb, void *arg);
/* The same, and nobody wants to know. */
void anvil_note(
    struct smtpd_server *v, enum anvil_event event, int64_t unit_s, const char *key, uint32_t n);
/* For the restriction check_greylist: network: anvil_network with conf->rate.greylist_bits.  What is not known is permitted. */
struct anvil_call *anvil_ask_greylist(struct smtpd_server *v, const char *network,
    const char *sender, const char *recipient, const char *client_name, anvil_cb *cb, void *arg);
struct anvil_call *anvil_screen_get(
    struct smtpd_server *v, const char *client, anvil_cb *cb, void *arg);
void anvil_screen_put(
    struct smtpd_server *v, const char *client, const int64_t until[ANVIL_SCREEN_TESTS]);
void anvil_call_cancel(struct anvil_call *call); /* NULL is allowed */

/* "192.0.2.0/24"; just the address when all bits count. */
void anvil_network(
    const struct sockaddr_storage *a, unsigned ipv4_bits, unsigned ipv6_bits, char out[ADDR_TEXT]);

#endif
