/* restrictions.h - the names of smtpd's restrictions: what each is for, and what it is another name of.
 * ROW(name, same_as, text).  smtpd has a function for every same_as; `estafeta config -m` prints the rest. */
#ifndef COMMON_CONFIG_RESTRICTIONS_H
#define COMMON_CONFIG_RESTRICTIONS_H

/* clang-format off */
#define RESTRICTIONS(ROW) \
	ROW(permit, permit, "Permits: ends its own list.") \
	ROW(reject, reject, "Refuses.") \
	ROW(defer, defer, "Refuses for now (450).") \
	ROW(defer_if_permit, defer_if_permit, "Turns a permission at the end into a refusal for now.") \
	ROW(defer_if_reject, defer_if_reject, "Turns a later refusal into one for now.") \
	ROW(permit_mynetworks, permit_mynetworks, "Permits clients in mynetworks.") \
	ROW(permit_sasl_authenticated, permit_sasl_authenticated, "Permits clients that have logged in.") \
	ROW(permit_auth_destination, permit_auth_destination, "Permits recipients in our own domains.") \
	ROW(reject_unauth_destination, reject_unauth_destination, "Refuses recipients that are not in our own domains: what keeps us from being an open relay.") \
	ROW(defer_unauth_destination, defer_unauth_destination, "The same, for now (454).") \
	ROW(reject_unlisted_recipient, reject_unlisted_recipient, "Refuses recipients of our own domains that do not exist; always evaluated last.") \
	ROW(check_recipient_maps, reject_unlisted_recipient, "Postfix's older name.") \
	ROW(reject_non_fqdn_sender, reject_non_fqdn_sender, "Refuses senders whose domain is not fully qualified.") \
	ROW(reject_non_fqdn_recipient, reject_non_fqdn_recipient, "Refuses recipients whose domain is not fully qualified; postmaster alone is taken (RFC 5321 4.5.1).") \
	ROW(reject_unauth_pipelining, reject_unauth_pipelining, "Refuses clients that send commands before they may.") \
	ROW(reject_invalid_helo_hostname, reject_invalid_helo_hostname, "Refuses malformed HELO names.") \
	ROW(reject_invalid_hostname, reject_invalid_helo_hostname, "Postfix's older name.") \
	ROW(reject_non_fqdn_helo_hostname, reject_non_fqdn_helo_hostname, "Refuses HELO names that are neither fully qualified nor an address literal.") \
	ROW(reject_non_fqdn_hostname, reject_non_fqdn_helo_hostname, "Postfix's older name.") \
	ROW(reject_unknown_helo_hostname, reject_unknown_helo_hostname, "Refuses HELO names without address or MX in the DNS.") \
	ROW(reject_unknown_hostname, reject_unknown_helo_hostname, "Postfix's older name.") \
	ROW(reject_unknown_sender_domain, reject_unknown_sender_domain, "Refuses senders whose domain is not in the DNS, or takes no mail (RFC 7505).") \
	ROW(reject_unknown_recipient_domain, reject_unknown_recipient_domain, "Refuses recipients whose domain is not in the DNS, or takes no mail (RFC 7505).") \
	ROW(reject_unknown_client_hostname, reject_unknown_client_hostname, "Refuses clients whose address has no name that leads back to it.") \
	ROW(reject_unknown_client, reject_unknown_client_hostname, "Postfix's older name.") \
	ROW(reject_unknown_reverse_client_hostname, reject_unknown_reverse_client_hostname, "Refuses clients whose address has no name.") \
	ROW(reject_plaintext_session, reject_plaintext_session, "Refuses sessions without TLS.") \
	ROW(reject_multi_recipient_bounce, reject_multi_recipient_bounce, "Refuses bounces to more than one recipient.")
/* clang-format on */

#endif
