#include "common/base/random.h"
#include "common/base/err.h"

#include <errno.h>
#include <sys/random.h>

void
random_bytes(void *p, size_t len)
{
	unsigned char *to = p;

	while (len > 0) {
		ssize_t n = getrandom(to, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			bug("getrandom failed");
		to += n;
		len -= (size_t)n;
	}
}

uint32_t
random_below(uint32_t bound)
{
	/* values under 2^32 mod bound would be drawn once too often */
	uint32_t biased = -bound % bound, x;

	do
		random_bytes(&x, sizeof x);
	while (x < biased);
	return x % bound;
}
