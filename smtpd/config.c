#include "smtpd/config.h"
#include "common/base/mem.h"
#include "common/config/own_sender.h"
#include "common/log/log.h"
#include "smtpd/restrict_table.h"

#include <stdlib.h>

enum { VERIFY_WAIT_MAX_MS = 60 * 1000 };

/* clang-format off */
static const char *const list_names[RESTRICT_LISTS] = {
	[RESTRICT_CLIENT]      = "smtpd_client_restrictions",
	[RESTRICT_HELO]        = "smtpd_helo_restrictions",
	[RESTRICT_SENDER]      = "smtpd_sender_restrictions",
	[RESTRICT_RELAY]       = "smtpd_relay_restrictions",
	[RESTRICT_RECIPIENT]   = "smtpd_recipient_restrictions",
	[RESTRICT_DATA]        = "smtpd_data_restrictions",
	[RESTRICT_END_OF_DATA] = "smtpd_end_of_data_restrictions",
};
/* clang-format on */

const char *
smtpd_restriction_param(enum restrict_list_id id)
{
	return list_names[id] != NULL           ? list_names[id]
	       : id == RESTRICT_UNLISTED_SENDER ? "smtpd_reject_unlisted_sender"
						: "smtpd_reject_unlisted_recipient";
}

int
smtpd_config_networks(
    struct net_list *l, const struct conf *conf, const char *name, struct err *err)
{
	struct view rest = view_of(conf_str(conf, name)), item;
	struct err one;
	int r = 0;

	while (conf_next(&rest, &item)) {
		l->items = x_realloc(l->items, l->count + 1, sizeof *l->items);
		if (net_prefix_parse(item, &l->items[l->count], &one) == 0) {
			l->count++;
			continue;
		}
		/* all of them are named, the last one by the caller */
		if (r < 0)
			log_error("%s", err->text);
		*err = one;
		r = err_prefix(err, "%s", name);
	}
	return r;
}

static enum smtpd_tls_level
read_tls_level(const struct conf *conf)
{
	const char *level = conf_str(conf, "smtpd_tls_security_level");

	if (strcmp(level, "encrypt") == 0 || conf_bool(conf, "smtpd_enforce_tls"))
		return SMTPD_TLS_ENCRYPT;
	return strcmp(level, "may") == 0 || conf_bool(conf, "smtpd_use_tls") ? SMTPD_TLS_MAY
									     : SMTPD_TLS_NONE;
}

static enum tls_client_cert
read_client_cert(const struct conf *conf, bool is_mandatory)
{
	if (conf_bool(conf, "smtpd_tls_req_ccert")) {
		if (is_mandatory)
			return TLS_CLIENT_CERT_REQUIRE;
		log_warn("smtpd_tls_req_ccert: clients are only asked, since TLS is not mandatory");
		return TLS_CLIENT_CERT_ASK;
	}
	return conf_bool(conf, "smtpd_tls_ask_ccert") ? TLS_CLIENT_CERT_ASK : TLS_CLIENT_CERT_NONE;
}

static void
read_tls(struct smtpd_config *c, const struct conf *conf)
{
	const struct role_tls *params = role_tls(ROLE_SMTPD);
	const char *sets[ROLE_TLS_SETS];
	bool is_mandatory;

	c->is_wrapper = conf_bool(conf, "smtpd_tls_wrappermode");
	c->tls_level = read_tls_level(conf);
	c->tls_auth_only = conf_bool(conf, "smtpd_tls_auth_only");
	c->has_certificate = role_tls_sets(params, conf, sets) > 0;
	c->tls_received_header = conf_bool(conf, "smtpd_tls_received_header");
	c->tls_is_logged = conf_int(conf, "smtpd_tls_loglevel") > 0;
	c->fingerprint_digest = conf_str(conf, "smtpd_tls_fingerprint_digest");
	is_mandatory = c->is_wrapper || c->tls_level == SMTPD_TLS_ENCRYPT;
	c->tls = (struct tls_server_setup){
		.conf = conf,
		.params = params,
		.service = "smtpd",
		.protocols = is_mandatory ? "smtpd_tls_mandatory_protocols" : "smtpd_tls_protocols",
		.ciphers = is_mandatory ? "smtpd_tls_mandatory_ciphers" : "smtpd_tls_ciphers",
		.exclude = { "smtpd_tls_exclude_ciphers",
		    is_mandatory ? "smtpd_tls_mandatory_exclude_ciphers" : NULL },
		.ticket_seconds = conf_seconds(conf, "smtpd_tls_session_cache_timeout"),
		.client_cert = read_client_cert(conf, is_mandatory),
		.verify_depth = (int)conf_int(conf, "smtpd_tls_ccert_verifydepth"),
		.ca_file = "smtpd_tls_CAfile",
		.ca_path = "smtpd_tls_CApath",
	};
}

