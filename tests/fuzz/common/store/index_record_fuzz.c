/* A record whose checksum is right may still be a lie: the fuzzer gets the checksum for free. */
#include "common/base/codec.h"
#include "common/store/index_record.h"

static void
seal(unsigned char *value, size_t len, const unsigned char *key, size_t key_len)
{
	uint32_t crc = crc32c(crc32c(0, key, key_len), value + 4, len - 4);

	memcpy(value, &crc, sizeof crc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned char value[2048], key[MESSAGE_KEY], again[MESSAGE_VALUE_MAX];
	struct message m;
	struct box b;

	if (size < 4 || size > sizeof value)
		return 0;
	memcpy(value, data, size);
	index_message_decode(1, 2, view_make(value, size), &m, NULL);
	index_message_key(key, 1, 2);
	seal(value, size, key, sizeof key);
	if (index_message_decode(1, 2, view_make(value, size), &m, NULL) == 0 &&
	    (index_message_encode(1, &m, again) != size || memcmp(again, value, size) != 0))
		bug("message record changes");
	key_u32(key, 1);
	seal(value, size, key, BOX_KEY);
	box_decode(1, view_make(value, size), &b, NULL);
	return 0;
}
