/* milter_config.h - which milters a service has, and how each is treated. */
#ifndef SMTPD_MILTER_CONFIG_H
#define SMTPD_MILTER_CONFIG_H

#include "common/config/conf.h"
#include "smtpd/milter_proto.h"

enum milter_default {
	MILTER_DEFAULT_TEMPFAIL,
	MILTER_DEFAULT_ACCEPT,
	MILTER_DEFAULT_REJECT,
	MILTER_DEFAULT_QUARANTINE,
	MILTER_DEFAULT_SHUTDOWN,
	MILTER_DEFAULTS
};

struct milter_setting {
	char *endpoint; /* owned; as dialer knows it */
	int64_t connect_ms, command_ms, content_ms;
	enum milter_default on_failure;
	unsigned version; /* of the protocol, the highest offered */
};

/* Macros are listed by command; the first ones in the order of enum SMFIM_*, so that a milter can set them. */
enum milter_macro_list {
	MACROS_CONNECT,
	MACROS_HELO,
	MACROS_MAIL,
	MACROS_RCPT,
	MACROS_DATA,
	MACROS_EOM,
	MACROS_EOH,
	MACROS_HEADER,
	MACROS_UNKNOWN,
	MACROS_LISTS
};

struct milter_config {
	struct milter_setting *items; /* owned */
	size_t count;
	const char *macros[MACROS_LISTS]; /* borrowed from the configuration, as are the others */
	const char *daemon_name, *v, *defaults;
};

/* -1: ERR_SYNTAX, naming the parameter. */
int milter_config_read(struct milter_config *c, const struct conf *conf, struct err *err);
void milter_config_clear(struct milter_config *c);

#endif
