/* Every parameter of the suite: rows without logic (STYLE 3.12).  Names, defaults and meanings are
 * Postfix's wherever the meaning is the same. */
#include "common/config/conf.h"

#define SECONDS_MAX (10 * 365 * 86400LL)
#define BYTES_MAX (1LL << 40)
#define COUNT_MAX 1000000000LL

#define STR(name, def, readers, text) { name, CONF_STR, def, 0, 0, NULL, readers, text }
#define BOOL(name, def, readers, text) { name, CONF_BOOL, def, 0, 0, NULL, readers, text }
#define INT(name, def, min, max, readers, text) { name, CONF_INT, def, min, max, NULL, readers, text }
#define TIME(name, def, min, readers, text) { name, CONF_TIME, def, min, SECONDS_MAX, NULL, readers, text }
#define SIZE(name, def, min, readers, text) { name, CONF_SIZE, def, min, BYTES_MAX, NULL, readers, text }
#define RAW(name, def, readers, text) { name, CONF_RAW, def, 0, 0, NULL, readers, text }
#define LIST(name, def, readers, text) { name, CONF_LIST, def, 0, 0, NULL, readers, text }
#define PATH(name, def, readers, text) { name, CONF_PATH, def, 0, 0, NULL, readers, text }
#define ENUM(name, def, words, readers, text) { name, CONF_ENUM, def, 0, 0, words, readers, text }
#define WORDS(name, def, words, readers, text) { name, CONF_WORDS, def, 0, 0, words, readers, text }
#define DOMAINS(name, def, readers, text) { name, CONF_DOMAINS, def, 0, 0, NULL, readers, text }
#define HOST(name, def, readers, text) { name, CONF_HOST, def, 0, 0, NULL, readers, text }
#define TABLES(name, def, readers, text) { name, CONF_TABLES, def, 0, 0, NULL, readers, text }

