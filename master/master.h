/* master.h - the supervisor: services, their listeners, their processes.
 *
 * Master is the only process that stays root.  It parses main.cf and master.cf, and fixed-size messages of
 * its own workers; never a byte from the network.
 *
 * Owner tree: master -> services -> listeners, processes.  A process belongs to the service of its role; those of
 * a mailbox's owner (delivery, imapd, pop3d) also have a uid or an account.
 */
#ifndef MASTER_MASTER_H
#define MASTER_MASTER_H

#include "common/config/conf.h"
#include "common/config/master_cf.h"
#include "common/event/loop.h"
#include "common/ipc/conn.h"

#include <sys/queue.h>
#include <sys/types.h>

struct master;
struct service_state;

struct process {
	LIST_ENTRY(process) link;
	struct service_state *service; /* borrowed: outlives it */
	pid_t pid;
	struct ipc_conn *conn; /* control channel; NULL when lost */
	int log_fd;            /* the log process's end of its log socket, kept for a new log process; owned */
	bool is_ready;         /* its cage is closed and it serves */
	char *reason;          /* owned: why it ends before it was ready, in its own words; NULL: it did not say */
	bool is_draining;
	unsigned generation;   /* configuration it runs on */
	int64_t started_ms;    /* monotonic */
	uid_t uid;
	gid_t gid;
	char *account;         /* owned; "" but for imapd and pop3d */
};
LIST_HEAD(process_list, process);

struct bound_listener {
	int fd;           /* owned */
	bool is_edge;
	enum role caller; /* edge */
	uid_t caller_uid; /* edge */
	char *name;       /* owned: inet "host port", edge "caller/server"; compared at reload */
};

struct service_state {
	LIST_ENTRY(service_state) link;
	struct master *master;
	char *name;       /* owned; first column */
	enum role role;
	unsigned maxproc; /* processes kept running; 0 for those started on demand */
	struct conf conf; /* effective */
	struct conf *
	    previous; /* owned: of an exclusive role, until a process serves with conf; NULL: none */
	struct bound_listener *listeners; /* owned array */
	size_t nlisteners;
	struct process_list processes;
	struct loop_timer restart;
	int64_t backoff_ms; /* 0 = none */
	bool is_removed;    /* no longer in master.cf: goes with its last process */
	uid_t uid;          /* of the role's system user; 0 for mailbox roles */
	gid_t gid;
};
LIST_HEAD(service_list, service_state);

struct master {
	struct loop *loop;
	const char *config_directory; /* borrowed from argv */
	char *libexec;                /* owned: directory of the programs */
	struct conf conf;
	bool is_checked; /* conf may be read */
	struct service_list services;
	unsigned generation;
	struct ipc_edge *authd;
	int log_file;                 /* owned; handed to the log process */
	int pid_file;                 /* owned: locked while we run */
	int own_log;                  /* owned: the log process's end of our own log socket */
	int control;                  /* owned: listener of estafeta */
	int report_fd;                /* owned: where `estafeta start` waits for our word; -1 later */
	bool is_stopping;
	struct loop_timer stop_deadline;
	struct ipc_conn *stop_asker;  /* borrowed: who waits for the end of stop */
	uint32_t stop_request;
	struct ipc_conn *reload_asker; /* borrowed: who waits until the new workers serve */
	uint32_t reload_request;
	struct loop_timer reload_deadline;
	struct {
		struct counters *page;
		int fd; /* owned */
	} counters[ROLE_COUNT];       /* page NULL: of none of its processes yet */
	uid_t mail_uid;               /* mailbox_owner */
	gid_t mail_gid;
	struct loop_watch control_watch;
	struct loop_signal sigchld, sigterm, sigint, sighup;
};

/* master_main.c / supervise.c: processes */
struct process *process_spawn(struct service_state *s, const char *account, uid_t uid, gid_t gid,
    int root_fd, struct err *err); /* root_fd: borrowed, -1 = the role's own root */
void process_drain(struct process *p);
void service_keep_running(struct service_state *s); /* starts what is missing, with back-off */
void master_reap(struct master *m);
void master_log_source(struct master *m, struct process *p); /* tells the log process of this one's socket */
void master_own_log_source(struct master *m);                /* and of our own */
void master_set_log_file(
    struct master *m, int fd); /* takes fd; the log process writes there from now on */
struct service_state *service_by_role(struct master *m, enum role r);
bool master_has_workers(struct master *m); /* any process but the log's */
bool service_is_up(const struct service_state *s); /* all that it keeps running serve with the present configuration */
bool master_is_up(struct master *m);               /* every service is */
void master_report(struct master *m, const char *text); /* to `estafeta start`; NULL = all is well */
void master_begin_stop(struct master *m);

/* setup.c: directories and listeners */
int setup_directories(struct master *m, struct err *err);
int setup_user(const char *name, uid_t *uid, gid_t *gid, struct err *err);
/* Binds what the service needs and its predecessor (may be NULL) has not bound; takes over the rest. */
int setup_listeners(struct service_state *s, const struct service *row, struct service_state *old,
    struct err *err);
void listener_clear(struct bound_listener *l);
int setup_control(struct master *m, struct err *err);

/* A path leads to the service's next workers only from now on; those of before keep the sockets they have. */
void setup_renew_edges(struct service_state *s);

/* services.c: configuration to services; reload */
int services_load(struct master *m, struct err *err);
int services_check_conf(
    struct conf *c, struct err *err); /* logs every fault, *err gets the first */
int open_log_file(const struct conf *conf, struct err *err);
void service_free(struct service_state *s);
void service_drop_previous(struct service_state *s);

/* handover.c: messages of the workers */
extern const struct ipc_conn_ops process_ops;

/* control.c: estafeta status, reload, stop */
void control_start(struct master *m);
/* Answers who waits for the end of a reload, if anybody. */
void control_reload_ended(struct master *m, uint32_t status, const char *text);

#endif
