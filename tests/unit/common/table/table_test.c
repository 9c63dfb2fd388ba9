#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/mem.h"
#include "common/table/table.h"
#include "common/table/table_driver.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];

static int
make_dir(void **state)
{
	(void)state;
	snprintf(dir, sizeof dir, "/tmp/table_test.XXXXXX");
	return mkdtemp(dir) == NULL;
}

static int
remove_dir(void **state)
{
	static const char *const names[] = { "map", "map.db", "map.cdb", "map.lmdb", "other",
		"other.db", "big", "big.db", "big.cdb", "big.lmdb", "DB_CONFIG" };
	char path[128];

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		snprintf(path, sizeof path, "%s/%s", dir, names[i]);
		unlink(path);
	}
	return rmdir(dir); /* and so no temporary file is left behind */
}

static char *
path_of(const char *name)
{
	return x_asprintf("%s/%s", dir, name);
}

static void
put_file(const char *name, const char *text)
{
	char *path = path_of(name);
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
	free(path);
}

static char *
spec_of(const char *type, const char *name)
{
	return x_asprintf("%s:%s/%s", type, dir, name);
}

struct warnings {
	unsigned count;
	char last[512];
};

static void
on_warn(void *arg, const char *text)
{
	struct warnings *w = arg;

	w->count++;
	snprintf(w->last, sizeof w->last, "%s", text);
}

/* Value, "" when not found, "!" on error. */
static const char *
look(struct table *t, const char *key)
{
	static char out[4096];
	struct err e;
	struct buf v;
	int r;

	buf_init(&v, sizeof out - 1);
	r = table_lookup(t, view_of(key), &v, &e);
	snprintf(out, sizeof out, "%s", r == 0 ? buf_cstr(&v) : r == 1 ? "" : "!");
	buf_clear(&v);
	return out;
}

static const char *
list_look(struct table_list *l, const char *key)
{
	static char out[4096];
	struct err e;
	struct buf v;
	int r;

	buf_init(&v, sizeof out - 1);
	r = table_list_lookup(l, (struct lookup_key){ view_of(key), false }, &v, &e);
	snprintf(out, sizeof out, "%s", r == 0 ? buf_cstr(&v) : r == 1 ? "" : "!");
	buf_clear(&v);
	return out;
}

static void
build_ok(const char *type, const char *name, struct warnings *w)
{
	char *spec = spec_of(type, name);
	struct err e;

	if (table_build(spec, TABLE_FORM_MAP, on_warn, w, &e) < 0)
		fail_msg("%s", e.text);
	free(spec);
}

static struct table *
open_ok(const char *spec)
{
	struct table *t;
	struct err e;

	if (table_open(spec, &t, &e) < 0)
		fail_msg("%s", e.text);
	return t;
}

static const char sample[] = "# comment\n"
			     "Alice@Example.TEST   bob@example.test\n"
			     "\n"
			     "list@example.test a@example.test,\n"
			     "  # a comment between\n"
			     "\tb@example.test\n"
			     "@catch.test    all@example.test  \r\n"
			     "\"two words\"@example.test x@y.test\n";

static void
check_sample(const char *type)
{
	char *spec = spec_of(type, "map");
	struct table *t = open_ok(spec);

	assert_string_equal(look(t, "alice@example.test"), "bob@example.test");
	assert_string_equal(look(t, "ALICE@example.test"), "bob@example.test");
	assert_string_equal(look(t, "list@example.test"), "a@example.test,\tb@example.test");
	assert_string_equal(look(t, "@catch.test"), "all@example.test");
	assert_string_equal(look(t, "\"two words\"@example.test"), "x@y.test");
	assert_string_equal(look(t, "nobody@example.test"), "");
	assert_string_equal(look(t, ""), "");
	table_close(t);
	free(spec);
}

