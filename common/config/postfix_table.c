/* Postfix's parameters (3.7 and its neighbours) that this suite does not have: rows without logic.  One that is built moves to
 * param_table.c: its word or line here goes. */
#include "common/config/postfix.h"

/* clang-format off */
static const struct postfix_group groups[] = {
	{ POSTFIX_MOOT, "Postfix's own processes and sockets, which are others here",
	    "bounce_service_name connection_cache_service_name defer_service_name dnsblog_service_name\n"
	    "error_service_name flush_service_name pickup_service_name postlog_service_name proxymap_service_name\n"
	    "proxywrite_service_name queue_service_name rewrite_service_name showq_service_name\n"
	    "smtpd_service_name tlsmgr_service_name tlsproxy_service_name trace_service_name\n"
	    "address_verify_service_name process_id process_id_directory process_name service_name\n"
	    "application_event_drain_time daemon_timeout fork_attempts fork_delay in_flow_delay ipc_idle\n"
	    "ipc_timeout ipc_ttl max_use service_throttle_time trigger_timeout transport_retry_time\n"
	    "qmgr_clog_warn_time qmgr_daemon_timeout qmgr_fudge_factor qmgr_ipc_timeout\n"
	    "qmgr_message_recipient_limit qmgr_message_recipient_minimum default_delivery_slot_cost\n"
	    "default_delivery_slot_discount default_delivery_slot_loan default_extra_recipient_limit\n"
	    "default_minimum_delivery_slots default_recipient_limit default_recipient_refill_delay\n"
	    "default_recipient_refill_limit import_environment export_environment multi_instance_directories\n"
	    "multi_instance_enable multi_instance_group multi_instance_name multi_instance_wrapper\n"
	    "postmulti_control_commands postmulti_start_commands postmulti_stop_commands\n"
	    "postlogd_watchdog_timeout daemon_table_open_error_is_fatal authorized_verp_clients\n"
	    "smtpd_authorized_verp_clients\n"
	    "cleanup_service_name = cleanup\n"
	    "default_process_limit = 100\n" },
	{ POSTFIX_MOOT, "where Postfix is installed, which this suite is not",
	    "alternate_config_directories command_directory daemon_directory html_directory mailq_path\n"
	    "manpage_directory meta_directory newaliases_path openssl_path readme_directory sample_directory\n"
	    "sendmail_path setgid_group shlib_directory mail_release_date mail_version known_tcp_ports\n"
	    "default_privs\n"
	    "mail_owner = postfix\n"
	    "default_database_type = hash\n" },
	{ POSTFIX_MOOT, "Postfix's debugging",
	    "debugger_command debug_peer_level destination_concurrency_feedback_debug dnsblog_reply_delay\n"
	    "dont_remove fault_injection_code helpful_warnings\n" },
	{ POSTFIX_MOOT, "mailboxes are Maildirs of the user database, without locks, and no comsat is told",
	    "biff deliver_lock_attempts deliver_lock_delay mail_spool_directory mailbox_delivery_lock\n"
	    "require_home_directory stale_lock_time strict_mailbox_ownership sun_mailtool_compatibility\n"
	    "virtual_mailbox_lock frozen_delivered_to\n" },
	{ POSTFIX_MOOT, "mail is never handed to commands or files, and there is no .forward",
	    "allow_mail_to_commands allow_mail_to_files command_execution_directory command_expansion_filter\n"
	    "execution_directory_expansion_filter forward_expansion_filter forward_path local_command_shell\n"
	    "prepend_delivered_header\n"
	    "command_time_limit = 1000s\n" },
	{ POSTFIX_MOOT, "tables are read by the programs that need them, and built by estafeta map",
	    "berkeley_db_create_buffer_size berkeley_db_read_buffer_size lmdb_map_size proxy_read_maps\n"
	    "proxy_write_maps\n" },
	{ POSTFIX_MOOT, "the queue is of another form here",
	    "hash_queue_depth hash_queue_names enable_long_queue_ids queue_file_attribute_count_limit\n"
	    "fast_flush_purge_time fast_flush_refresh_time backwards_bounce_logfile_compatibility\n"
	    "duplicate_filter_limit\n"
	    "fast_flush_domains = $relay_domains\n" },
	{ POSTFIX_MOOT, "TLS sessions, random numbers and keys are looked after without it",
	    "smtp_tls_session_cache_database smtp_tls_session_cache_timeout smtpd_tls_session_cache_database\n"
	    "smtpd_tls_always_issue_session_ids lmtp_tls_session_cache_database\n"
	    "lmtp_tls_session_cache_timeout tls_daemon_random_bytes tls_random_bytes tls_random_exchange_name\n"
	    "tls_random_prng_update_period tls_random_reseed_period tls_random_source tls_session_ticket_cipher\n"
	    "tls_fast_shutdown_enable smtp_tls_connection_reuse smtpd_tls_dh1024_param_file\n"
	    "smtpd_tls_dh512_param_file smtpd_tls_eecdh_grade tls_eecdh_strong_curve tls_eecdh_ultra_curve\n"
	    "tls_ffdhe_auto_groups tlsproxy_client_CAfile tlsproxy_client_CApath tlsproxy_client_cert_file\n"
	    "tlsproxy_client_chain_files tlsproxy_client_dcert_file tlsproxy_client_dkey_file\n"
	    "tlsproxy_client_eccert_file tlsproxy_client_eckey_file tlsproxy_client_enforce_tls\n"
	    "tlsproxy_client_fingerprint_digest tlsproxy_client_key_file tlsproxy_client_level\n"
	    "tlsproxy_client_loglevel tlsproxy_client_loglevel_parameter tlsproxy_client_per_site\n"
	    "tlsproxy_client_policy tlsproxy_client_policy_maps tlsproxy_client_scert_verifydepth\n"
	    "tlsproxy_client_security_level tlsproxy_client_use_tls tlsproxy_enforce_tls tlsproxy_tls_CAfile\n"
	    "tlsproxy_tls_CApath tlsproxy_tls_always_issue_session_ids tlsproxy_tls_ask_ccert\n"
	    "tlsproxy_tls_ccert_verifydepth tlsproxy_tls_cert_file tlsproxy_tls_chain_files tlsproxy_tls_ciphers\n"
	    "tlsproxy_tls_dcert_file tlsproxy_tls_dh1024_param_file tlsproxy_tls_dh512_param_file\n"
	    "tlsproxy_tls_dkey_file tlsproxy_tls_eccert_file tlsproxy_tls_eckey_file tlsproxy_tls_eecdh_grade\n"
	    "tlsproxy_tls_exclude_ciphers tlsproxy_tls_fingerprint_digest tlsproxy_tls_key_file\n"
	    "tlsproxy_tls_loglevel tlsproxy_tls_mandatory_ciphers tlsproxy_tls_mandatory_exclude_ciphers\n"
	    "tlsproxy_tls_mandatory_protocols tlsproxy_tls_protocols tlsproxy_tls_req_ccert\n"
	    "tlsproxy_tls_security_level tlsproxy_use_tls tlsproxy_watchdog_timeout\n" },
	{ POSTFIX_MOOT, "only ECDHE with AES or ChaCha20, TLS 1.2 and 1.3, is ever used",
	    "tls_export_cipherlist\n"
	    "tls_low_cipherlist tls_null_cipherlist tls_disable_workarounds\n" },
	{ POSTFIX_MOOT, "certificates of other servers are checked against smtp_tls_CAfile, or signed TLSA records of the strongest digest",
	    "smtp_tls_CApath smtp_tls_block_early_mail_reply smtp_tls_dane_insecure_mx_policy\n"
	    "smtp_tls_enforce_peername\n"
	    "smtp_tls_force_insecure_host_tlsa_lookup smtp_tls_note_starttls_offer smtp_tls_scert_verifydepth\n"
	    "tls_append_default_CA tls_dane_digest_agility tls_dane_digests tls_dane_trust_anchor_digest_enable\n"
	    "tls_wildcard_matches_multiple_labels dnssec_probe\n" },
	{ POSTFIX_MOOT, "authd is the SASL server: accounts are those of estafeta user",
	    "smtpd_sasl_type smtpd_sasl_path smtpd_sasl_service smtpd_sasl_response_limit\n"
	    "smtpd_sasl_application_name cyrus_sasl_config_path send_cyrus_sasl_authzid\n" },
	{ POSTFIX_MOOT, "there is no LMTP client",
	    "lmtp_address_preference lmtp_address_verify_target lmtp_assume_final lmtp_balance_inet_protocols\n"
	    "lmtp_body_checks\n"
	    "lmtp_cache_connection lmtp_cname_overrides_servername lmtp_connect_timeout\n"
	    "lmtp_connection_cache_destinations lmtp_connection_cache_on_demand lmtp_connection_cache_time_limit\n"
	    "lmtp_connection_reuse_count_limit lmtp_connection_reuse_time_limit lmtp_data_done_timeout\n"
	    "lmtp_data_init_timeout lmtp_data_xfer_timeout lmtp_defer_if_no_mx_address_found\n"
	    "lmtp_delivery_status_filter lmtp_discard_lhlo_keyword_address_maps\n"
	    "lmtp_dns_reply_filter lmtp_dns_resolver_options lmtp_dns_support_level lmtp_enforce_tls\n"
	    "lmtp_fallback_relay lmtp_header_checks lmtp_host_lookup lmtp_lhlo_name\n"
	    "lmtp_lhlo_timeout lmtp_line_length_limit lmtp_mail_timeout lmtp_mime_header_checks\n"
	    "lmtp_min_data_rate lmtp_mx_address_limit lmtp_mx_session_limit lmtp_nested_header_checks\n"
	    "lmtp_per_record_deadline lmtp_per_request_deadline lmtp_pix_workaround_delay_time\n"
	    "lmtp_pix_workaround_maps lmtp_pix_workaround_threshold_time lmtp_pix_workarounds lmtp_quit_timeout\n"
	    "lmtp_quote_rfc821_envelope lmtp_randomize_addresses lmtp_rcpt_timeout lmtp_reply_filter\n"
	    "lmtp_rset_timeout lmtp_sasl_auth_cache_name lmtp_sasl_auth_cache_time lmtp_sasl_auth_enable\n"
	    "lmtp_sasl_auth_soft_bounce lmtp_sasl_mechanism_filter lmtp_sasl_password_maps lmtp_sasl_path\n"
	    "lmtp_sasl_security_options lmtp_sasl_tls_security_options lmtp_sasl_tls_verified_security_options\n"
	    "lmtp_sasl_type lmtp_send_dummy_mail_auth\n"
	    "lmtp_sender_dependent_authentication lmtp_skip_5xx_greeting lmtp_skip_quit_response\n"
	    "lmtp_starttls_timeout lmtp_tls_CAfile lmtp_tls_CApath lmtp_tls_block_early_mail_reply\n"
	    "lmtp_tls_cert_file lmtp_tls_chain_files lmtp_tls_ciphers lmtp_tls_connection_reuse\n"
	    "lmtp_tls_dcert_file lmtp_tls_dkey_file lmtp_tls_eccert_file lmtp_tls_eckey_file\n"
	    "lmtp_tls_enforce_peername lmtp_tls_exclude_ciphers lmtp_tls_fingerprint_cert_match\n"
	    "lmtp_tls_fingerprint_digest lmtp_tls_force_insecure_host_tlsa_lookup lmtp_tls_key_file\n"
	    "lmtp_tls_loglevel lmtp_tls_mandatory_ciphers lmtp_tls_mandatory_exclude_ciphers\n"
	    "lmtp_tls_mandatory_protocols lmtp_tls_note_starttls_offer lmtp_tls_per_site lmtp_tls_policy_maps\n"
	    "lmtp_tls_protocols lmtp_tls_scert_verifydepth lmtp_tls_secure_cert_match lmtp_tls_security_level\n"
	    "lmtp_tls_servername lmtp_tls_trust_anchor_file lmtp_tls_verify_cert_match lmtp_tls_wrappermode\n"
	    "lmtp_use_tls lmtp_xforward_timeout\n" },
	{ POSTFIX_MOOT, "there is no QMQP server",
	    "qmqpd_authorized_clients qmqpd_client_port_logging qmqpd_error_delay qmqpd_timeout\n" },
	{ POSTFIX_MOOT, "connections to other servers are kept without it",
	    "connection_cache_protocol_timeout connection_cache_status_update_time connection_cache_ttl_limit\n"
	    "smtp_connection_cache_destinations smtp_connection_cache_on_demand smtp_connection_reuse_count_limit\n"
	    "smtp_rset_timeout smtp_skip_quit_response\n" },
	{ POSTFIX_MOOT, "a work-around for programs or systems that are long gone",
	    "smtp_pix_workaround_delay_time smtp_pix_workaround_maps smtp_pix_workaround_threshold_time\n"
	    "smtp_pix_workarounds smtp_always_send_ehlo smtp_never_send_ehlo smtp_skip_5xx_greeting\n"
	    "smtp_skip_4xx_greeting smtp_quote_rfc821_envelope smtp_send_dummy_mail_auth tcp_windowsize\n"
	    "enable_idna2003_compatibility sendmail_fix_line_endings smtpd_history_flush_threshold\n"
	    "smtpd_delay_open_until_valid_rcpt dns_ncache_ttl_fix_enable\n" },
	{ POSTFIX_MOOT, "a name that counts only where master.cf mentions it",
	    "mua_client_restrictions mua_helo_restrictions mua_sender_restrictions mua_relay_restrictions\n"
	    "mua_recipient_restrictions mua_data_restrictions\n" },
	{ POSTFIX_MOOT, "postscreen's processes and its client's view are smtpd's own here",
	    "postscreen_allowlist_interfaces postscreen_whitelist_interfaces postscreen_cache_cleanup_interval\n"
	    "postscreen_cache_map postscreen_cache_retention_time postscreen_client_connection_count_limit\n"
	    "postscreen_command_count_limit postscreen_command_filter postscreen_command_time_limit\n"
	    "postscreen_disable_vrfy_command postscreen_discard_ehlo_keyword_address_maps\n"
	    "postscreen_discard_ehlo_keywords postscreen_dnsbl_min_ttl postscreen_enforce_tls\n"
	    "postscreen_expansion_filter postscreen_forbidden_commands postscreen_helo_required\n"
	    "postscreen_post_queue_limit postscreen_pre_queue_limit postscreen_reject_footer\n"
	    "postscreen_reject_footer_maps postscreen_tls_security_level postscreen_upstream_proxy_protocol\n"
	    "postscreen_upstream_proxy_timeout postscreen_use_tls postscreen_watchdog_timeout\n" },
	{ POSTFIX_IGNORED, "the defaults are those of level 3.6",
	    "compatibility_level = 3.6 | 2 | 3 | 3.0 | 3.1 | 3.2 | 3.3 | 3.4 | 3.5 | 3.7 | 3.8 | 3.9 | 3.10 | 9999\n" },
	{ POSTFIX_IGNORED, "TLS 1.2 and 1.3 are used, always",
	    "tls_ssl_options\n"
	    "tls_config_file = default\n"
	    "tls_config_name\n"
	    "tls_legacy_public_key_fingerprints = no\n" },
	{ POSTFIX_IGNORED, "each TLS session is logged in one line",
	    "smtp_tls_loglevel = 0 | 1\n" },
	{ POSTFIX_IGNORED, "TLS is offered where there is a certificate, and used where it is offered; smtp_tls_security_level and smtpd_tls_security_level say otherwise",
	    "smtp_use_tls = yes\n" },
	{ POSTFIX_IGNORED, "no client certificate is sent",
	    "smtp_tls_cert_file\n"
	    "smtp_tls_chain_files\n"
	    "smtp_tls_key_file = $smtp_tls_cert_file\n"
	    "smtp_tls_dcert_file\n"
	    "smtp_tls_dkey_file = $smtp_tls_dcert_file\n"
	    "smtp_tls_eccert_file\n"
	    "smtp_tls_eckey_file = $smtp_tls_eccert_file\n" },
	{ POSTFIX_IGNORED, "DSA is gone from TLS: RSA and ECDSA certificates are used",
	    "smtpd_tls_dcert_file\n"
	    "smtpd_tls_dkey_file = $smtpd_tls_dcert_file\n" },
	{ POSTFIX_IGNORED, "the Received: line is always made in one way",
	    "smtpd_client_port_logging = no\n" },
	{ POSTFIX_IGNORED, "mailboxes are the accounts of estafeta user: add each address with it (docs/from-postfix.md)",
	    "virtual_mailbox_maps\n"
	    "local_recipient_maps = proxy:unix:passwd.byname $alias_maps\n"
	    "virtual_uid_maps\n"
	    "virtual_gid_maps\n"
	    "home_mailbox = Maildir/\n"
	    "mailbox_command\n"
	    "mailbox_command_maps\n" },
	{ POSTFIX_IGNORED, "there are no quotas",
	    "mailbox_size_limit = 51200000 | 0\n"
	    "virtual_mailbox_limit = 51200000 | 0\n"
	    "virtual_mailbox_limit_maps\n"
	    "virtual_mailbox_limit_override\n"
	    "virtual_mailbox_limit_inbox\n"
	    "virtual_create_maildirsize\n"
	    "virtual_maildir_extended\n"
	    "virtual_maildir_limit_message\n"
	    "virtual_overquota_bounce\n"
	    "virtual_trash_count\n"
	    "virtual_trash_name\n" },
	{ POSTFIX_IGNORED, "the postmaster is told of bounces and delays, not of sessions that failed: see the log",
	    "error_notice_recipient = postmaster\n" },
	{ POSTFIX_IGNORED, "bounces have the form that is built in",
	    "disable_verp_bounces = no\n"
	    "default_verp_delimiters = +=\n"
	    "verp_delimiter_filter = -=+\n"
	    "enable_threaded_bounces = no\n"
	    "empty_address_recipient = MAILER-DAEMON\n" },
	{ POSTFIX_IGNORED, "probes go the way of mail, from one sender, and end behind RCPT TO",
	    "address_verify_default_transport = $default_transport\n"
	    "address_verify_local_transport = $local_transport\n"
	    "address_verify_relay_transport = $relay_transport\n"
	    "address_verify_relayhost = $relayhost\n"
	    "address_verify_sender_dependent_default_transport_maps = $sender_dependent_default_transport_maps\n"
	    "address_verify_sender_dependent_relayhost_maps = $sender_dependent_relayhost_maps\n"
	    "address_verify_sender_ttl = 0s\n"
	    "address_verify_transport_maps = $transport_maps\n"
	    "address_verify_virtual_transport = $virtual_transport\n"
	    "smtp_address_verify_target = rcpt\n" },
	{ POSTFIX_IGNORED, "the reply's code and text are built in",
	    "unknown_local_recipient_reject_code = 550\n"
	    "unknown_relay_recipient_reject_code = 550\n"
	    "unknown_virtual_alias_reject_code = 550\n"
	    "show_user_unknown_table_name = yes\n"
	    "smtpd_reject_footer\n"
	    "smtpd_reject_footer_maps\n"
	    "smtpd_forbid_bare_newline_reject_code = 550\n"
	    "smtpd_expansion_filter\n" },
	{ POSTFIX_IGNORED, "smtpd does not do it",
	    "smtpd_command_filter\n"
	    "smtpd_discard_ehlo_keyword_address_maps\n"
	    "smtpd_dns_reply_filter\n"
	    "smtpd_etrn_restrictions\n"
	    "smtpd_forbid_unauth_pipelining = no\n"
	    "smtpd_log_access_permit_actions\n"
	    "smtpd_milter_maps\n"
	    "smtpd_noop_commands\n"
	    "smtpd_sasl_exceptions_networks\n"
	    "smtpd_client_connection_limit_exceptions\n"
	    "smtpd_per_record_deadline\n"
	    "smtpd_relay_before_recipient_restrictions = ${{$compatibility_level} <level {3.6} ? {no} : {yes}} | yes\n"
	    "maps_rbl_domains\n"
	    "permit_mx_backup_networks\n"
	    "respectful_logging = ${{$compatibility_level} <level {3.6} ? {no} : {yes}} | yes\n"
	    "postscreen_dnsbl_reply_map\n"
	    "strict_smtputf8 = no\n"
	    "smtputf8_autodetect_classes = sendmail, verify\n" },
	{ POSTFIX_IGNORED, "logins are user@domain, by the mechanisms of smtpd_sasl_mechanisms, with passwords only under TLS",
	    "broken_sasl_auth_clients = no\n"
	    "smtpd_sasl_local_domain = | $mydomain | $myhostname\n"
	    "smtpd_sasl_mechanism_filter = !external, static:rest\n"
	    "smtpd_sasl_security_options = noanonymous | noanonymous, noplaintext\n"
	    "smtpd_sasl_tls_security_options = $smtpd_sasl_security_options | noanonymous\n" },
	{ POSTFIX_IGNORED, "addresses and headers are left as they came, but for what an address without a domain needs",
	    "allow_min_user = no\n"
	    "allow_percent_hack = yes\n"
	    "allow_untrusted_routing = no\n"
	    "detect_8bit_encoding_header = yes\n"
	    "disable_mime_input_processing = no\n"
	    "force_mime_input_conversion = no\n"
	    "enable_original_recipient = yes\n"
	    "header_address_token_limit = 10240\n"
	    "header_from_format = standard\n"
	    "info_log_address_format = external\n"
	    "message_reject_characters\n"
	    "message_strip_characters\n"
	    "mime_boundary_length_limit = 2048\n"
	    "resolve_dequoted_address = yes\n"
	    "resolve_null_domain = no\n"
	    "resolve_numeric_domain = no\n"
	    "strict_7bit_headers = no\n"
	    "strict_8bitmime = no\n"
	    "strict_8bitmime_body = no\n"
	    "strict_mime_encoding_domain = no\n"
	    "swap_bangpath = yes\n"
	    "undisclosed_recipients_header\n"
	    "cleanup_replace_stray_cr_lf = yes\n"
	    "relocated_maps\n"
	    "virtual_alias_address_length_limit = 1000\n"
	    "virtual_alias_expansion_limit = 1000\n"
	    "virtual_alias_recursion_limit = 1000\n"
	    "virtual_maps\n"
	    "empty_address_local_login_sender_maps_lookup_key = <>\n" },
	{ POSTFIX_IGNORED, "mail that the filter gives back is treated as any other",
	    "receive_override_options\n"
	    "internal_mail_filter_classes\n"
	    "default_filter_nexthop\n"
	    "smtpd_proxy_ehlo = $myhostname\n"
	    "smtpd_proxy_options\n"
	    "smtpd_proxy_timeout = 100s\n"
	    "milter_header_checks\n" },
	{ POSTFIX_IGNORED, "the log is log_file",
	    "maillog_file\n"
	    "maillog_file_compressor = gzip\n"
	    "maillog_file_prefixes = /var, /dev/stdout\n"
	    "maillog_file_rotate_suffix = %Y%m%d-%H%M%S\n"
	    "maillog_file_permissions = 0600\n"
	    "syslog_facility = mail\n"
	    "delay_logging_resolution_limit = 2\n" },
	{ POSTFIX_IGNORED, "the SMTP client does not do it",
	    "disable_dns_lookups = no\n"
	    "ignore_mx_lookup_error = no\n"
	    "best_mx_transport\n"
	    "smtp_body_checks\n"
	    "smtp_cname_overrides_servername = no\n"
	    "smtp_defer_if_no_mx_address_found = no\n"
	    "smtp_delivery_status_filter = $default_delivery_status_filter\n"
	    "default_delivery_status_filter\n"
	    "local_delivery_status_filter = $default_delivery_status_filter\n"
	    "pipe_delivery_status_filter = $default_delivery_status_filter\n"
	    "virtual_delivery_status_filter = $default_delivery_status_filter\n"
	    "smtp_discard_ehlo_keyword_address_maps\n"
	    "smtp_dns_reply_filter\n"
	    "smtp_dns_resolver_options\n"
	    "smtp_dns_support_level = | dnssec\n"
	    "smtp_fallback_relay = $fallback_relay\n"
	    "fallback_relay\n"
	    "smtp_header_checks\n"
	    "smtp_host_lookup = dns\n"
	    "smtp_mime_header_checks\n"
	    "smtp_min_data_rate = 500\n"
	    "smtp_nested_header_checks\n"
	    "smtp_per_record_deadline\n"
	    "smtp_per_request_deadline = no | ${smtp_per_record_deadline?{$smtp_per_record_deadline}:{no}}\n"
	    "smtp_randomize_addresses = yes\n"
	    "smtp_reply_filter\n"
	    "smtp_tlsrpt_enable = no\n"
	    "smtp_tlsrpt_socket_name\n"
	    "smtp_tlsrpt_skip_reused_handshakes = yes\n"
	    "smtp_tls_enforce_sts_mx_patterns = yes\n"
	    "tls_required_enable = yes\n"
	    "use_srv_lookup\n"
	    "allow_srv_lookup_fallback = no\n"
	    "ignore_srv_lookup_error = no\n"
	    "default_transport_rate_delay = 0s\n" },
	{ POSTFIX_IGNORED, "logins are USER:PASSWORD, by mechanisms that are built in; TLS is one whether verified or not; refusals are not remembered",
	    "smtp_sasl_auth_cache_name\n"
	    "smtp_sasl_auth_cache_time = 90d\n"
	    "smtp_sasl_path\n"
	    "smtp_sasl_tls_verified_security_options = $smtp_sasl_tls_security_options\n"
	    "smtp_sasl_type = cyrus\n"
	    "smtp_sasl_password_result_delimiter = :\n" },
	{ POSTFIX_NEEDED, "without it mail goes to its MX or to relayhost, or stays here, whatever the table or transport says",
	    "local_transport = local:$myhostname | local\n"
	    "mailbox_transport\n"
	    "mailbox_transport_maps\n"
	    "fallback_transport\n"
	    "fallback_transport_maps\n" },
	{ POSTFIX_NEEDED, "without it mail goes out that was to wait",
	    "defer_transports\n" },
	{ POSTFIX_NEEDED, "without it mail for these domains is refused",
	    "virtual_alias_domains = $virtual_alias_maps\n" },
	{ POSTFIX_NEEDED, "without it mail for these recipients is refused; virtual_alias_maps and estafeta user take its place",
	    "luser_relay\n" },
	{ POSTFIX_NEEDED, "without it mail is let through that a filter was to see, or to sign",
	    "smtpd_proxy_filter\n"
	    "non_smtpd_milters\n" },
	{ POSTFIX_NEEDED, "without it mail goes out over connections that this policy forbids",
	    "smtp_tls_trust_anchor_file\n"
	    "smtp_tls_per_site\n"
	    "smtp_enforce_tls = no\n" },
	{ POSTFIX_NEEDED, "without it local users may send as anybody",
	    "local_login_sender_maps = static:*\n" },
	{ POSTFIX_NEEDED, "without it clients are let in that this forbids",
	    "master_service_disable\n" },
	{ POSTFIX_NEEDED, "only what mynetworks lists is trusted; set that",
	    "mynetworks_style = host | ${{$compatibility_level} <level {2} ? {subnet} : {host}}\n" },
};

