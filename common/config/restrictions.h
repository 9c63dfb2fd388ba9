/* restrictions.h - the names of smtpd's restrictions: what each is for, and what it is another name of.
 * ROW(name, same_as, text) for those that stand alone: smtpd has a function for every same_as.
 * ARG(name, same_as, argument, subject, hosts, text) for those with a word behind them, or about one of several
 * subjects.  `estafeta config -m` prints the names and texts. */
#ifndef COMMON_CONFIG_RESTRICTIONS_H
#define COMMON_CONFIG_RESTRICTIONS_H

#include "common/config/conf.h"

/* fn for each word in smtpd's lists of restrictions and in its restriction classes.  param: the list that has it; before:
 * the word in front of it there, "" = none: check_policy_service before an endpoint. */
typedef void restriction_fn(void *arg, const char *param, struct view before, struct view word);
void restrictions_each(const struct conf *conf, restriction_fn *fn, void *arg);

/* clang-format off */
#define RESTRICTIONS(ROW) \
	ROW(permit, permit, "Permits: ends its own list.") \
	ROW(reject, reject, "Refuses.") \
	ROW(defer, defer, "Refuses for now (450).") \
	ROW(defer_if_permit, defer_if_permit, "Turns a permission at the end into a refusal for now.") \
	ROW(defer_if_reject, defer_if_reject, "Turns a later refusal into one for now.") \
	ROW(permit_mynetworks, permit_mynetworks, "Permits clients in mynetworks.") \
	ROW(permit_sasl_authenticated, permit_sasl_authenticated, "Permits clients that have logged in.") \
	ROW(permit_tls_clientcerts, permit_tls_clientcerts, "Permits clients whose certificate's fingerprint, or that of its key, is in relay_clientcerts.") \
	ROW(permit_tls_all_clientcerts, permit_tls_all_clientcerts, "Permits clients with a certificate that smtpd_tls_CAfile or smtpd_tls_CApath vouches for.") \
	ROW(permit_auth_destination, permit_auth_destination, "Permits recipients in our own domains.") \
	ROW(reject_unauth_destination, reject_unauth_destination, "Refuses recipients that are not in our own domains: what keeps us from being an open relay.") \
	ROW(defer_unauth_destination, defer_unauth_destination, "The same, for now (454).") \
	ROW(reject_unlisted_recipient, reject_unlisted_recipient, "Refuses recipients of our own domains that do not exist; evaluated last unless smtpd_reject_unlisted_recipient = no.") \
	ROW(check_recipient_maps, reject_unlisted_recipient, "Postfix's older name.") \
	ROW(reject_unlisted_sender, reject_unlisted_sender, "Refuses senders in our own domains that do not exist.") \
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
	ROW(reject_unknown_address, reject_unknown_sender_domain, "Postfix's older name.") \
	ROW(reject_unknown_recipient_domain, reject_unknown_recipient_domain, "Refuses recipients whose domain is not in the DNS, or takes no mail (RFC 7505).") \
	ROW(reject_unknown_client_hostname, reject_unknown_client_hostname, "Refuses clients whose address has no name that leads back to it.") \
	ROW(reject_unknown_client, reject_unknown_client_hostname, "Postfix's older name.") \
	ROW(reject_unknown_reverse_client_hostname, reject_unknown_reverse_client_hostname, "Refuses clients whose address has no name.") \
	ROW(reject_unknown_forward_client_hostname, reject_unknown_client_hostname, "The same as reject_unknown_client_hostname.") \
	ROW(reject_plaintext_session, reject_plaintext_session, "Refuses sessions without TLS.") \
	ROW(reject_unverified_recipient, reject_unverified_recipient, "Refuses recipients that the server that they would go to does not take: it is asked by a probe (address_verify_sender), and the answer remembered.") \
	ROW(reject_unverified_sender, reject_unverified_sender, "The same for senders.") \
	ROW(reject_multi_recipient_bounce, reject_multi_recipient_bounce, "Refuses bounces to more than one recipient.") \
	ROW(check_greylist, check_greylist, "Refuses for now what comes from an unknown client, sender and recipient; see smtpd_greylist_delay.")

