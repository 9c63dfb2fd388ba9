/* keyd: the only process that holds TLS private keys. */
#include "authd/keyd_load.h"
#include "authd/keyd_shape.h"
#include "common/daemon/daemon.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

enum { SECURE_HEAP = 16 << 20, SECURE_HEAP_MIN = 32, MAX_CONNS = 1000 };

static struct sandbox_plan plan = { .calls = 0, .max_files = 2048, .max_memory = 512u << 20 };

static struct keyd_caller callers[] = {
	{ .name = "smtpd", .shapes = KEYD_SHAPE_SERVER_VERIFY | KEYD_SHAPE_KEY_EXCHANGE },
	{ .name = "imapd-login", .shapes = KEYD_SHAPE_SERVER_VERIFY | KEYD_SHAPE_KEY_EXCHANGE },
	{ .name = "pop3d-login", .shapes = KEYD_SHAPE_SERVER_VERIFY | KEYD_SHAPE_KEY_EXCHANGE },
	{ .name = "relay", .shapes = KEYD_SHAPE_CLIENT_VERIFY },
};

static struct {
	struct daemon *daemon;
	unsigned conns;
} life;

static void
on_open(void *arg, struct ipc_conn *c)
{
	(void)arg;
	(void)c;
	life.conns++;
}

static void
end_when_left(void)
{
	if (daemon_is_stopping(life.daemon) || (daemon_is_draining(life.daemon) && life.conns == 0))
		daemon_exit(life.daemon, 0);
}

static void
on_close(void *arg, struct ipc_conn *c, const struct err *why)
{
	(void)arg;
	(void)c;
	(void)why;
	life.conns--;
	end_when_left();
}

/* At a reload the workers of before go on with the certificates of before: their keys are here until they end. */
static void
on_drain(void *arg)
{
	(void)arg;
	end_when_left();
}

static void
report(void *arg, const char *text)
{
	(void)arg;
	log_error("%s", text);
}

static const struct role_tls *
attached_role(const char *what)
{
	char name[32];
	int role;

	snprintf(name, sizeof name, "%.*s", (int)strcspn(what, "/"), what);
	role = role_by_name(name);
	return role < 0 ? NULL : role_tls((enum role)role);
}

/* Everything that a service attached by master shows and signs with.  Returns how many sets of certificates. */
static size_t
load_all(struct daemon *d, struct keyd *k)
{
	const char prefix[] = "tls:", *name;
	size_t at = 0, count = 0;

	while ((name = daemon_next_attachment(d, prefix, &at)) != NULL) {
		const struct role_tls *tls = attached_role(name + strlen(prefix));
		struct conf conf;
		struct err err;

		if (tls == NULL || daemon_attached_conf(d, name, &conf, &err) < 0 ||
		    keyd_load_service(k, tls, &conf, report, NULL, &count, &err) < 0)
			log_fatal("%s", tls == NULL ? "attached to no role with TLS" : err.text);
		conf_clear(&conf);
	}
	return count;
}

int
main(int argc, char **argv)
{
	struct daemon *d = daemon_start(argc, argv, ROLE_KEYD);
	struct ipc_conn_ops ops = { keyd_handlers, on_close };
	struct keyd *k = keyd_new();
	size_t count;

	daemon_configured(d); /* the keys come from master; estafeta(8) looks at them itself */
	life.daemon = d;
	daemon_on_drain(d, on_drain, NULL);
	if (CRYPTO_secure_malloc_init(SECURE_HEAP, SECURE_HEAP_MIN) == 0)
		log_warn("no locked memory for the keys: they may be swapped out");
	count = load_all(d, k);
	for (size_t i = 0; i < sizeof callers / sizeof callers[0]; i++) {
		callers[i].keyd = k;
		daemon_serve(d, (enum role)role_by_name(callers[i].name), &ops, on_open,
		    &callers[i], MAX_CONNS);
	}
	log_info("%zu sets of certificates with their keys", count);
	return daemon_run(d, &plan, NULL, NULL);
}