static void
built_and_text_tables_agree(void **state)
{
	static const char *const types[] = { "hash", "btree", "lmdb", "cdb" };
	struct warnings w = { 0 };

	(void)state;
	put_file("map", sample);
	for (size_t i = 0; i < 4; i++) {
		build_ok(types[i], "map", &w);
		check_sample(types[i]);
	}
	check_sample("texthash");
	assert_int_equal(w.count, 0);
}

static void
odd_lines_are_reported_and_skipped(void **state)
{
	struct warnings w = { 0 };
	char *spec = spec_of("hash", "map");
	struct table *t;

	(void)state;
	put_file("map", "a 1\nonlykey\na 2\nb 3\n");
	build_ok("hash", "map", &w);
	assert_int_equal(w.count, 2);
	assert_non_null(strstr(w.last, "line 3: duplicate entry: \"a\""));
	t = open_ok(spec);
	assert_string_equal(look(t, "a"), "1");
	assert_string_equal(look(t, "b"), "3");
	assert_string_equal(look(t, "onlykey"), "");
	table_close(t);
	free(spec);
}

static void
a_rebuilt_map_is_seen_after_refresh(void **state)
{
	struct warnings w = { 0 };
	char *spec = spec_of("hash", "map");
	char *db = path_of("map.db");
	struct table *t;
	struct err e;

	(void)state;
	put_file("map", "a 1\n");
	build_ok("hash", "map", &w);
	t = open_ok(spec);
	put_file("map", "a 2\n");
	build_ok("hash", "map", &w);
	assert_string_equal(look(t, "a"), "1"); /* the old file is whole as long as it is open */
	assert_int_equal(table_refresh(t, &e), 0);
	assert_string_equal(look(t, "a"), "2");
	assert_int_equal(unlink(db), 0);
	assert_int_equal(table_refresh(t, &e), -1);
	assert_int_equal(e.kind, ERR_GONE);
	assert_string_equal(look(t, "a"), "2");
	table_close(t);
	free(spec);
	free(db);
}

static void
a_built_map_has_the_modes_of_its_source(void **state)
{
	struct warnings w = { 0 };
	char *source = path_of("map"), *db = path_of("map.db");
	struct stat st;

	(void)state;
	put_file("map", "a 1\n");
	assert_int_equal(chmod(source, 0640), 0);
	assert_int_equal(chown(source, (uid_t)-1, geteuid() == 0 ? 12 : getegid()), 0);
	build_ok("hash", "map", &w);
	assert_int_equal(stat(db, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	assert_int_equal(st.st_gid, geteuid() == 0 ? 12 : getegid());
	free(source);
	free(db);
}

static void
errors_have_their_kind(void **state)
{
	static const struct {
		const char *spec;
		enum err_kind kind;
	} cases[] = {
		{ "nosuch:/x", ERR_SYNTAX },
		{ "/no/type", ERR_SYNTAX },
		{ "hash:", ERR_SYNTAX },
		{ "hash:/nonexistent/map", ERR_GONE },
		{ "texthash:/nonexistent/map", ERR_GONE },
		{ "texthash:/dev/null", ERR_PERM },
		{ "inline:{ a", ERR_SYNTAX },
		{ "inline:{ {a=1}, {a=2} }", ERR_SYNTAX },
		{ "inline:{ {a=1}} }", ERR_SYNTAX },
		{ "static:{ }", ERR_SYNTAX },
	};
	char *spec = spec_of("hash", "map");
	struct table *t;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(table_open(cases[i].spec, &t, &e), -1);
		assert_int_equal(e.kind, cases[i].kind);
		assert_null(t);
	}
	put_file(
	    "map.db", "this is no Berkeley DB file, and long enough to be read as a page of one.");
	assert_int_equal(table_open(spec, &t, &e), -1);
	assert_int_equal(e.kind, ERR_TEMP);
	assert_int_equal(table_build("static:x", TABLE_FORM_MAP, NULL, NULL, &e), -1);
	assert_int_equal(table_build("hash:/nonexistent/map", TABLE_FORM_MAP, NULL, NULL, &e), -1);
	free(spec);
}

/* Cut short at any page, by a copy that did not end: never opened as if it were whole. */
static void
maps_that_are_missing_or_damaged_say_what_to_do(void **state)
{
	static const char *const types[] = { "hash", "btree", "cdb", "lmdb" };
	static const char *const files[] = { "map.db", "map.db", "map.cdb", "map.lmdb" };
	char text[20 * 300] = "", expected[300];
	struct warnings w = { 0 };
	size_t used = 0;
	struct stat st;
	struct table *t;
	struct err e;

	(void)state;
	for (int i = 0; i < 300; i++)
		used += (size_t)snprintf(text + used, sizeof text - used, "key%d value%d\n", i, i);
	put_file("map", text);
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
		char *spec = spec_of(types[i], "map"), *db = path_of(files[i]);

		snprintf(expected, sizeof expected, "not built; run: estafeta map build %s", spec);
		assert_int_equal(table_open(spec, &t, &e), -1);
		assert_int_equal(e.kind, ERR_GONE);
		assert_string_equal(e.text, expected);
		build_ok(types[i], "map", &w);
		assert_int_equal(stat(db, &st), 0);
		snprintf(expected, sizeof expected,
		    "damaged, or of another type; run: estafeta map build %s", spec);
		for (off_t size = st.st_size - 1; size >= 0;
		     size = size > 512 ? size - 512 : size - 64) {
			assert_int_equal(truncate(db, size), 0);
			assert_int_equal(table_open(spec, &t, &e), -1);
			assert_int_equal(e.kind, ERR_TEMP);
			assert_string_equal(e.text, expected);
		}
		assert_int_equal(unlink(db), 0);
		free(spec);
		free(db);
	}
}