/* What Postfix refuses to run with: nothing between the world and foreign destinations. */
static bool
has_relay_control(const struct smtpd_config *c)
{
	for (int id = RESTRICT_RELAY; id <= RESTRICT_RECIPIENT; id++)
		for (size_t i = 0; i < c->restrictions[id].count; i++) {
			const struct restrict_item *it = &c->restrictions[id].items[i];

			if (!it->warn && restriction_guards_relay(it->what))
				return true;
		}
	return false;
}

static int
read_restrictions(struct smtpd_config *c, struct err *err)
{
	c->restrict_env = x_calloc(1, sizeof *c->restrict_env);
	if (restrict_env_init(c->restrict_env, c->conf, err) < 0)
		return -1;
	for (size_t i = 0; i < RESTRICT_LISTS; i++)
		if (list_names[i] != NULL &&
		    restrict_list_parse(&c->restrictions[i], (enum restrict_list_id)i,
			conf_str(c->conf, list_names[i]), c->restrict_env, err) < 0)
			return err_prefix(err, "%s", list_names[i]);
	if ((conf_bool(c->conf, "smtpd_reject_unlisted_recipient") &&
		restrict_list_parse(&c->restrictions[RESTRICT_UNLISTED], RESTRICT_UNLISTED,
		    "reject_unlisted_recipient", c->restrict_env, err) < 0) ||
	    (conf_bool(c->conf, "smtpd_reject_unlisted_sender") &&
		restrict_list_parse(&c->restrictions[RESTRICT_UNLISTED_SENDER],
		    RESTRICT_UNLISTED_SENDER, "reject_unlisted_sender", c->restrict_env, err) < 0))
		return -1;
	if (!has_relay_control(c))
		return err_set(err, ERR_SYNTAX,
		    "%s: here or in %s one of reject_unauth_destination, defer_unauth_destination, reject, "
		    "defer, defer_if_permit is needed",
		    list_names[RESTRICT_RELAY], list_names[RESTRICT_RECIPIENT]);
	return 0;
}

static void
read_limits(struct smtpd_config *c, const struct conf *conf)
{
	c->message_size_limit = (uint64_t)conf_size(conf, "message_size_limit");
	c->recipient_limit = (size_t)conf_int(conf, "smtpd_recipient_limit");
	c->recipient_overshoot_limit = (size_t)conf_int(conf, "smtpd_recipient_overshoot_limit");
	c->soft_errors = (unsigned)conf_int(conf, "smtpd_soft_error_limit");
	c->min_data_rate = (unsigned)conf_int(conf, "smtpd_min_data_rate");
	c->auth_errors = (unsigned)conf_int(conf, "smtpd_auth_error_limit");
	c->error_sleep_ms = conf_seconds(conf, "smtpd_error_sleep_time") * 1000;
	c->starttls_timeout_ms = conf_seconds(conf, "smtpd_starttls_timeout") * 1000;
	c->name_timeout_ms = conf_seconds(conf, "smtpd_peername_timeout") * 1000;
	c->line_limit = (size_t)conf_size(conf, "line_length_limit");
	c->data_line_limit = (size_t)conf_size(conf, "smtpd_data_line_limit");
	c->header_limit = (size_t)conf_size(conf, "header_size_limit");
	c->hop_limit = (unsigned)conf_int(conf, "hopcount_limit");
	c->client_limit = (size_t)conf_int(conf, "smtpd_client_limit");
	c->per_client_limit = (size_t)conf_int(conf, "smtpd_client_connection_count_limit");
}

static void
read_patience(struct smtpd_patience *p, const struct conf *conf)
{
	p->hard_errors = (unsigned)conf_int(conf, "smtpd_hard_error_limit");
	p->junk_limit = (unsigned)conf_int(conf, "smtpd_junk_command_limit");
	p->timeout_ms = conf_seconds(conf, "smtpd_timeout") * 1000;
	p->greet_wait_ms = conf_seconds(conf, "postscreen_greet_wait") * 1000;
	p->has_deadline = conf_bool(conf, "smtpd_per_request_deadline");
	p->verify_wait_ms = (conf_int(conf, "address_verify_poll_count") - 1) *
			    conf_seconds(conf, "address_verify_poll_delay") * 1000;
	if (p->verify_wait_ms > VERIFY_WAIT_MAX_MS)
		p->verify_wait_ms = VERIFY_WAIT_MAX_MS;
}

