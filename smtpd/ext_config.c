#include "smtpd/ext_config.h"
#include "common/base/mem.h"
#include "smtpd/extensions.h"
#include "smtpd/header_drop.h"

#include <stdlib.h>

static int
read_dropped_headers(struct smtpd_ext_config *c, const struct conf *conf, struct err *err)
{
	struct view rest = view_of(conf_str(conf, "message_drop_headers")), name;

	while (conf_next(&rest, &name)) {
		if (name.len > HEADER_DROP_NAME_MAX || memchr(name.p, ':', name.len) != NULL)
			return err_set(err, ERR_SYNTAX,
			    "message_drop_headers: \"%.*s\" is not the name of a header field",
			    VIEW_ARG(name));
		c->dropped_headers = x_realloc(
		    c->dropped_headers, c->ndropped_headers + 1, sizeof *c->dropped_headers);
		c->dropped_headers[c->ndropped_headers++] = name;
	}
	return 0;
}

/* A name that is no domain is compared as it stands. */
static int
read_authserv_id(struct smtpd_ext_config *c, const struct conf *conf, struct err *err)
{
	const char *id = conf_str(conf, "authserv_id");

	if (strlen(id) >= sizeof c->authserv_id)
		return err_set(err, ERR_SYNTAX, "authserv_id: longer than a domain name");
	if (!idn_to_ascii(view_of(id), c->authserv_id))
		memcpy(c->authserv_id, id, strlen(id) + 1);
	return smtpd_config_networks(
	    &c->authserv_trusted_hosts, conf, "authserv_trusted_hosts", err);
}

int
smtpd_ext_config_read(struct smtpd_ext_config *c, const struct conf *conf, struct err *err)
{
	*c = (struct smtpd_ext_config){ 0 };
	c->discarded = smtpd_extensions_parse(conf_str(conf, "smtpd_discard_ehlo_keywords"));
	c->is_proxied = conf_str(conf, "smtpd_upstream_proxy_protocol")[0] != '\0';
	c->proxy_timeout_ms = conf_seconds(conf, "smtpd_upstream_proxy_timeout") * 1000;
	c->is_lmtp = conf_bool(conf, "smtpd_lmtp");
	c->has_utf8 = conf_bool(conf, "smtputf8_enable");
	c->normalizes_bare_lf = strcmp(conf_str(conf, "smtpd_forbid_bare_newline"), "reject") != 0;
	if (read_dropped_headers(c, conf, err) < 0 || read_authserv_id(c, conf, err) < 0)
		return -1;
	if (smtpd_config_networks(&c->xclient_hosts, conf, "smtpd_authorized_xclient_hosts", err) <
		0 ||
	    smtpd_config_networks(
		&c->xforward_hosts, conf, "smtpd_authorized_xforward_hosts", err) < 0)
		return -1;
	return smtpd_config_networks(
	    &c->bare_lf_exclusions, conf, "smtpd_forbid_bare_newline_exclusions", err);
}

void
smtpd_ext_config_clear(struct smtpd_ext_config *c)
{
	x_free(&c->xclient_hosts.items);
	x_free(&c->xforward_hosts.items);
	x_free(&c->bare_lf_exclusions.items);
	x_free(&c->authserv_trusted_hosts.items);
	x_free(&c->dropped_headers);
}