/* In place, by cp or an editor: what the open database no longer finds is not "unknown". */
static void
a_map_that_is_written_over_says_try_again(void **state)
{
	static const char *const types[] = { "hash", "btree", "cdb", "texthash" };
	static const char *const files[] = { "map.db", "map.db", "map.cdb", "map" };
	struct warnings w = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
		bool is_paged = strcmp(types[i], "texthash") != 0;
		char *spec = spec_of(types[i], "map"), *path = path_of(files[i]);
		struct table *t;
		struct buf value;
		struct err e;

		put_file("map", "a 1\nb 2\n");
		if (is_paged)
			build_ok(types[i], "map", &w);
		t = open_ok(spec);
		assert_int_equal(truncate(path, 1), 0);
		assert_int_equal(table_refresh(t, &e), is_paged ? -1 : 0);
		buf_init(&value, 100);
		assert_int_equal(table_lookup(t, view_of("nobody"), &value, &e), is_paged ? -1 : 1);
		if (is_paged) {
			assert_int_equal(e.kind, ERR_TEMP);
			build_ok(types[i], "map", &w);
			assert_int_equal(table_refresh(t, &e), 0);
			assert_string_equal(look(t, "b"), "2");
			assert_int_equal(table_lookup(t, view_of("nobody"), &value, &e), 1);
		}
		buf_clear(&value);
		table_close(t);
		free(spec);
		free(path);
	}
}

static void
types_are_listed(void **state)
{
	const char *type, *text;
	size_t n = 0;

	(void)state;
	while (table_type_get(n, &type, &text)) {
		assert_true(type[0] != '\0' && text[0] != '\0');
		n++;
	}
	assert_int_equal(n, 14);
}

static void
inline_and_static_tables(void **state)
{
	struct table *t = open_ok("inline:{ {Key = some value}, {other=2} plain=3 }");

	(void)state;
	assert_string_equal(look(t, "key"), "some value");
	assert_string_equal(look(t, "other"), "2");
	assert_string_equal(look(t, "plain"), "3");
	assert_string_equal(look(t, "none"), "");
	table_close(t);
	t = open_ok("static:{ all the same }");
	assert_string_equal(look(t, "anything"), "all the same");
	table_close(t);
}

