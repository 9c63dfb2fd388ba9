/* anvil_world.h - a real anvil beside the smtpd of session_world.h. */
#ifndef TESTS_UNIT_SMTPD_ANVIL_WORLD_H
#define TESTS_UNIT_SMTPD_ANVIL_WORLD_H

#include "smtpd/anvil/anvil.h"
#include "smtpd/anvil_client.h"
#include "tests/unit/remove_all.h"
#include "tests/unit/smtpd/session_world.h"

struct helper {
	struct anvil *anvil;
	struct ipc_conn *side;
	struct ipc_edge *edge;
	char directory[64];
};

static inline void
helper_init(struct helper *h, struct world *w)
{
	struct anvil_conf conf;
	int fds[2];

	anvil_conf_read(&conf, &w->conf);
	snprintf(h->directory, sizeof h->directory, "/tmp/anvil-world-XXXXXX");
	assert_non_null(mkdtemp(h->directory));
	h->anvil = anvil_new(w->loop, &conf, h->directory);
	anvil_start(h->anvil);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	h->side = ipc_conn_new(w->loop, fds[1], &anvil_caller_ops, NULL);
	anvil_caller_open(h->anvil, h->side);
	h->edge = ipc_edge_new_fd(w->loop, fds[0], NULL, NULL);
	w->server.anvil = h->edge;
}

/* smtpd goes first, as at a reload: anvil sees its connection end. */
static inline void
helper_clear(struct helper *h, struct world *w)
{
	smtpd_server_clear(&w->server);
	smtpd_server_start(&w->server); /* for world_clear */
	ipc_edge_free(h->edge);
	for (int i = 0; i < 20; i++)
		loop_run_once(w->loop, false);
	anvil_free(h->anvil);
	remove_all(h->directory);
}

#endif
