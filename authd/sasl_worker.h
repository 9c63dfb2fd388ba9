/* sasl_worker.h - a process that runs SASL exchanges and hashes passwords, many one after the
 * other. */
#ifndef AUTHD_SASL_WORKER_H
#define AUTHD_SASL_WORKER_H

#include "authd/authd_conf.h"

/* Runs until fd, the socket to authd's loop, is closed.  sasl_library_open has been called by an
 * ancestor.  Inside the cage; never returns. */
_Noreturn void sasl_worker_run(const struct authd_conf *conf, int fd);

#endif
