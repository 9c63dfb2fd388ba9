/* trace.h - a source of answers that writes down what it was asked (estafeta explain): what was found for an address, and
 * where, is what resolving it asks for. */
#ifndef AUTHD_TRACE_H
#define AUTHD_TRACE_H

#include "authd/resolve.h"
#include "common/ipc/frame.h"

struct trace {
	struct resolve_source source; /* ask this one */
	const struct resolve_source *inner;
	struct ipc_out steps; /* fields of AUTHD_TRACE_SIG's group; as many as fit */
	unsigned count;
};
/* inner is borrowed for t's life. */
void trace_init(struct trace *t, const struct resolve_source *inner);
void trace_clear(struct trace *t);

#endif
