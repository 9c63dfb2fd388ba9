/* Maildirs that real Dovecot and Courier servers wrote, opened in place: clients must not notice.  The samples are not part
 * of the source tree: $ESTAFETA_TESTDATA names the directory that has maildir/, without it ../shared/testdata is
 * looked at, and without that the tests are skipped. */
#include "tests/unit/common/store/store_fixture.h"

#include <jansson.h>
#include <spawn.h>

extern char **environ;

static const char *
testdata(void)
{
	static const char *const candidates[] = { "../shared/testdata", "../../shared/testdata" };
	const char *dir = getenv("ESTAFETA_TESTDATA");

	for (size_t i = 0; dir == NULL && i < sizeof candidates / sizeof candidates[0]; i++)
		if (access(candidates[i], R_OK) == 0)
			dir = candidates[i];
	return dir != NULL && access(dir, R_OK) == 0 ? dir : NULL;
}

static void
unpack(struct fixture *f, const char *sample)
{
	char *tar = arena_printf(&f->a, "%s/maildir/%s.tar.gz", testdata(), sample);
	char *args[] = { "tar", "-xzf", tar, "-C", f->dir, "--no-same-owner", NULL };
	int status;
	pid_t pid;

	assert_int_equal(posix_spawnp(&pid, "tar", NULL, NULL, args, environ), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static int64_t
parse_date(const char *text)
{
	struct tm tm = { 0 };

	assert_non_null(strptime(text, "%d-%b-%Y %H:%M:%S +0000", &tm));
	return timegm(&tm);
}

static bool
has_word(struct view words, const char *word)
{
	struct view token;

	while (view_token(&words, " ", &token))
		if (view_case_eq_str(token, word))
			return true;
	return false;
}

static void
check_flags(struct mailbox *m, const struct message_info *i, struct view flags)
{
	static const struct {
		const char *name;
		uint16_t flag;
	} system_flags[] = { { "\\Seen", FLAG_SEEN }, { "\\Answered", FLAG_ANSWERED },
		{ "\\Flagged", FLAG_FLAGGED }, { "\\Deleted", FLAG_DELETED },
		{ "\\Draft", FLAG_DRAFT } };
	unsigned want = 0, have = 0;
	struct view rest = flags, token;

	for (size_t k = 0; k < 5; k++)
		assert_int_equal(
		    has_word(flags, system_flags[k].name), (i->flags & system_flags[k].flag) != 0);
	while (view_token(&rest, " ", &token))
		want += token.p[0] != '\\';
	for (unsigned n = 0; n < STORE_MAX_KEYWORDS; n++)
		if (i->keywords.bits[n / 64] >> (n % 64) & 1) {
			assert_non_null(mailbox_keyword(m, n));
			assert_true(has_word(flags, mailbox_keyword(m, n)));
			have++;
		}
	assert_int_equal(have, want);
}

/* "1 (UID 1 FLAGS (\\Seen) INTERNALDATE \"...\" RFC822.SIZE 11758 ENVELOPE ..." */
static void
check_message(struct fixture *f, struct mailbox *m, const char *fetch)
{
	const char *flags = strstr(fetch, "FLAGS ("), *date = strstr(fetch, "INTERNALDATE \""),
		   *size = strstr(fetch, "RFC822.SIZE "), *uid = strstr(fetch, "(UID ");
	struct message_info i = fixture_get(f, m, (uint32_t)strtoul(uid + 5, NULL, 10));

	check_flags(m, &i, view_make(flags + 7, (size_t)(strchr(flags, ')') - flags - 7)));
	assert_int_equal(i.internal_date, parse_date(date + 14));
	assert_int_equal(mailbox_measure(m, &i, 1), 1);
	assert_int_equal(i.size, strtoul(size + 12, NULL, 10));
}

static unsigned long
status_number(const char *status, const char *item)
{
	const char *at = strstr(status, item);

	assert_non_null(at);
	return strtoul(at + strlen(item), NULL, 10);
}

/* "INBOX.Entw&APw-rfe" to "Entwürfe" */
static char *
our_name(struct fixture *f, const char *theirs)
{
	struct buf b;
	char *name;

	if (strcmp(theirs, "INBOX") == 0)
		return arena_strdup(&f->a, theirs);
	buf_init(&b, 1000);
	assert_int_equal(mutf7_decode(view_of(theirs + 6), &b), 0);
	name = arena_strdup(&f->a, buf_cstr(&b));
	buf_clear(&b);
	for (char *p = name; *p != '\0'; p++)
		if (*p == '.')
			*p = '/';
	return name;
}

static void
check_folder(struct fixture *f, const char *theirs, json_t *expected, unsigned late)
{
	const char *status = json_string_value(json_object_get(expected, "status"));
	struct mailbox *m = fixture_mailbox(f, our_name(f, theirs), true);
	struct mailbox_status st;
	json_t *fetch;
	size_t n;

	ok(f, mailbox_get_status(m, &st, &f->err));
	assert_int_equal(st.uidvalidity, status_number(status, "UIDVALIDITY "));
	assert_int_equal(st.uidnext, status_number(status, "UIDNEXT ") + late);
	assert_int_equal(st.messages, status_number(status, "MESSAGES ") + late);
	json_array_foreach(json_object_get(expected, "fetch_latin1"), n, fetch)
	    check_message(f, m, json_string_value(fetch));
	mailbox_close(m);
}

static void
check_subscriptions(struct fixture *f, json_t *expected)
{
	struct mailbox_info *infos;
	size_t count, subscribed = 0;
	json_t *line, *lsub = json_object_get(expected, "lsub");
	size_t n, want = 0;

	ok(f, store_list(f->s, true, &f->a, &infos, &count, &f->err));
	for (size_t i = 0; i < count; i++)
		subscribed += infos[i].is_subscribed;
	json_array_foreach(lsub, n, line) want +=
	    strstr(json_string_value(line), "\\Noselect") == NULL;
	assert_int_equal(subscribed, want);
}

static void
check_sample(const char *sample, unsigned late)
{
	struct fixture fixture, *f = &fixture;
	json_error_t error;
	json_t *expected, *folder;
	const char *name;

	if (testdata() == NULL)
		skip();
	fixture_init(f);
	unpack(f, sample);
	fixture_open(f);
	expected = json_load_file(
	    arena_printf(&f->a, "%s/maildir/%s/expected-imap-state.json", testdata(), sample), 0,
	    &error);
	assert_non_null(expected);
	/* at first sight, and after our index is gone again: what we wrote ourselves says the same */
	for (int pass = 0; pass < 3; pass++) {
		json_object_foreach(json_object_get(expected, "folders"), name, folder)
		    check_folder(f, name, folder, strcmp(name, "INBOX") == 0 ? late : 0);
		check_subscriptions(f, expected);
		fixture_close(f);
		if (pass == 1)
			remove_all(fixture_path(f, "estafeta.index"));
		fixture_open(f);
	}
	json_decref(expected);
	fixture_close(f);
	arena_clear(&f->a);
	remove_all(f->dir);
}

static void
test_dovecot(void **state)
{
	(void)state;
	check_sample("dovecot-2.3.19", 2); /* two deliveries that no session had seen */
}

static void
test_courier(void **state)
{
	(void)state;
	check_sample("courier-imap-5.0.13", 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_dovecot),
		cmocka_unit_test(test_courier) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
