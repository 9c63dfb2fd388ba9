/* sasl_scram.h - SCRAM-SHA-256 of libsasl2's plugin, loaded by our own hand and mended on the
 * way in.
 *
 * Cyrus SASL 2.1.28 has two faults that matter here:
 * - a client that asks for channel binding ("p=...") where the server has none sends it through
 *   a NULL pointer: one client would kill the worker under all the others.  Such a message is
 *   refused before it arrives.
 * - nonces come from jrand48, a 48-bit generator, seeded from /dev/urandom, which the cage does
 *   not have. They are taken from getrandom(2) instead. */
#ifndef AUTHD_SASL_SCRAM_H
#define AUTHD_SASL_SCRAM_H

#include "common/base/err.h"

/* Where the plugin is; told by libsasl2 while it reads its plugin directory. */
void sasl_scram_found(const char *file);
/* Loads it and adds SCRAM-SHA-256 to libsasl2.  After sasl_server_init.  0 or -1. */
int sasl_scram_add(struct err *err);

/* Forgets the step before. */
void sasl_scram_step_begin(void);
/* What the step since then had of the client's proof. */
enum sasl_scram_proof { SCRAM_NO_PROOF, SCRAM_PROOF_FAILED, SCRAM_PROOF_FITS };
enum sasl_scram_proof sasl_scram_proof(void);

#endif
