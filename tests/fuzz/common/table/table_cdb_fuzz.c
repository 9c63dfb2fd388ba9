/* Any bytes as a .cdb file; the last 8 of them are looked up too. */
#include "common/base/fd.h"
#include "common/table/table_driver.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("cdb", MFD_CLOEXEC);
	char path[64];
	struct table_file file = { AT_FDCWD, path, path };
	struct buf value;
	void *state;
	struct err e;

	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	buf_init(&value, 1 << 16);
	if (fd_write_all(fd, data, size, &e) == 0 &&
	    table_cdb.open("fuzz", &file, &state, &e) == 0) {
		table_cdb.lookup(state, VIEW_LIT("alice"), &value, &e);
		buf_reset(&value);
		if (size >= 8)
			table_cdb.lookup(state, view_make(data + size - 8, 8), &value, &e);
		table_cdb.close(state);
	}
	buf_clear(&value);
	fd_close(&fd);
	return 0;
}
