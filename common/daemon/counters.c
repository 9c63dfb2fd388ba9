#include "common/daemon/counters.h"
#include "common/base/fd.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SIZE_SEALS = F_SEAL_SHRINK | F_SEAL_GROW };

const char *const counter_names[COUNTERS] = {
	[COUNTER_RECEIVED] = "received",
	[COUNTER_ACCEPTED] = "accepted",
	[COUNTER_ACCEPTED_BYTES] = "accepted_bytes",
	[COUNTER_DELIVERED] = "delivered",
	[COUNTER_DELIVERED_BYTES] = "delivered_bytes",
	[COUNTER_DEFERRALS] = "deferrals",
	[COUNTER_DEFERRED] = "deferred",
	[COUNTER_BOUNCED] = "bounced",
	[COUNTER_REJECTED] = "rejected",
	[COUNTER_REJECT_WARNINGS] = "reject_warnings",
	[COUNTER_HELD] = "held",
	[COUNTER_DISCARDED] = "discarded",
};

static struct counters nowhere, *present = &nowhere;

void
counter_add(enum counter c, uint64_t n)
{
	atomic_fetch_add_explicit(&present->values[c], n, memory_order_relaxed);
}

static struct counters *
map(int fd, struct err *err)
{
	void *p = mmap(NULL, sizeof(struct counters), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p != MAP_FAILED)
		return p;
	err_sys(err, ERR_TEMP, "mmap");
	return NULL;
}

struct counters *
counters_new(int *fd, struct err *err)
{
	struct counters *c = NULL;

	*fd = memfd_create("counters", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (*fd < 0) {
		err_sys(err, ERR_TEMP, "memfd_create");
		return NULL;
	}
	/* one that a process could make shorter would be the end of master */
	if (ftruncate(*fd, sizeof *c) < 0 || fcntl(*fd, F_ADD_SEALS, SIZE_SEALS | F_SEAL_SEAL) < 0)
		err_sys(err, ERR_TEMP, "counters");
	else
		c = map(*fd, err);
	if (c == NULL)
		fd_close(fd);
	return c;
}

int
counters_use(int fd, struct err *err)
{
	struct counters *c = NULL;
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	if (fstat(fd, &st) < 0)
		err_sys(err, ERR_PERM, "counters");
	else if (seals < 0 || (seals & SIZE_SEALS) != SIZE_SEALS ||
		 st.st_size != sizeof(struct counters))
		err_set(err, ERR_PERM, "this is no page of counters");
	else
		c = map(fd, err);
	fd_close(&fd);
	if (c == NULL)
		return -1;
	present = c;
	return 0;
}
