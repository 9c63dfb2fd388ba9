/* random.h - bytes from the kernel's generator. */
#ifndef COMMON_BASE_RANDOM_H
#define COMMON_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

void random_bytes(void *p, size_t len);      /* dies if the kernel gives none */
uint32_t random_below(uint32_t bound);       /* uniform in 0..bound-1; bound > 0 */

#endif
