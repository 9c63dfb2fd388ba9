/* codec.h - base64 (RFC 4648 4), hexadecimal, CRC-32C (RFC 3720 B.4). */
#ifndef COMMON_BASE_CODEC_H
#define COMMON_BASE_CODEC_H

#include "common/base/buf.h"

/* Appends; -1 when the cap of the buffer is passed. */
int base64_encode(struct buf *out, const void *p, size_t len);
/* Strict: no white space, padding required, unused bits zero.  -1 on anything else; what was appended
 * before the fault is taken back. */
int base64_decode(struct buf *out, const char *p, size_t len);
void hex_encode(char *out, const void *p, size_t len); /* out: 2 * len + 1 bytes; lower case */
bool hex_decode(void *out, size_t len, struct view hex); /* hex must be exactly 2 * len digits */

/* Start with crc = 0; crc32c(crc32c(0, a), b) == crc32c(0, ab). */
uint32_t crc32c(uint32_t crc, const void *p, size_t len);

#endif
