/* handin.h - mail that fetchd writes (TLS reports), taken in as sendmail's is. */
#ifndef QMGR_HANDIN_H
#define QMGR_HANDIN_H

#include "qmgr/submit.h"

/* For daemon_serve; the arg of the connection is the struct submit. */
extern const struct ipc_conn_ops handin_ops;

#endif
