#include "smtpd/ext_config.h"
#include "common/base/mem.h"
#include "smtpd/extensions.h"

#include <stdlib.h>

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
}