/* clang-format off */
static const struct conf_param params[] = {
	/* --- identity and places ------------------------------------------------------------------ */
	HOST("myhostname", "localhost.localdomain", "all", "The name of this mail system, used in greetings, Received: lines and as default of others; the machine's name when not set."),
	HOST("mydomain", "localdomain", "all", "The domain of this mail system; $myhostname without its first label when not set."),
	HOST("myorigin", "$myhostname", "all", "The domain that is added to addresses without one."),
	DOMAINS("mydestination", "$myhostname, localhost.$mydomain, localhost", "authd qmgr", "Domains whose mail is for mailboxes of this machine, beside virtual_mailbox_domains."),
	STR("mail_name", "Estafeta", "all", "The name of the mail system in Received: lines and bounces."),
	STR("syslog_name", "postfix", "all", "The name before the process name in log lines of the mail transfer daemons."),
	STR("mailbox_syslog_name", "dovecot", "all", "The name in log lines of the POP3 and IMAP daemons."),
	PATH("config_directory", "/etc/estafeta", "all", "Where main.cf and master.cf are: set by -c, not in main.cf."),
	PATH("queue_directory", "/var/spool/estafeta", "master qmgr", "The queue: journal, deferred messages, large bodies."),
	PATH("data_directory", "/var/lib/estafeta", "all", "State that is not mail: user database, edges, control sockets."),
	PATH("log_file", "/var/log/estafeta.log", "master log", "The log."),
	ENUM("sandbox", "enforce", "enforce|permissive", "all", "permissive lets a worker run whose cage cannot be closed, and warns at every start."),
	LIST("debug_peer_list", "", "all", "Not empty: debug lines are logged."),

	/* --- network ------------------------------------------------------------------------------- */
	LIST("inet_interfaces", "all", "master relay", "Addresses of listeners that name only a port; also known as our own in loop detection."),
	LIST("proxy_interfaces", "", "relay", "Further addresses under which mail reaches this machine (NAT, proxies)."),
	WORDS("inet_protocols", "all", "all|ipv4|ipv6", "master relay", "Address families to listen on and to connect from."),
	LIST("mynetworks", "127.0.0.0/8 [::1]/128", "smtpd", "Trusted clients: addresses and networks, '!' excludes."),
	LIST("dns_forwarders", "", "dnsd", "Name servers to ask, ADDRESS or ADDRESS@PORT; empty: those of /etc/resolv.conf."),
	STR("dns_trust_anchor_file", "system", "dnsd", "File of DNSSEC trust anchors; system: the system's root key; empty: nothing is validated."),
	TIME("dns_timeout", "10s", 1, "dnsd", "Time for one question, all retries included."),
	INT("dns_max_queries", "5000", 1, COUNT_MAX, "dnsd", "Questions under way at a time."),
	SIZE("dns_cache_size", "32m", 1 << 16, "dnsd", "Memory of the resource record cache."),

	/* --- domains and users ---------------------------------------------------------------------- */
	DOMAINS("virtual_mailbox_domains", "", "authd qmgr", "Domains whose addresses are mailboxes in the user database."),
	TABLES("virtual_alias_maps", "", "authd", "Aliases: address or @domain to one or more addresses, recursively."),
	PATH("virtual_mailbox_base", "/srv/mail", "all", "Beneath it every mailbox: BASE/DOMAIN/LOCAL/Maildir unless the user's record says otherwise."),
	STR("mail_owner", "vmail", "all", "The system user who owns mailboxes whose record names no other."),
	INT("virtual_minimum_uid", "100", 1, COUNT_MAX, "master authd", "No mailbox owner has a lower uid."),
	INT("virtual_maximum_uid", "4294967294", 1, 4294967294LL, "master authd", "No mailbox owner has a higher uid."),
	STR("user_database", "btree:$data_directory/users", "authd", "The user database, written by estafeta user."),
	ENUM("password_scheme", "yescrypt", "yescrypt|bcrypt|sha512-crypt", "authd", "How new passwords are hashed (crypt(5))."),
	INT("password_cost", "0", 0, COUNT_MAX, "authd", "Cost of new hashes, as crypt(5) counts it: 1 to 11 for yescrypt, 4 to 31 for bcrypt, 1000 to 999999999 rounds for sha512-crypt; 0 = the library's default. Each step of the first two doubles the time of every login; a cost of more than 10 seconds a hash is refused."),
	INT("scram_iterations", "4096", 4096, 65536, "authd", "Iteration count of new SCRAM keys (RFC 7677 4)."),
	INT("auth_workers", "2", 1, 64, "authd", "Processes that check passwords."),
	STR("recipient_delimiter", "", "authd", "Characters that separate user from extension in a local part."),
	BOOL("disable_plaintext_auth", "yes", "authd imapd-login pop3d-login", "No PLAIN, LOGIN, USER/PASS without TLS."),

	/* --- TLS ------------------------------------------------------------------------------------- */
	PATH("tls_cert_file", "", "all", "Certificate chain in PEM, leaf first, of every listener that has none of its own."),
	PATH("tls_key_file", "$tls_cert_file", "all", "Its private key, which only keyd reads."),
	PATH("smtpd_tls_cert_file", "$tls_cert_file", "smtpd", "Certificate chain of the SMTP server."),
	PATH("smtpd_tls_key_file", "$tls_key_file", "smtpd", "Private key of the SMTP server."),
	PATH("imap_tls_cert_file", "$tls_cert_file", "imapd-login", "Certificate chain of the IMAP server."),
	PATH("imap_tls_key_file", "$tls_key_file", "imapd-login", "Private key of the IMAP server."),
	PATH("pop3_tls_cert_file", "$tls_cert_file", "pop3d-login", "Certificate chain of the POP3 server."),
	PATH("pop3_tls_key_file", "$tls_key_file", "pop3d-login", "Private key of the POP3 server."),
	STR("tls_high_cipherlist", "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES", "smtpd imapd-login pop3d-login", "Ciphers of our servers up to TLS 1.2 (ciphers(1)); only those with ECDHE are ever used."),
	STR("tls_eecdh_auto_curves", "X25519:prime256v1:secp384r1:secp521r1", "smtpd relay imapd-login pop3d-login", "Curves of the key exchange, best first."),
	BOOL("tls_preempt_cipherlist", "no", "smtpd imapd-login pop3d-login", "Our order of ciphers counts, not the client's."),
	BOOL("tls_wrappermode", "no", "imapd-login pop3d-login", "The listener speaks TLS from the first byte (993, 995)."),

	/* --- SMTP server ------------------------------------------------------------------------------ */
	STR("smtpd_banner", "$myhostname ESMTP $mail_name", "smtpd", "Text after 220."),
	BOOL("smtpd_submission", "no", "smtpd", "The listener is for our users: mail only after AUTH (RFC 6409)."),
	BOOL("smtpd_tls_wrappermode", "no", "smtpd", "The listener speaks TLS from the first byte (465)."),
	ENUM("smtpd_tls_security_level", "${tls_cert_file?{may}:{none}}", "none|may|encrypt", "smtpd", "STARTTLS: not offered, offered, required."),
	BOOL("smtpd_tls_auth_only", "yes", "smtpd", "AUTH is offered only under TLS."),
	BOOL("smtpd_sasl_auth_enable", "$smtpd_submission", "smtpd", "AUTH is offered."),
	WORDS("smtpd_sasl_mechanisms", "PLAIN LOGIN SCRAM-SHA-256", "PLAIN|LOGIN|SCRAM-SHA-256", "smtpd imapd-login pop3d-login", "SASL mechanisms offered, by POP3 and IMAP too."),
	BOOL("smtpd_sasl_authenticated_header", "no", "smtpd", "The Received: line names the login."),
	SIZE("message_size_limit", "50m", 0, "smtpd qmgr imapd", "Largest message; 0 = no limit."),
	INT("smtpd_recipient_limit", "1000", 1, 100000, "smtpd", "Recipients of one message (RFC 5321 4.5.3.1.8 asks for at least 100)."),
	INT("smtpd_hard_error_limit", "${stress?{1}:{20}}", 1, COUNT_MAX, "smtpd", "Errors after which the session ends."),
	INT("smtpd_soft_error_limit", "10", 1, COUNT_MAX, "smtpd", "Errors after which replies are delayed."),
	TIME("smtpd_error_sleep_time", "1s", 0, "smtpd", "That delay."),
	INT("smtpd_junk_command_limit", "${stress?{1}:{100}}", 1, COUNT_MAX, "smtpd", "NOOP, VRFY, RSET and such before they count as errors."),
	INT("smtpd_recipient_overshoot_limit", "1000", 1, COUNT_MAX, "smtpd", "Recipients beyond the limit before they count as errors."),
	TIME("smtpd_timeout", "${stress?{10}:{300}}s", 1, "smtpd", "Time for a client to send a command or data."),
	TIME("smtpd_starttls_timeout", "60s", 1, "smtpd", "Time for a TLS handshake."),
	SIZE("line_length_limit", "2048", 512, "smtpd", "Longest command line."),
	SIZE("smtpd_data_line_limit", "1m", 1000, "smtpd", "Longest line of a message (RFC 5321 4.5.3.1.6 asks for at least 1000)."),
	SIZE("header_size_limit", "102400", 1024, "smtpd", "Longest header field of a message."),
	INT("hopcount_limit", "50", 1, 1000, "smtpd", "Received: lines of a message before it counts as looping."),
	BOOL("smtpd_helo_required", "no", "smtpd", "MAIL is refused before EHLO or HELO."),
	BOOL("smtpd_delay_reject", "yes", "smtpd", "Client, HELO and sender restrictions are answered at RCPT."),
	BOOL("smtpd_peername_lookup", "yes", "smtpd", "Clients' names are looked up."),
	TIME("smtpd_peername_timeout", "3s", 0, "smtpd", "How long MAIL and AUTH wait for that name; afterwards it is \"unknown\"."),
	LIST("smtpd_forbidden_commands", "CONNECT GET POST", "smtpd", "Commands of other protocols: the session ends."),
	INT("smtpd_auth_error_limit", "3", 1, COUNT_MAX, "smtpd", "Failed AUTH commands after which the session ends (RFC 4954 4)."),
	BOOL("disable_vrfy_command", "no", "smtpd", "VRFY is refused."),
	BOOL("strict_rfc821_envelopes", "no", "smtpd", "Addresses in MAIL and RCPT need angle brackets and no more."),
	INT("smtpd_client_connection_count_limit", "50", 0, COUNT_MAX, "smtpd", "Connections of one client at a time to all processes of a service; 0 = no limit."),
	LIST("smtpd_client_event_limit_exceptions", "$mynetworks", "smtpd", "Clients without such limits."),
	INT("smtpd_client_limit", "10000", 1, 19000, "smtpd", "Sessions of one process at a time."),
	LIST("smtpd_client_restrictions", "", "smtpd", "Restrictions at connection."),
	LIST("smtpd_helo_restrictions", "", "smtpd", "Restrictions at EHLO and HELO."),
	LIST("smtpd_sender_restrictions", "", "smtpd", "Restrictions at MAIL FROM."),
	LIST("smtpd_relay_restrictions", "permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination", "smtpd", "Who may send where: evaluated at RCPT TO, before smtpd_recipient_restrictions."),
	LIST("smtpd_recipient_restrictions", "", "smtpd", "Restrictions at RCPT TO."),
	LIST("smtpd_data_restrictions", "", "smtpd", "Restrictions at DATA."),
	LIST("smtpd_end_of_data_restrictions", "", "smtpd", "Restrictions at the end of DATA."),

	/* --- SMTP server: lookup tables and restrictions ------------------------------------------------ */
	LIST("smtpd_restriction_classes", "", "smtpd authd dialer", "Names of parameters that are lists of restrictions, to be used in access tables and in other lists."),
	WORDS("parent_domain_matches_subdomains", "debug_peer_list,fast_flush_domains,mynetworks,permit_mx_backup_networks,qmqpd_authorized_clients,relay_domains,smtpd_access_maps", "debug_peer_list|fast_flush_domains|mynetworks|permit_mx_backup_networks|qmqpd_authorized_clients|relay_domains|smtpd_access_maps", "smtpd", "Where a domain in a table stands for its subdomains too; elsewhere these are written .example.com. smtpd_access_maps is what counts here."),
	STR("smtpd_null_access_lookup_key", "<>", "smtpd", "What the null sender is looked up as in access tables."),
	TABLES("smtpd_sender_login_maps", "", "smtpd authd", "Who may send as this address: sender address, user@ or @domain to login names; see reject_sender_login_mismatch."),
	BOOL("smtpd_reject_unlisted_sender", "no", "smtpd", "Senders of our own domains that do not exist are refused."),
	BOOL("smtpd_reject_unlisted_recipient", "yes", "smtpd", "Recipients of our own domains that do not exist are refused, after all other restrictions."),
	INT("access_map_reject_code", "554", 400, 599, "smtpd", "Reply code of REJECT in access tables."),
	INT("access_map_defer_code", "450", 400, 499, "smtpd", "Reply code of DEFER in access tables."),
	INT("reject_code", "554", 400, 599, "smtpd", "Reply code of reject."),
	INT("defer_code", "450", 400, 499, "smtpd", "Reply code of defer."),
	INT("invalid_hostname_reject_code", "501", 400, 599, "smtpd", "Reply code of reject_invalid_helo_hostname."),
	INT("non_fqdn_reject_code", "504", 400, 599, "smtpd", "Reply code of the reject_non_fqdn restrictions."),
	INT("maps_rbl_reject_code", "554", 400, 599, "smtpd", "Reply code of reject_rbl_client and reject_rhsbl."),
	INT("relay_domains_reject_code", "554", 400, 599, "smtpd", "Reply code of reject_unauth_destination."),
	INT("unknown_address_reject_code", "450", 400, 599, "smtpd", "Reply code of reject_unknown_sender_domain and reject_unknown_recipient_domain."),
	INT("unknown_client_reject_code", "450", 400, 599, "smtpd", "Reply code of reject_unknown_client_hostname."),
	INT("unknown_hostname_reject_code", "450", 400, 599, "smtpd", "Reply code of reject_unknown_helo_hostname."),
	INT("unknown_virtual_mailbox_reject_code", "550", 400, 599, "smtpd", "Reply code for recipients that do not exist."),
	INT("plaintext_reject_code", "450", 400, 599, "smtpd", "Reply code of reject_plaintext_session."),
	INT("multi_recipient_bounce_reject_code", "550", 400, 599, "smtpd", "Reply code of reject_multi_recipient_bounce."),
	ENUM("reject_tempfail_action", "defer_if_permit", "defer_if_permit|defer", "smtpd", "What a reject_unknown restriction does when the DNS does not answer."),
	ENUM("unknown_address_tempfail_action", "$reject_tempfail_action", "defer_if_permit|defer", "smtpd", "The same of reject_unknown_sender_domain and reject_unknown_recipient_domain."),
	ENUM("unknown_helo_hostname_tempfail_action", "$reject_tempfail_action", "defer_if_permit|defer", "smtpd", "The same of reject_unknown_helo_hostname."),
	RAW("default_rbl_reply", "$rbl_code Service unavailable; $rbl_class [$rbl_what] blocked using $rbl_domain${rbl_reason?; $rbl_reason}", "smtpd", "Reply of reject_rbl_client and reject_rhsbl, with these names: rbl_class rbl_code rbl_domain rbl_reason rbl_txt rbl_what client client_address client_name helo_name recipient sender."),
	TABLES("rbl_reply_maps", "", "smtpd authd", "The same by DNS list: its domain to a reply."),
	STR("content_filter", "", "smtpd", "Where all mail goes first, transport:nexthop: a filter that gives it back over SMTP. The listener it comes back to needs -o content_filter=."),
	INT("smtpd_rbl_threshold", "1", 1, COUNT_MAX, "smtpd", "Sum of the weights (domain=filter*weight, 1 when not given) of the lists that name a client or domain at which reject_rbl_client and reject_rhsbl refuse it."),
	TABLES("smtpd_lookup_tables", "", "authd", "The tables that authd looks things up in for smtpd: set by master from the restrictions and tables of all smtpd services, not in main.cf."),

	/* --- SMTP server: extensions, proxies, LMTP ------------------------------------------------------ */

	/* --- SMTP server: limits, rates, greylisting, tests before the greeting -------------------------- */
	STR("stress", "", "smtpd", "\"yes\" where a smtpd process has more sessions than four fifths of smtpd_client_limit; for use in the values of smtpd_timeout, smtpd_hard_error_limit, smtpd_junk_command_limit and smtpd_per_request_deadline: ${stress?{10}:{300}}s."),
	BOOL("smtpd_per_request_deadline", "${stress?{yes}:{no}}", "smtpd", "smtpd_timeout is for a whole command or message, not for each piece of it; content that comes at smtpd_min_data_rate or faster has the time it needs."),
	INT("smtpd_min_data_rate", "500", 1, COUNT_MAX, "smtpd", "Bytes a second, with smtpd_per_request_deadline."),
	TIME("anvil_rate_time_unit", "60s", 1, "smtpd anvil", "The time unit of smtpd_client_*_rate_limit."),
	TIME("anvil_status_update_time", "600s", 1, "anvil", "Time between lines of statistics in the log."),
	INT("smtpd_client_connection_rate_limit", "0", 0, COUNT_MAX, "smtpd", "Connections of one client in anvil_rate_time_unit to all processes of a service; 0 = no limit."),
	INT("smtpd_client_message_rate_limit", "0", 0, COUNT_MAX, "smtpd", "MAIL commands of one client in anvil_rate_time_unit; 0 = no limit."),
	INT("smtpd_client_recipient_rate_limit", "0", 0, COUNT_MAX, "smtpd", "RCPT commands of one client in anvil_rate_time_unit; 0 = no limit."),
	INT("smtpd_client_auth_rate_limit", "0", 0, COUNT_MAX, "smtpd", "AUTH commands of one client in anvil_rate_time_unit; 0 = no limit."),
	INT("smtpd_client_new_tls_session_rate_limit", "0", 0, COUNT_MAX, "smtpd", "TLS handshakes of one client, resumed sessions not counted, in anvil_rate_time_unit; 0 = no limit."),
	INT("smtpd_client_ipv4_prefix_length", "32", 0, 32, "smtpd", "Leading bits of an IPv4 address that make it one client for these limits."),
	INT("smtpd_client_ipv6_prefix_length", "84", 0, 128, "smtpd", "Leading bits of an IPv6 address that make it one client for these limits."),
	TIME("smtpd_sending_rate_time_unit", "1h", 1, "smtpd", "The time unit of smtpd_login_*_rate_limit and smtpd_sender_*_rate_limit."),
	INT("smtpd_login_message_rate_limit", "0", 0, COUNT_MAX, "smtpd", "Messages that one login may send in smtpd_sending_rate_time_unit; 0 = no limit."),
	INT("smtpd_login_recipient_rate_limit", "0", 0, COUNT_MAX, "smtpd", "Recipients that one login may send to in smtpd_sending_rate_time_unit; 0 = no limit."),
	INT("smtpd_sender_message_rate_limit", "0", 0, COUNT_MAX, "smtpd", "Messages from one envelope sender, of logins and of clients in mynetworks, in smtpd_sending_rate_time_unit; 0 = no limit."),
	INT("smtpd_sender_recipient_rate_limit", "0", 0, COUNT_MAX, "smtpd", "Recipients of messages from one such sender in smtpd_sending_rate_time_unit; 0 = no limit."),
	TIME("smtpd_greylist_delay", "300s", 1, "anvil", "check_greylist: time before a sender who is new may come again."),
	TIME("smtpd_greylist_retry_window", "2d", 1, "anvil", "Time in which it must have come again."),
	TIME("smtpd_greylist_max_age", "35d", 1, "anvil", "Time after which one who came again, and was not seen since, is new again."),
	INT("smtpd_greylist_auto_allow", "5", 0, COUNT_MAX, "anvil", "Senders of a client network that came again before the network is let through; 0 = never."),
	INT("smtpd_greylist_ipv4_prefix_length", "24", 0, 32, "smtpd", "Leading bits of an IPv4 address that make a client network for the greylist."),
	BOOL("postscreen_enable", "no", "smtpd", "postscreen(8)'s tests are made of each client; a service of master.cf whose command is postscreen is smtpd with this on."),
	LIST("postscreen_access_list", "permit_mynetworks", "smtpd", "Who is let through or refused before all tests: permit_mynetworks, and tables of client addresses whose values are permit, reject and dunno."),
	ENUM("postscreen_blacklist_action", "ignore", "ignore|enforce|drop", "smtpd", "Older name of postscreen_denylist_action."),
	ENUM("postscreen_denylist_action", "$postscreen_blacklist_action", "ignore|enforce|drop", "smtpd", "What becomes of clients that postscreen_access_list rejects."),
	STR("postscreen_greet_banner", "$smtpd_banner", "smtpd", "First line of the greeting, sent before the wait; empty: none."),
	TIME("postscreen_greet_wait", "${stress?{2}:{6}}s", 0, "smtpd", "Time that a client must wait for the rest of the greeting without a word."),
	ENUM("postscreen_greet_action", "ignore", "ignore|enforce|drop", "smtpd", "What becomes of clients that speak before."),
	TIME("postscreen_greet_ttl", "1d", 1, "smtpd", "Time for which a client has passed that test."),
	LIST("postscreen_dnsbl_sites", "", "smtpd", "DNS lists of client addresses: DOMAIN, DOMAIN=d.d.d.d, DOMAIN*WEIGHT."),
	INT("postscreen_dnsbl_threshold", "1", 1, COUNT_MAX, "smtpd", "Sum of weights from which on a client has failed."),
	ENUM("postscreen_dnsbl_action", "ignore", "ignore|enforce|drop", "smtpd", "What becomes of such clients."),
	INT("postscreen_dnsbl_whitelist_threshold", "0", -COUNT_MAX, 0, "smtpd", "Older name of postscreen_dnsbl_allowlist_threshold."),
	INT("postscreen_dnsbl_allowlist_threshold", "$postscreen_dnsbl_whitelist_threshold", -COUNT_MAX, 0, "smtpd", "Sum of weights, negative, down from which a client is spared the other tests; 0 = none is."),
	TIME("postscreen_dnsbl_timeout", "10s", 1, "smtpd", "Most time for these questions."),
	TIME("postscreen_dnsbl_ttl", "1h", 1, "smtpd", "Older name of postscreen_dnsbl_max_ttl."),
	TIME("postscreen_dnsbl_max_ttl", "$postscreen_dnsbl_ttl", 1, "smtpd", "Time for which a client has passed that test."),
	BOOL("postscreen_pipelining_enable", "no", "smtpd", "Clients are tested for commands sent behind one whose answer they have to wait for."),
	ENUM("postscreen_pipelining_action", "enforce", "ignore|enforce|drop", "smtpd", "What becomes of those that fail."),
	TIME("postscreen_pipelining_ttl", "30d", 1, "smtpd", "Time for which a client has passed that test."),
	BOOL("postscreen_non_smtp_command_enable", "no", "smtpd", "Clients are tested for commands of other protocols, which end the session (smtpd_forbidden_commands)."),
	ENUM("postscreen_non_smtp_command_action", "drop", "ignore|enforce|drop", "smtpd", "As in Postfix; the session has ended in any case."),
	TIME("postscreen_non_smtp_command_ttl", "30d", 1, "smtpd", "Time for which a client has passed that test."),
	BOOL("postscreen_bare_newline_enable", "no", "smtpd", "Clients are tested for lines that end in a bare newline, which end the session."),
	ENUM("postscreen_bare_newline_action", "ignore", "ignore|enforce|drop", "smtpd", "As in Postfix; the session has ended in any case."),
	TIME("postscreen_bare_newline_ttl", "30d", 1, "smtpd", "Time for which a client has passed that test."),
	INT("smtpd_greylist_ipv6_prefix_length", "64", 0, 128, "smtpd", "Leading bits of an IPv6 address that make a client network for the greylist."),

	/* --- SMTP server: milters and policy servers ------------------------------------------------------ */
	TIME("smtpd_policy_service_timeout", "100s", 1, "smtpd", "Time for a policy server to connect to, and to answer."),
	TIME("smtpd_policy_service_max_idle", "300s", 1, "smtpd", "A connection to a policy server ends after this time without a question."),
	TIME("smtpd_policy_service_max_ttl", "1000s", 1, "smtpd", "A connection to a policy server ends after this time."),
	INT("smtpd_policy_service_request_limit", "0", 0, COUNT_MAX, "smtpd", "Questions of one connection to a policy server; 0 = no limit."),
	INT("smtpd_policy_service_try_limit", "2", 1, 100, "smtpd", "How often a question is put to a policy server before its default action counts."),
	TIME("smtpd_policy_service_retry_delay", "1s", 0, "smtpd", "Time between these."),
	STR("smtpd_policy_service_default_action", "451 4.3.5 Server configuration problem", "smtpd", "What counts when a policy server does not answer: an action of access(5)."),
	STR("smtpd_policy_service_policy_context", "", "smtpd", "Sent to the policy server as policy_context."),

	/* --- SMTP server: header and body checks, submission ----------------------------------------------- */
	STR("always_bcc", "", "smtpd", "An address that gets a copy of every message."),
	TABLES("sender_bcc_maps", "", "smtpd authd", "Who gets a copy of what this sender sends: address or @domain to an address."),
	TABLES("recipient_bcc_maps", "", "smtpd authd", "Who gets a copy of what this recipient gets: address or @domain to an address."),

	/* --- queue ------------------------------------------------------------------------------------- */
	SIZE("queue_segment_size", "16m", 1 << 20, "qmgr", "Size of a journal segment."),
	SIZE("queue_minfree", "64m", 0, "qmgr", "Room that must stay free for outcomes before new mail is taken."),
	INT("qmgr_message_active_limit", "20000", 1, COUNT_MAX, "qmgr", "Messages being delivered at a time."),
	INT("qmgr_memfd_limit", "2000", 16, 15000, "qmgr", "Messages whose content is held open."),
	TIME("queue_run_delay", "300s", 1, "qmgr", "Time between scans for deferred mail."),
	TIME("minimal_backoff_time", "300s", 1, "qmgr", "Least time before a deferred message is tried again."),
	TIME("maximal_backoff_time", "4000s", 1, "qmgr", "Most time before a deferred message is tried again."),
	TIME("maximal_queue_lifetime", "5d", 0, "qmgr", "Time after which a message that cannot be delivered is returned."),
	TIME("bounce_queue_lifetime", "5d", 0, "qmgr", "The same for bounces."),
	TIME("delay_warning_time", "0s", 0, "qmgr", "Time after which the sender is told of a delay; 0 = never."),
	SIZE("bounce_size_limit", "50000", 0, "qmgr", "Most bytes of the original message in a bounce."),
	INT("default_destination_concurrency_limit", "20", 1, COUNT_MAX, "qmgr", "Deliveries to one destination at a time."),
	INT("initial_destination_concurrency", "5", 1, COUNT_MAX, "qmgr", "The same at first contact."),
	INT("default_destination_recipient_limit", "50", 1, COUNT_MAX, "qmgr", "Recipients of one delivery."),
	LIST("authorized_mailq_users", "static:anyone", "qmgr", "Local users who may list the queue: names, static:anyone, '!' before one excludes; names are looked up at start. Root always may."),
	LIST("authorized_flush_users", "static:anyone", "qmgr", "Local users who may flush the queue."),
	LIST("authorized_submit_users", "static:anyone", "qmgr", "Local users who may submit mail with sendmail."),
	INT("relay_connections", "2", 1, 6, "qmgr", "Connections to relay processes: one for each, maxproc of relay in master.cf."),
	STR("relayhost", "", "qmgr authd relay", "Where all mail for other domains goes: [HOST]:PORT, or a domain whose MX is asked."),
	STR("double_bounce_sender", "double-bounce", "qmgr", "Sender local part of notices to the postmaster."),

	/* --- SMTP client --------------------------------------------------------------------------------- */
	STR("smtp_helo_name", "$myhostname", "relay", "Name in EHLO."),
	ENUM("smtp_tls_security_level", "may", "none|may|encrypt", "relay", "TLS to other servers: never, when offered, always."),
	INT("smtp_tcp_port", "25", 1, 65535, "relay", "Port of other servers when the nexthop names none."),
	TIME("smtp_connect_timeout", "30s", 1, "relay", "Time for a TCP connection."),
	TIME("smtp_helo_timeout", "300s", 1, "relay", "Time for the greeting and for EHLO."),
	TIME("smtp_starttls_timeout", "300s", 1, "relay", "Time for STARTTLS and the handshake."),
	TIME("smtp_mail_timeout", "300s", 1, "relay", "Time for the answer to MAIL FROM."),
	TIME("smtp_rcpt_timeout", "300s", 1, "relay", "Time for the answer to RCPT TO."),
	TIME("smtp_data_init_timeout", "120s", 1, "relay", "Time for the answer to DATA."),
	TIME("smtp_data_xfer_timeout", "180s", 1, "relay", "Time for the peer to take a block of the message."),
	TIME("smtp_data_done_timeout", "600s", 1, "relay", "Time for the answer to the final dot."),
	TIME("smtp_quit_timeout", "300s", 1, "relay", "Time for the answer to QUIT."),
	INT("smtp_mx_address_limit", "5", 1, 100, "relay", "Addresses tried for one delivery."),
	INT("smtp_mx_session_limit", "2", 1, 100, "relay", "Sessions tried for one delivery."),
	ENUM("smtp_address_preference", "any", "any|ipv4|ipv6", "relay", "Which addresses of hosts of equal preference are tried first; any: by turns."),
	STR("smtp_bind_address", "", "relay", "IPv4 address from which to connect; empty: the system's choice."),
	STR("smtp_bind_address6", "", "relay", "IPv6 address from which to connect; empty: the system's choice."),
	INT("smtp_destination_recipient_limit", "$default_destination_recipient_limit", 1, COUNT_MAX, "relay", "Recipients of one transaction; more are sent in several."),
	TIME("smtp_transaction_time_limit", "2h", 60, "relay", "Time for one transaction in all, however slowly the peer goes on."),
	INT("smtp_connection_limit", "200", 1, 10000, "relay", "Connections of one process at a time."),
	TIME("smtp_connection_cache_time_limit", "2s", 0, "relay", "Time that a connection is kept for the next message."),
	TIME("smtp_connection_reuse_time_limit", "300s", 1, "relay", "Age after which a connection is not used again."),
	SIZE("smtp_line_length_limit", "998", 0, "relay", "Longer lines are broken as Postfix does; 0 = never."),

	/* --- delivery ------------------------------------------------------------------------------------- */
	TIME("max_idle", "100s", 1, "delivery", "An idle delivery process ends after this time."),
	INT("delivery_batch_limit", "100", 1, 1000, "delivery", "Messages that share one flush."),

	/* --- POP3 and IMAP --------------------------------------------------------------------------------- */
	TIME("login_timeout", "180s", 1, "imapd-login pop3d-login", "Time to log in."),
	INT("login_max_attempts", "3", 1, 100, "imapd-login pop3d-login", "Failed logins of one connection."),
	TIME("login_failure_delay", "2s", 0, "imapd-login pop3d-login", "Delay of the answer to a failed login."),
	INT("login_max_bad_commands", "10", 1, 1000, "imapd-login pop3d-login", "Unknown commands before login after which the connection ends."),
	INT("login_client_limit", "10000", 1, 19000, "imapd-login pop3d-login", "Connections of one process at a time."),
	INT("mail_max_userip_connections", "100", 0, COUNT_MAX, "imapd-login pop3d-login", "Connections of one address at a time to one process; 0 = no limit."),
	STR("login_greeting", "$mail_name ready.", "imapd-login pop3d-login", "Text of the greeting."),
	TIME("imap_idle_poll_interval", "30s", 1, "imapd", "How often an idle mailbox is looked at for changes by foreign programs."),
	TIME("imap_idle_notify_interval", "2m", 1, "imapd", "How often an idling client hears that the server is still there."),
	TIME("imap_timeout", "30m", 60, "imapd", "Inactivity after which a session ends (RFC 3501 5.4: at least 30 minutes)."),
	TIME("pop3_timeout", "10m", 60, "pop3d", "Inactivity after which a session ends (RFC 1939 3: at least 10 minutes)."),
	BOOL("pop3_mark_seen", "no", "pop3d", "Mail retrieved over POP3 is marked as seen."),
	TIME("mailbox_process_linger", "5s", 0, "imapd pop3d", "How long an account's process waits for the next login."),
	INT("mailbox_max_sessions", "50", 1, 10000, "imapd pop3d", "Sessions of one account at a time."),
	INT("imap_max_bad_commands", "20", 1, 1000, "imapd", "Bad commands in a row after which the session ends."),
	SIZE("imap_max_line_length", "64k", 1024, "imapd", "Longest command line without its literals."),
	SIZE("imap_max_literal", "1m", 1024, "imapd", "Largest literal but for APPEND, which message_size_limit bounds."),
	SIZE("index_map_size", "1g", 1 << 20, "imapd pop3d", "Address space of one account's index."),
	INT("index_changes_kept", "10000", 100, COUNT_MAX, "imapd pop3d", "Expunges that a mailbox remembers for resynchronizing clients."),
};
/* clang-format on */

const struct conf_param *
conf_params(size_t *count)
{
	*count = sizeof params / sizeof params[0];
	return params;
}