static void
the_first_hit_of_a_list_wins(void **state)
{
	struct table_list *l;
	struct buf v;
	struct err e;

	(void)state;
	assert_int_equal(
	    table_list_open("inline:{ {a=1}, {b=2} }, inline:{a=9 c=3}\n static:{x y}", &l, &e), 0);
	assert_false(table_list_is_empty(l));
	buf_init(&v, 100);
	assert_int_equal(
	    table_list_lookup(l, (struct lookup_key){ view_of("a"), false }, &v, &e), 0);
	assert_string_equal(buf_cstr(&v), "1");
	buf_reset(&v);
	assert_int_equal(
	    table_list_lookup(l, (struct lookup_key){ view_of("c"), false }, &v, &e), 0);
	assert_string_equal(buf_cstr(&v), "3");
	buf_reset(&v);
	assert_int_equal(
	    table_list_lookup(l, (struct lookup_key){ view_of("z"), false }, &v, &e), 0);
	assert_string_equal(buf_cstr(&v), "x y");
	buf_clear(&v);
	assert_int_equal(table_list_refresh(l, &e), 0);
	table_list_close(l);
	assert_int_equal(table_list_open("", &l, &e), 0);
	assert_true(table_list_is_empty(l));
	table_list_close(l);
	assert_int_equal(table_list_open("static:a nosuch:b", &l, &e), -1);
	assert_null(l);
}

/* CVE-2017-10140: a DB_CONFIG in the working directory or beside the map is not read. */
static void
db_config_is_not_read(void **state)
{
	struct warnings w = { 0 };
	char cwd[4096], *spec = spec_of("hash", "map"), *log = path_of("log");
	struct table *t;

	(void)state;
	assert_non_null(getcwd(cwd, sizeof cwd));
	put_file("DB_CONFIG", "set_no_such_thing_in_any_version 1\n");
	put_file("map", "a 1\n");
	assert_int_equal(chdir(dir), 0);
	build_ok("hash", "map", &w);
	t = open_ok(spec);
	assert_string_equal(look(t, "a"), "1");
	table_close(t);
	assert_int_equal(chdir(cwd), 0);
	free(spec);
	free(log);
}

static void
large_maps(void **state)
{
	struct warnings w = { 0 };
	char *path = path_of("big"), *spec = spec_of("hash", "big"), key[32], want[32];
	FILE *f = fopen(path, "w");
	struct table *t;

	(void)state;
	assert_non_null(f);
	for (int i = 0; i < 20000; i++)
		fprintf(f, "user%d@example.test\ttarget%d\n", i, i);
	assert_int_equal(fclose(f), 0);
	build_ok("hash", "big", &w);
	t = open_ok(spec);
	for (int i = 0; i < 20000; i += 997) {
		snprintf(key, sizeof key, "user%d@example.test", i);
		snprintf(want, sizeof want, "target%d", i);
		assert_string_equal(look(t, key), want);
	}
	table_close(t);
	free(path);
	free(spec);
}

static void
text_records(void **state)
{
	struct view rest = view_of("a b\n\0"), nul = view_make("k v\0w\nz 1", 9);
	struct buf key, value;
	int line = 0;
	struct err e;

	(void)state;
	buf_init(&key, 10);
	buf_init(&value, 10);
	assert_int_equal(table_text_next(&rest, &line, &key, &value, &e), 0);
	assert_int_equal(table_text_next(&rest, &line, &key, &value, &e), 1);
	line = 0;
	assert_int_equal(table_text_next(&nul, &line, &key, &value, &e), -1);
	assert_int_equal(e.kind, ERR_SYNTAX);
	assert_int_equal(table_text_next(&nul, &line, &key, &value, &e), 0);
	assert_int_equal(line, 2);
	rest = view_of("key 12345678901\nnext 1\n");
	line = 0;
	assert_int_equal(table_text_next(&rest, &line, &key, &value, &e), -1);
	assert_int_equal(e.kind, ERR_LIMIT);
	assert_int_equal(table_text_next(&rest, &line, &key, &value, &e), 0);
	buf_clear(&key);
	buf_clear(&value);
}