/* The same values once more, with $stress = yes. */
static void
read_stressed(struct smtpd_patience *p, const struct conf *conf)
{
	struct conf stressed;

	conf_copy(&stressed, conf);
	conf_set(&stressed, "stress", "yes", "", 0, NULL);
	read_patience(p, &stressed);
	conf_clear(&stressed);
}

int
smtpd_config_read(struct smtpd_config *c, const struct conf *conf, struct err *err)
{
	*c = (struct smtpd_config){ .conf = conf };
	c->myhostname = conf_str(conf, "myhostname");
	c->myorigin = conf_str(conf, "myorigin");
	c->mail_name = conf_str(conf, "mail_name");
	c->banner = conf_str(conf, "smtpd_banner");
	c->content_filter = conf_str(conf, "content_filter");
	c->is_submission = conf_bool(conf, "smtpd_submission");
	read_tls(c, conf);
	c->has_auth = conf_bool(conf, "smtpd_sasl_auth_enable");
	c->names_login = conf_bool(conf, "smtpd_sasl_authenticated_header");
	c->hides_clients = conf_bool(conf, "smtpd_sasl_hide_client");
	c->mechanisms = conf_str(conf, "smtpd_sasl_mechanisms");
	c->requires_helo = conf_bool(conf, "smtpd_helo_required");
	c->delays_reject = conf_bool(conf, "smtpd_delay_reject");
	c->looks_up_names = conf_bool(conf, "smtpd_peername_lookup");
	c->has_vrfy = !conf_bool(conf, "disable_vrfy_command");
	c->is_strict = conf_bool(conf, "strict_rfc821_envelopes");
	c->is_soft = conf_bool(conf, "soft_bounce");
	c->forbidden_commands = conf_str(conf, "smtpd_forbidden_commands");
	c->probe_sender = own_sender(conf, "address_verify_sender");
	read_limits(c, conf);
	if (c->content_filter[0] != '\0' && strchr(c->content_filter, ':') == NULL)
		return err_set(err, ERR_SYNTAX, "content_filter: \"%s\" is not TRANSPORT:NEXTHOP, as smtp:[127.0.0.1]:10024",
		    c->content_filter);
	read_patience(&c->patience, conf);
	smtpd_rate_config_read(&c->rate, conf);
	read_stressed(&c->stressed, conf);
	if (smtpd_screen_config_read(&c->screen, conf, err) < 0)
		return -1;
	if (c->is_wrapper && !c->has_certificate)
		return err_set(err, ERR_SYNTAX,
		    "smtpd_tls_wrappermode: needs a certificate, but smtpd_tls_cert_file is empty");
	if (c->tls_level == SMTPD_TLS_ENCRYPT && !c->has_certificate)
		return err_set(err, ERR_SYNTAX,
		    "smtpd_tls_security_level: encrypt needs a certificate, but smtpd_tls_cert_file is empty");
	if (smtpd_config_networks(&c->mynetworks, conf, "mynetworks", err) < 0 ||
	    smtpd_config_networks(
		&c->limit_exceptions, conf, "smtpd_client_event_limit_exceptions", err) < 0 ||
	    smtpd_ext_config_read(&c->ext, conf, err) < 0)
		return -1;
	if (bcc_config_read(&c->bcc, conf, err) < 0 ||
	    checks_config_read(&c->checks, conf, err) < 0 ||
	    rewrite_config_read(&c->rewrite, conf, err) < 0 ||
	    milter_config_read(&c->milters, conf, err) < 0)
		return -1;
	return read_restrictions(c, err);
}

void
smtpd_config_clear(struct smtpd_config *c)
{
	smtpd_screen_config_clear(&c->screen);
	x_free(&c->probe_sender);
	x_free(&c->mynetworks.items);
	x_free(&c->limit_exceptions.items);
	bcc_config_clear(&c->bcc);
	checks_config_clear(&c->checks);
	rewrite_config_clear(&c->rewrite);
	milter_config_clear(&c->milters);
	smtpd_ext_config_clear(&c->ext);
	for (size_t i = 0; i < RESTRICT_LISTS; i++)
		restrict_list_clear(&c->restrictions[i]);
	if (c->restrict_env != NULL)
		restrict_env_clear(c->restrict_env);
	x_free(&c->restrict_env);
}
