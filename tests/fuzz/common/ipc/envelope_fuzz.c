/* Any bytes as an envelope: what is accepted is clean, and encodes to the same again. */
#include "common/base/err.h"
#include "common/ipc/envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_clean(const char *s)
{
	for (; *s != '\0'; s++)
		if (*s == '\r' || *s == '\n')
			bug("line end in an envelope");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct envelope e;
	struct arena arena;
	struct buf again;
	struct err err;

	arena_init(&arena, 16 << 20);
	if (envelope_decode(view_make(data, size), &arena, &e, &err) == 0) {
		check_clean(e.sender);
		for (size_t i = 0; i < e.nrcpts; i++)
			check_clean(e.rcpts[i].address);
		buf_init(&again, ENVELOPE_MAX_BYTES);
		if (envelope_encode(&e, &again) < 0 ||
		    !view_eq(buf_view(&again), view_make(data, size)))
			bug("an envelope does not encode to what it was decoded from");
		buf_clear(&again);
	}
	arena_clear(&arena);
	return 0;
}