#define RESTRICTIONS_ARG(ARG) \
	ARG(reject_sender_login_mismatch, reject_login_mismatch, NONE, EVERYBODY, NONE, "Refuses senders that smtpd_sender_login_maps gives to another login, or to a login of a client that has not logged in.") \
	ARG(reject_authenticated_sender_login_mismatch, reject_login_mismatch, NONE, LOGGED_IN, NONE, "The same for clients that have logged in.") \
	ARG(reject_known_sender_login_mismatch, reject_login_mismatch, NONE, KNOWN_SENDER, NONE, "The same for clients that have logged in, and only where the maps know the sender.") \
	ARG(reject_unauthenticated_sender_login_mismatch, reject_login_mismatch, NONE, NOT_LOGGED_IN, NONE, "The same for clients that have not logged in.") \
	ARG(check_client_access, check_access, TABLE, CLIENT, NONE, "Looks for the client's name, its parent domains, address and networks.") \
	ARG(check_reverse_client_hostname_access, check_access, TABLE, REVERSE_CLIENT, NONE, "Looks for the client's name without asking whether it leads back, and its parent domains.") \
	ARG(check_helo_access, check_access, TABLE, HELO, NONE, "Looks for the HELO name and its parent domains.") \
	ARG(check_sender_access, check_access, TABLE, SENDER, NONE, "Looks for the sender, its domain, parent domains and user@.") \
	ARG(check_recipient_access, check_access, TABLE, RECIPIENT, NONE, "Looks for the recipient, its domain, parent domains and user@.") \
	ARG(check_sasl_access, check_access, TABLE, SASL, NONE, "Looks for the login name.") \
	ARG(check_ccert_access, check_access, TABLE, CCERT, NONE, "Looks for the fingerprint of the client's certificate, and of its key.") \
	ARG(check_client_a_access, check_access, TABLE, CLIENT, A, "Looks for the addresses of the client's name.") \
	ARG(check_client_mx_access, check_access, TABLE, CLIENT, MX, "Looks for the mail exchangers of the client's name.") \
	ARG(check_client_ns_access, check_access, TABLE, CLIENT, NS, "Looks for the name servers of the client's name.") \
	ARG(check_reverse_client_hostname_a_access, check_access, TABLE, REVERSE_CLIENT, A, "Looks for the addresses of the client's unverified name.") \
	ARG(check_reverse_client_hostname_mx_access, check_access, TABLE, REVERSE_CLIENT, MX, "Looks for the mail exchangers of the client's unverified name.") \
	ARG(check_reverse_client_hostname_ns_access, check_access, TABLE, REVERSE_CLIENT, NS, "Looks for the name servers of the client's unverified name.") \
	ARG(check_helo_a_access, check_access, TABLE, HELO, A, "Looks for the addresses of the HELO name.") \
	ARG(check_helo_mx_access, check_access, TABLE, HELO, MX, "Looks for the mail exchangers of the HELO name.") \
	ARG(check_helo_ns_access, check_access, TABLE, HELO, NS, "Looks for the name servers of the HELO name.") \
	ARG(check_sender_a_access, check_access, TABLE, SENDER, A, "Looks for the addresses of the sender's domain.") \
	ARG(check_sender_mx_access, check_access, TABLE, SENDER, MX, "Looks for the mail exchangers of the sender's domain.") \
	ARG(check_sender_ns_access, check_access, TABLE, SENDER, NS, "Looks for the name servers of the sender's domain.") \
	ARG(check_recipient_a_access, check_access, TABLE, RECIPIENT, A, "Looks for the addresses of the recipient's domain.") \
	ARG(check_recipient_mx_access, check_access, TABLE, RECIPIENT, MX, "Looks for the mail exchangers of the recipient's domain.") \
	ARG(check_recipient_ns_access, check_access, TABLE, RECIPIENT, NS, "Looks for the name servers of the recipient's domain.") \
	ARG(reject_rbl_client, reject_dnsbl, SITE, CLIENT, NONE, "Refuses clients whose address stands in a DNS list: domain, domain=filter, domain=filter*weight.") \
	ARG(reject_maps_rbl, reject_dnsbl, SITE, CLIENT, NONE, "Postfix's older name.") \
	ARG(permit_dnswl_client, permit_dnswl, SITE, CLIENT, NONE, "Permits clients whose address stands in a DNS list; where it does not answer, later refusals are for now.") \
	ARG(reject_rhsbl_client, reject_dnsbl, SITE, CLIENT, A, "Refuses clients whose name stands in a DNS list of domains.") \
	ARG(permit_rhswl_client, permit_dnswl, SITE, CLIENT, A, "Permits clients whose name stands in a DNS list of domains.") \
	ARG(reject_rhsbl_reverse_client, reject_dnsbl, SITE, REVERSE_CLIENT, A, "The same for the unverified name.") \
	ARG(reject_rhsbl_helo, reject_dnsbl, SITE, HELO, A, "Refuses HELO names in a DNS list of domains.") \
	ARG(reject_rhsbl_sender, reject_dnsbl, SITE, SENDER, A, "Refuses senders whose domain stands in a DNS list.") \
	ARG(reject_rhsbl_recipient, reject_dnsbl, SITE, RECIPIENT, A, "Refuses recipients whose domain stands in a DNS list.") \
	ARG(check_policy_service, check_policy_service, SERVICE, NONE, NONE, "Asks a policy server: inet:host:port, unix:path, or { that, timeout=10s, default_action=DUNNO, ... }.") \
	ARG(sleep, sleep_for, SECONDS, NONE, NONE, "Waits so many seconds.")

/* Names that Postfix has and that have no effect here.  Without a permit_ nobody gets in who should not: it is named.  Without a
 * reject_ somebody might: it is a fault unless allow_ignored_parameters names it. */
#define RESTRICTIONS_IGNORED(ROW) \
	ROW(permit_mx_backup, "secondary MX for strangers' domains: list the domains in relay_domains") \
	ROW(permit_naked_ip_address, "gone from Postfix too") \
	ROW(check_etrn_access, "there is no ETRN") \
	ROW(permit_inet_interfaces, "use permit_mynetworks")
/* clang-format on */

#endif
