/* db_worker.h - the one process that opens the user database and the lookup tables. */
#ifndef AUTHD_DB_WORKER_H
#define AUTHD_DB_WORKER_H

#include "authd/authd_conf.h"

#include <sys/types.h>

/* In the nursery, before its cage closes: the directories of the tables and of the database are
 * opened while root may still walk the paths to them. */
int db_worker_prepare(const struct authd_conf *conf, struct err *err);
/* The same without a database and a cage, for a test of the configuration: the tables are opened as the user
 * that the workers run as. */
int db_worker_test(const struct authd_conf *conf, uid_t uid, gid_t gid, struct err *err);
/* Runs until fd, the socket to authd's loop, is closed.  Inside the cage; never returns.  Opens
 * and recovers the database, then sends WORKER_HELLO. */
_Noreturn void db_worker_run(const struct authd_conf *conf, int fd);

#endif
