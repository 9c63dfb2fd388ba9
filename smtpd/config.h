/* config.h - the parameters of this service, read once into a struct of our own (STYLE 3.12). */
#ifndef SMTPD_CONFIG_H
#define SMTPD_CONFIG_H

#include "common/config/conf.h"
#include "common/net/addr.h"
#include "common/net/tls.h"
#include "smtpd/bcc.h"
#include "smtpd/checks.h"
#include "smtpd/ext_config.h"
#include "smtpd/header_rewrite.h"
#include "smtpd/milter_config.h"
#include "smtpd/rate.h"
#include "smtpd/restrict.h"
#include "smtpd/screen.h"

enum smtpd_tls_level { SMTPD_TLS_NONE, SMTPD_TLS_MAY, SMTPD_TLS_ENCRYPT };

/* What depends on $stress. */
struct smtpd_patience {
	unsigned hard_errors, junk_limit;
	int64_t timeout_ms, greet_wait_ms, verify_wait_ms;
	bool has_deadline; /* smtpd_per_request_deadline */
};

struct smtpd_config {
	const struct conf *conf; /* borrowed for the process's life, as are the strings */
	char *probe_sender; /* owned; "" = <> */
	const char *myhostname, *myorigin, *mail_name, *banner, *content_filter;
	bool is_submission, is_wrapper, is_soft; /* is_soft: soft_bounce */
	enum smtpd_tls_level tls_level;
	struct tls_server_setup tls;
	bool has_certificate, tls_received_header, tls_is_logged;
	const char *fingerprint_digest;
	bool tls_auth_only, has_auth, names_login, hides_clients;
	const char *mechanisms;
	uint64_t message_size_limit; /* 0: none */
	size_t recipient_limit, recipient_overshoot_limit;
	struct smtpd_patience patience, stressed;
	unsigned soft_errors, auth_errors, min_data_rate;
	int64_t error_sleep_ms, starttls_timeout_ms, name_timeout_ms;
	size_t line_limit, data_line_limit, header_limit;
	unsigned hop_limit;
	bool requires_helo, delays_reject, looks_up_names, has_vrfy, is_strict;
	const char *forbidden_commands;
	size_t client_limit, per_client_limit;
	struct net_list mynetworks, limit_exceptions;
	struct restrict_env *restrict_env; /* owned */
	struct bcc_config bcc;
	struct checks_config checks;
	struct rewrite_config rewrite;
	struct rate_config rate;
	struct screen_config screen;
	struct restrict_list restrictions[RESTRICT_LISTS];
	struct milter_config milters;
	struct smtpd_ext_config ext;
};

/* -1: ERR_SYNTAX, naming the parameter. */
int smtpd_config_read(struct smtpd_config *c, const struct conf *conf, struct err *err);
/* The parameter that a list of restrictions comes from. */
const char *smtpd_restriction_param(enum restrict_list_id id);
void smtpd_config_clear(struct smtpd_config *c);

#endif
