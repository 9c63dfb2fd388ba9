/* explain.h - what would become of a message, as the running daemons say; all of it one JSON object, whose names
 * docs/estafeta.8 has. */
#ifndef TOOLS_EXPLAIN_H
#define TOOLS_EXPLAIN_H

#include "tools/tool.h"

#include <jansson.h>

enum { EXPLAIN_RCPTS = 100, EXPLAIN_MESSAGE = 128 * 1024 };

/* What is claimed; borrowed. */
struct explain_request {
	const char *service; /* "" = the first one */
	const char *client;  /* address */
	unsigned port;
	const char *name, *helo, *login; /* "" = look it up, the name, none */
	bool has_tls, asks_policy, is_utf8;
	uint64_t size;      /* 0 = not announced */
	const char *sender; /* "" = <> */
	const char *rcpts[EXPLAIN_RCPTS];
	size_t nrcpts;
	struct buf message; /* the beginning of one, CRLF; empty: none */
};

/* The session: fills "service", "commands", "accepted", and with it "sender", "recipients" and what actions have decided. */
int explain_session(
    const struct tool *t, const struct explain_request *q, json_t *out, struct err *err);
/* Tables asked for each address, "lookups"; where its recipients would go, and under which limits. */
int explain_routes(
    const struct tool *t, const struct explain_request *q, json_t *out, struct err *err);
/* The string of that name; "" = there is none. */
const char *explain_get(const json_t *o, const char *name);
/* Of others' bytes, in whatever encoding. */
json_t *explain_string(const char *text);
/* One line a step, on standard output. */
void explain_print(const json_t *out);

#endif
