#include "common/base/mem.h"
#include "qmgr/schedule.h"

#include <stdio.h>
#include <stdlib.h>

static int
read_feedback(const struct conf *c, const char *transport, const char *sign, struct feedback *out,
    struct err *err)
{
	char *name = x_asprintf("%s_destination_concurrency_%s_feedback", transport, sign);
	const char *text = conf_str(c, name);
	int r = feedback_parse(text, out);

	if (r < 0)
		err_set(err, ERR_PERM,
		    "%s: \"%s\" is not a number from 0 to 1, alone or before /concurrency or "
		    "/sqrt_concurrency",
		    name, text);
	free(name);
	return r;
}

static unsigned
read_count(const struct conf *c, const char *what, const char *transport)
{
	char name[80];

	snprintf(name, sizeof name, "%s%s", transport, what);
	return (unsigned)conf_int(c, name);
}

static int
read_remote(const struct conf *c, const char *transport, struct dest_conf *out, struct err *err)
{
	char name[80];
	bool wants_client;

	snprintf(name, sizeof name, "%s_send_xforward_command", transport);
	wants_client = conf_bool(c, name);
	snprintf(name, sizeof name, "%s_destination_rate_delay", transport);
	*out = (struct dest_conf){ .concurrency_limit =
				       read_count(c, "_destination_concurrency_limit", transport),
		.initial_concurrency = read_count(c, "_initial_destination_concurrency", transport),
		.recipient_limit = read_count(c, "_destination_recipient_limit", transport),
		.failed_cohort_limit =
		    read_count(c, "_destination_concurrency_failed_cohort_limit", transport),
		.rate_delay_ms = conf_seconds(c, name) * 1000,
		.wants_client = wants_client };
	return read_feedback(c, transport, "positive", &out->positive, err) < 0 ||
		       read_feedback(c, transport, "negative", &out->negative, err) < 0
		   ? -1
		   : 0;
}

int
schedule_conf_read(const struct conf *c, struct schedule_conf *out, struct err *err)
{
	*out = (struct schedule_conf){ .relay_jobs = (unsigned)conf_int(c, "smtp_connection_limit"),
		.mx_concurrency_limit = (unsigned)conf_int(c, "smtp_mx_concurrency_limit"),
		.has_limits = conf_str(c, "destination_limit_maps")[0] != '\0',
		.min_backoff_ms = conf_seconds(c, "minimal_backoff_time") * 1000,
		.max_backoff_ms = conf_seconds(c, "maximal_backoff_time") * 1000 };
	/* of one's own process nothing has to be found out */
	out->local.concurrency_limit = read_count(c, "_destination_concurrency_limit", "virtual");
	out->local.initial_concurrency = out->local.concurrency_limit;
	out->local.recipient_limit = read_count(c, "_destination_recipient_limit", "virtual");
	if (read_remote(c, "smtp", &out->smtp, err) < 0)
		return -1;
	return read_remote(c, "lmtp", &out->lmtp, err);
}
