/* delivery - puts mail into the Maildirs of one uid; started by master when qmgr asks for that uid. */
#include "common/daemon/daemon.h"
#include "common/ipc/msg/master.h"
#include "delivery/delivery.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Two descriptors a message held, three a mailbox held open, a few more a copy of the batch. */
enum { FILES_MAX = 8192 };

struct process {
	struct daemon *daemon;
	struct delivery *delivery;
};

static void
tell_master(struct process *p, struct ipc_out *o)
{
	if (ipc_conn_send(daemon_master(p->daemon), o) < 0)
		log_warn("cannot send to master");
}

static void
on_changed(void *arg, const char *account)
{
	struct ipc_out o;

	ipc_out_init(&o, MASTER_NOTE);
	ipc_put_str(&o, account);
	ipc_put_str(&o, "INBOX");
	tell_master(arg, &o);
}

static void
on_want_authd(void *arg)
{
	struct ipc_out o;

	ipc_out_init(&o, MASTER_WANT_EDGE);
	ipc_put_u32(&o, ROLE_AUTHD);
	tell_master(arg, &o);
}

static void
on_idle(void *arg)
{
	struct ipc_out o;

	ipc_out_init(&o, MASTER_IDLE);
	tell_master(arg, &o);
}

static void
on_drained(void *arg)
{
	struct process *p = arg;

	daemon_exit(p->daemon, 0);
}

static void
on_drain(void *arg)
{
	struct process *p = arg;

	delivery_drain(p->delivery);
}

static void
on_edge(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct process *p = arg;
	uint32_t role = ipc_get_u32(in);
	int fd = ipc_get_fd(in);

	(void)c;
	if (role == ROLE_QMGR)
		delivery_add_qmgr(p->delivery, fd);
	else if (role == ROLE_AUTHD)
		delivery_set_authd(p->delivery, fd);
	else
		close(fd);
}

static const struct ipc_handler master_rows[] = {
	{ MASTER_EDGE, "uh", IPC_STATE_ANY, on_edge },
	{ .fn = NULL },
};

/* Inside the cage: the root is the directory of all mailboxes, the uid is their owner's. */
static void
before_loop(void *arg)
{
	static const struct delivery_ops ops = { on_changed, on_want_authd, on_idle, on_drained };
	struct process *p = arg;
	const struct conf *conf = daemon_conf(p->daemon);
	const struct delivery_config config = {
		.base_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC),
		.uid = geteuid(),
		.host = conf_str(conf, "myhostname"),
		.batch_limit = (unsigned)conf_int(conf, "delivery_batch_limit"),
		.max_idle_ms = conf_seconds(conf, "max_idle") * 1000,
	};

	if (config.base_fd < 0)
		log_fatal("virtual_mailbox_base: %s", strerrordesc_np(errno));
	umask(
	    066); /* modes are given at each creation; only domain directories may be passed through by others */
	p->delivery = delivery_new(daemon_loop(p->daemon), &config, &ops, p);
	delivery_start(p->delivery);
}

int
main(int argc, char **argv)
{
	struct process p = { .daemon = daemon_start(argc, argv, ROLE_DELIVERY) };
	struct sandbox_plan plan = { .calls = CALLS_READ | CALLS_WRITE | CALLS_THREADS,
		.paths = { { "/", true } },
		.max_files = FILES_MAX,
		.is_background = true };

	daemon_configured(p.daemon);
	daemon_on_message(p.daemon, master_rows, &p);
	daemon_on_drain(p.daemon, on_drain, &p);
	return daemon_run(p.daemon, &plan, before_loop, &p);
}
