/* own_addresses.h - the addresses of this machine: inet_interfaces, proxy_interfaces. */
#ifndef COMMON_NET_OWN_ADDRESSES_H
#define COMMON_NET_OWN_ADDRESSES_H

#include "common/config/conf.h"
#include "common/net/addr.h"

struct own_addresses {
	struct sockaddr_storage *addresses; /* owned */
	size_t count;
};

/* Adds what a parameter names; "all" asks the kernel: before the cage closes.  0 or -1. */
int own_addresses_read(
    struct own_addresses *own, const struct conf *conf, const char *name, struct err *err);
void own_addresses_clear(struct own_addresses *own);
/* Without regard to the port. */
bool own_addresses_have(const struct own_addresses *own, const struct sockaddr_storage *a);

#endif