/* What each transport has: TRANSPORT_destination_rate_delay. */
static const struct postfix_group families[] = {
	{ POSTFIX_MOOT, "the queue's scheduler is another here",
	    "_delivery_slot_cost _delivery_slot_discount _delivery_slot_loan _minimum_delivery_slots\n"
	    "_extra_recipient_limit _recipient_limit _recipient_refill_delay _recipient_refill_limit\n" },
	{ POSTFIX_IGNORED, "only the limits of smtp and lmtp count, and two of virtual",
	    "_destination_concurrency_limit\n"
	    "_destination_concurrency_failed_cohort_limit\n"
	    "_destination_concurrency_negative_feedback\n"
	    "_destination_concurrency_positive_feedback\n"
	    "_destination_rate_delay = 0s\n"
	    "_destination_recipient_limit\n"
	    "_initial_destination_concurrency\n"
	    "_transport_rate_delay = 0s\n" },
	{ POSTFIX_IGNORED, "there are no services that run commands",
	    "_time_limit\n" },
};
/* clang-format on */

const struct postfix_group *
postfix_groups(size_t *count)
{
	*count = sizeof groups / sizeof groups[0];
	return groups;
}

const struct postfix_group *
postfix_families(size_t *count)
{
	*count = sizeof families / sizeof families[0];
	return families;
}
