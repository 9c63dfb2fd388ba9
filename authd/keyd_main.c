/* keyd: the only process that holds TLS private keys. */
#include "authd/keyd.h"
#include "authd/keyd_shape.h"
#include "common/base/fd.h"
#include "common/daemon/daemon.h"

#include <openssl/crypto.h>
#include <string.h>

enum { SECURE_HEAP = 4 << 20, SECURE_HEAP_MIN = 32, MAX_CONNS = 1000 };

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

/* Takes every descriptor that master attached under this prefix. */
static size_t
load_all(struct daemon *d, struct keyd *k, const char *prefix,
    int (*add)(struct keyd *k, const char *name, int fd, struct err *err))
{
	const char *name;
	size_t at = 0, count = 0;

	while ((name = daemon_next_attachment(d, prefix, &at)) != NULL) {
		int fd = daemon_attachment(d, name);
		struct err err;

		if (fd < 0)
			continue;
		count++;
		if (add(k, name + strlen(prefix), fd, &err) < 0)
			report(NULL, err.text);
		fd_close(&fd);
	}
	return count;
}

int
main(int argc, char **argv)
{
	struct daemon *d = daemon_start(argc, argv, ROLE_KEYD);
	struct ipc_conn_ops ops = { keyd_handlers, on_close };
	struct keyd *k = keyd_new();
	size_t chains, usable;

	daemon_configured(d); /* the keys come from master; estafeta(8) looks at them itself */
	life.daemon = d;
	daemon_on_drain(d, on_drain, NULL);
	if (CRYPTO_secure_malloc_init(SECURE_HEAP, SECURE_HEAP_MIN) == 0)
		log_warn("no locked memory for the keys: they may be swapped out");
	load_all(d, k, "key:", keyd_add_key);
	chains = load_all(d, k, "cert:", keyd_add_chain);
	usable = keyd_match(k, report, NULL);
	if (chains > 0 && usable == 0)
		log_fatal("none of the certificates can be used");
	for (size_t i = 0; i < sizeof callers / sizeof callers[0]; i++) {
		callers[i].keyd = k;
		daemon_serve(d, (enum role)role_by_name(callers[i].name), &ops, on_open,
		    &callers[i], MAX_CONNS);
	}
	log_info("%zu of %zu certificates with their keys", usable, chains);
	return daemon_run(d, &plan, NULL, NULL);
}
