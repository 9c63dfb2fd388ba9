/* cidr:FILE - networks and what is said of them (cidr_table(5)).  A key that is no address matches nothing. */
#include "common/net/addr.h"
#include "common/table/table_rules.h"

#include "common/base/mem.h"

#include <stdlib.h>

static int
cidr_cut(struct view *rest, struct view *pattern, struct err *err)
{
	size_t i = 0;

	while (i < rest->len && !ascii_is_space(rest->p[i]))
		i++;
	if (i == 0)
		return err_set(err, ERR_SYNTAX, "no address pattern");
	*pattern = view_make(rest->p, i);
	*rest = view_make(rest->p + i, rest->len - i);
	return 0;
}

static void *
cidr_compile(struct view pattern, unsigned ngroups, struct err *err)
{
	struct net_prefix net;
	struct net_prefix *out;

	(void)ngroups;
	if (pattern.p[0] == '[' && pattern.p[pattern.len - 1] == ']') /* around all of it */
		pattern = view_make(pattern.p + 1, pattern.len - 2);
	if (net_prefix_parse(pattern, &net, err) < 0)
		return NULL;
	out = x_malloc(sizeof *out);
	*out = net;
	return out;
}

static int
cidr_match(const void *pattern, const struct rule_subject *s, struct rule_match *m, struct err *err)
{
	(void)m, (void)err;
	return net_list_match(pattern, 1, &s->addr) ? 0 : 1;
}

static bool
cidr_prepare(struct rule_subject *s)
{
	return addr_parse(s->text, &s->addr);
}

const struct rule_kind rules_cidr = {
	.type = "cidr",
	.cut = cidr_cut,
	.compile = cidr_compile,
	.match = cidr_match,
	.free = free,
	.prepare = cidr_prepare,
};

const struct table_driver table_cidr = {
	.type = "cidr",
	.text =
	    "Networks and their values in the text FILE, read as texthash: is: `192.0.2.0/24 REJECT`.",
	.suffix = "",
	.is_resident = true,
	.rules = &rules_cidr,
	.close = rules_free,
	.lookup = rules_lookup,
	.each = rules_each,
};
