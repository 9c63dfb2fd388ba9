/* The input is a recipient, a newline, and a table (as texthash: reads it) of aliases and canonical addresses; accounts are those whose local part
 * has an even length. */
#include "authd/resolve.h"

#include "common/base/mem.h"
#include "common/table/table.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int
look_up(void *arg, enum resolve_table t, struct lookup_key key, struct buf *value, struct err *err)
{
	struct view rest = *(struct view *)arg;
	struct buf k, v;
	int line = 0, r;

	(void)t;
	buf_init(&k, 400);
	buf_init(&v, 4000);
	while ((r = table_text_next(&rest, &line, &k, &v, err)) != 1)
		if (r == 0 && view_case_eq(buf_view(&k), key.text)) {
			buf_append_view(value, buf_view(&v));
			break;
		}
	buf_clear(&k);
	buf_clear(&v);
	return r;
}

/* A file is the alias that has its name. */
static int
include(void *arg, const char *path, struct buf *text, struct err *err)
{
	int r = look_up(
	    arg, RESOLVE_LOCAL_ALIASES, (struct lookup_key){ view_of(path), false }, text, err);

	return r == 0 ? 0 : err_set(err, ERR_TEMP, "no such file");
}

static int
user(void *arg, const char *address, struct user_record *out, struct err *err)
{
	(void)arg, (void)err;
	*out = (struct user_record){ 0 };
	return (strchr(address, '@') - address) % 2;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char secret[] = "a secret";
	struct view rest = view_make(data, size < 4096 ? size : 4096), first, table;
	struct resolve_source source = { look_up, include, user, &table };
	struct resolve_conf conf;
	struct resolution r;
	struct err e = { 0 };
	struct address parsed;
	char to[ADDRESS_MAX + 1], *address;

	view_cut(rest, '\n', &first, &table);
	address = x_strndup(first.p, first.len);
	resolve_conf_init(&conf, "a b.c", "d", "e");
	conf.has_table[RESOLVE_ALIASES] = conf.has_table[RESOLVE_CANONICAL] =
	    conf.has_table[RESOLVE_LOCAL_ALIASES] = true;
	conf.expand_owner = true;
	conf.srs = (struct srs){ "s.z", 21, { secret }, 1 };
	conf.rewrite = (struct rewrite_conf){ .canonical = ~0U,
		.masquerade = ~0U,
		.masquerade_domains = "!x.m, m",
		.exceptions = "root",
		.keeps_extension = true };
	conf.origin = "d";
	conf.delimiter = "+";
	if (resolve_address(&conf, &source, address, "x@y.z", &r, &e) == 0) {
		if (r.count > RESOLVE_RESULTS_MAX || (r.is_known && r.count == 0))
			bug("%zu results", r.count);
		resolution_clear(&r);
	}
	/* of an address comes an address */
	if (address_parse(view_of(address), ADDRESS_ALLOW_UTF8, &parsed, &e) == 0 &&
	    rewrite_address(&conf, &source, REWRITE_HEADER_SENDER, parsed.text, to, &e) == 0 &&
	    address_parse(view_of(to), ADDRESS_ALLOW_UTF8, &parsed, &e) < 0)
		bug("\"%s\" becomes \"%s\"", address, to);
	resolve_conf_clear(&conf);
	free(address);
	return 0;
}