static void
test_aliases_text(void **state)
{
	static const char before[] = "# aliases\n"
				     "root: alice,\n"
				     "  # not the end\n"
				     "\tbob\n"
				     "Tight:x\n"
				     "loose : y\n"
				     "\"quoted\": z\n"
				     "\"odd:name@x\" : \"|cmd a:b\"\n"
				     "no colon\n"
				     "  goes on: here\n"
				     "with@domain: x\n"
				     "\"white space\": x\n"
				     ": nobody\n"
				     "\"open: x\n"
				     "last: :include:/x";
	static const char *const records[][2] = { { "root", "alice,\tbob" }, { "Tight", "x" },
		{ "loose", "y" }, { "quoted", "z" }, { "odd:name@x", "\"|cmd a:b\"" },
		{ "last", ":include:/x" } };
	char *text = x_strdup(before);
	struct warnings w = { 0 };
	struct view rest = view_of(text);
	struct buf key, value;
	struct err e;
	int line = 0;

	(void)state;
	table_aliases_to_map(text, strlen(text), "/etc/aliases", on_warn, &w);
	assert_int_equal(strlen(text), strlen(before));
	assert_int_equal(w.count, 5);
	assert_non_null(strstr(w.last, "/etc/aliases, line 14"));
	buf_init(&key, 100);
	buf_init(&value, 100);
	for (size_t i = 0; i < sizeof records / sizeof records[0]; i++) {
		assert_int_equal(table_text_next(&rest, &line, &key, &value, &e), 0);
		assert_string_equal(buf_cstr(&key), records[i][0]);
		assert_string_equal(buf_cstr(&value), records[i][1]);
	}
	assert_int_equal(table_text_next(&rest, &line, &key, &value, &e), 1);
	buf_clear(&key);
	buf_clear(&value);
	free(text);
}

static void
test_aliases_are_built(void **state)
{
	char *spec = spec_of("hash", "aliases");
	struct table *t;
	struct buf value;
	struct err e;

	(void)state;
	put_file("aliases", "Root: alice, bob\n");
	assert_int_equal(table_build(spec, TABLE_FORM_ALIASES, NULL, NULL, &e), 0);
	assert_int_equal(table_open(spec, &t, &e), 0);
	buf_init(&value, 100);
	assert_int_equal(table_lookup(t, VIEW_LIT("root"), &value, &e), 0);
	assert_string_equal(buf_cstr(&value), "alice, bob");
	buf_clear(&value);
	table_close(t);
	unlink(spec + strlen("hash:"));
	free(spec);
	spec = spec_of("hash", "aliases.db");
	unlink(spec + strlen("hash:"));
	free(spec);
}

/* The directory is held, not its path; the working directory stays what it is. */
static void
a_prepared_list_needs_no_path(void **state)
{
	char *specs = x_asprintf("hash:%s/map, texthash:%s/other, static:last", dir, dir);
	char *moved = x_asprintf("%s.moved", dir);
	char before[4096], after[4096];
	struct warnings w = { 0 };
	struct table_list *l;
	struct err e;

	(void)state;
	put_file("map", "one first\n");
	put_file("other", "two second\n");
	build_ok("hash", "map", &w);
	assert_int_equal(table_list_prepare(specs, &l, &e), 0);
	assert_int_equal(rename(dir, moved), 0);
	assert_string_equal(list_look(l, "one"), "!");
	assert_non_null(getcwd(before, sizeof before));
	assert_int_equal(table_list_refresh(l, &e), 0);
	assert_non_null(getcwd(after, sizeof after));
	assert_string_equal(before, after);
	assert_string_equal(list_look(l, "one"), "first");
	assert_string_equal(list_look(l, "two"), "second");
	assert_string_equal(list_look(l, "three"), "last");

	assert_int_equal(rename(moved, dir), 0);
	put_file("map", "one changed\n");
	build_ok("hash", "map", &w);
	assert_int_equal(rename(dir, moved), 0);
	assert_int_equal(table_list_refresh(l, &e), 0);
	assert_string_equal(list_look(l, "one"), "changed");
	table_list_close(l);

	assert_int_equal(table_list_prepare(specs, &l, &e), -1);
	assert_int_equal(e.kind, ERR_GONE);
	assert_int_equal(rename(moved, dir), 0);
	free(moved);
	free(specs);
}

