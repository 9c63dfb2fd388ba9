#include "common/net/own_addresses.h"
#include "common/base/mem.h"

#include <ifaddrs.h>
#include <stdlib.h>

static void
own_add(struct own_addresses *own, const struct sockaddr_storage *a)
{
	own->addresses = x_realloc(own->addresses, own->count + 1, sizeof *own->addresses);
	own->addresses[own->count++] = *a;
}

static int
own_add_interfaces(struct own_addresses *own, struct err *err)
{
	struct ifaddrs *list, *i;

	if (getifaddrs(&list) < 0)
		return err_sys(err, ERR_TEMP, "addresses of this machine");
	for (i = list; i != NULL; i = i->ifa_next) {
		struct sockaddr_storage a = { 0 };

		if (i->ifa_addr == NULL)
			continue;
		if (i->ifa_addr->sa_family == AF_INET)
			memcpy(&a, i->ifa_addr, sizeof(struct sockaddr_in));
		else if (i->ifa_addr->sa_family == AF_INET6)
			memcpy(&a, i->ifa_addr, sizeof(struct sockaddr_in6));
		else
			continue;
		own_add(own, &a);
	}
	freeifaddrs(list);
	return 0;
}

/* inet_interfaces and proxy_interfaces: words and addresses; host names there are master's to resolve. */
int
own_addresses_read(
    struct own_addresses *own, const struct conf *conf, const char *name, struct err *err)
{
	struct view rest = view_of(conf_str(conf, name)), item;
	struct sockaddr_storage a;

	while (conf_next(&rest, &item)) {
		if (item.len > 2 && item.p[0] == '[' && item.p[item.len - 1] == ']')
			item = view_make(item.p + 1, item.len - 2);
		if (view_case_eq_str(item, "all")) {
			if (own_add_interfaces(own, err) < 0)
				return -1;
		} else if (view_case_eq_str(item, "loopback-only")) {
			addr_parse(VIEW_LIT("127.0.0.1"), &a);
			own_add(own, &a);
			addr_parse(VIEW_LIT("::1"), &a);
			own_add(own, &a);
		} else if (addr_parse(item, &a)) {
			own_add(own, &a);
		}
	}
	return 0;
}

void
own_addresses_clear(struct own_addresses *own)
{
	x_free(&own->addresses);
	own->count = 0;
}

static bool
address_eq(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	if (a->ss_family != b->ss_family)
		return false;
	if (a->ss_family == AF_INET)
		return memcmp(&((const struct sockaddr_in *)a)->sin_addr,
			   &((const struct sockaddr_in *)b)->sin_addr, 4) == 0;
	return a->ss_family == AF_INET6 &&
	       memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr,
		   &((const struct sockaddr_in6 *)b)->sin6_addr, 16) == 0;
}

bool
own_addresses_have(const struct own_addresses *own, const struct sockaddr_storage *a)
{
	for (size_t i = 0; i < own->count; i++)
		if (address_eq(&own->addresses[i], a))
			return true;
	return false;
}
