/* clock.h - the two clocks.  Deadlines use the monotonic one, records on disk the wall clock. */
#ifndef COMMON_BASE_CLOCK_H
#define COMMON_BASE_CLOCK_H

#include <stdint.h>

int64_t clock_mono_ms(void);
int64_t clock_wall_ms(void); /* milliseconds since 1970 UTC */
int64_t clock_wall_us(void);

#endif