static void
add_value(void *arg, const char *where, struct view value)
{
	struct buf *all = arg;
	const char *name = strrchr(where, '/');

	buf_printf(all, "%s=%.*s;", name != NULL ? name + 1 : where, VIEW_ARG(value));
}

/* With the line that an entry ends in, or a rule begins in; of a database, what it is built from. */
static void
all_values_of_a_text_are_told(void **state)
{
	static const struct {
		const char *spec, *values;
	} rows[] = {
		{ "texthash:%s/map", "map, line 1=x;map, line 4=y  z;" },
		{ "hash:%s/map", "map, line 1=x;map, line 4=y  z;" },
		{ "proxy:lmdb:%s/nothing", "" },
		{ "regexp:%s/other", "other, line 2=X;other, line 4=Z;" },
		{ "cidr:{ {192.0.2.0/24 a}, {192.0.2.0/33 b}, {::/0 c d} }",
		    "cidr map in braces, line 1=a;cidr map in braces, line 3=c d;" },
		{ "static:x", "" },
		{ "unionmap:{texthash:%s/map}", "" },
	};
	struct buf all;
	struct err e;

	(void)state;
	put_file("map", "a x\nnovalue\nb y\n  z\n");
	put_file("other", "if /x/\n/a/ X\n/(/ Y\n!/b/ Z\nendif\n");
	buf_init(&all, 1000);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char spec[200];
		const char *at = strstr(rows[i].spec, "%s");

		buf_reset(&all);
		if (at == NULL)
			snprintf(spec, sizeof spec, "%s", rows[i].spec);
		else
			snprintf(spec, sizeof spec, "%.*s%s%s", (int)(at - rows[i].spec),
			    rows[i].spec, dir, at + 2);
		if (table_each_value(spec, TABLE_FORM_MAP, add_value, &all, &e) < 0)
			fail_msg("%s", e.text);
		assert_string_equal(buf_cstr(&all), rows[i].values);
	}
	assert_int_equal(
	    table_each_value("pcre:/nothing/there", TABLE_FORM_MAP, add_value, &all, &e), -1);
	assert_int_equal(table_each_value("nonsense:x", TABLE_FORM_MAP, add_value, &all, &e), -1);
	buf_clear(&all);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_aliases_text),
		cmocka_unit_test(test_aliases_are_built),
		cmocka_unit_test_setup_teardown(
		    all_values_of_a_text_are_told, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(built_and_text_tables_agree, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(
		    odd_lines_are_reported_and_skipped, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(
		    a_rebuilt_map_is_seen_after_refresh, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(
		    a_built_map_has_the_modes_of_its_source, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(errors_have_their_kind, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(
		    a_prepared_list_needs_no_path, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(
		    maps_that_are_missing_or_damaged_say_what_to_do, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(
		    a_map_that_is_written_over_says_try_again, make_dir, remove_dir),
		cmocka_unit_test(types_are_listed),
		cmocka_unit_test(inline_and_static_tables),
		cmocka_unit_test(the_first_hit_of_a_list_wins),
		cmocka_unit_test_setup_teardown(db_config_is_not_read, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(large_maps, make_dir, remove_dir),
		cmocka_unit_test(text_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
