/* rate.h - the gate of limits that all smtpd processes share: a client's connections and rates as in Postfix, and what one
 * login or one sender may send in an hour.  Nobody is asked where no limit is set or none applies. */
#ifndef SMTPD_RATE_H
#define SMTPD_RATE_H

#include "common/config/conf.h"
#include "common/ipc/msg/anvil.h"
#include "smtpd/gates.h"

struct rate_config {
	uint32_t connections, connection_rate, limits[ANVIL_EVENTS]; /* 0: none */
	int64_t unit_s, sending_unit_s;
	unsigned client_bits[2], greylist_bits[2]; /* prefix length, IPv4 and IPv6 */
};
void smtpd_rate_config_read(struct rate_config *r, const struct conf *conf);

smtpd_gate smtpd_rate_gate;
struct smtpd_config;
/* Would the gate ask anvil of anybody there? */
bool smtpd_rate_is_limited(const struct smtpd_config *c, enum smtpd_stage stage);
/* How many connections the client has, as anvil counted them at this one; 0: it was not asked (no limit, or none for this client). */
uint32_t smtpd_rate_connections(const struct smtpd_session *s);
/* A TLS handshake is over. */
void smtpd_rate_tls_up(struct smtpd_session *s);
/* The session ends: so does its connection, for anvil. */
void smtpd_rate_free(struct smtpd_session *s);

#endif
