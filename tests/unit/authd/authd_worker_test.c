/* Workers that die, and data that is damaged or missing. */
#include "tests/unit/authd/authd_world.h"

#include <dirent.h>
#include <poll.h>
#include <signal.h>

static void
kill_children_named(const char *name)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	char path[300], comm[64], line[512];
	FILE *f;
	int found = 0;

	assert_non_null(d);
	while ((e = readdir(d)) != NULL) {
		int parent = 0, grandparent = 0;

		if (e->d_name[0] < '1' || e->d_name[0] > '9')
			continue;
		snprintf(path, sizeof path, "/proc/%s/stat", e->d_name);
		f = fopen(path, "r");
		if (f == NULL)
			continue;
		if (fgets(line, sizeof line, f) == NULL ||
		    sscanf(line, "%*d (%63[^)]) %*c %d", comm, &parent) != 2)
			parent = 0;
		fclose(f);
		snprintf(path, sizeof path, "/proc/%d/stat", parent);
		f = parent > 1 && strcmp(comm, name) == 0 ? fopen(path, "r") : NULL;
		if (f == NULL)
			continue;
		if (fgets(line, sizeof line, f) == NULL ||
		    sscanf(line, "%*d (%*[^)]) %*c %d", &grandparent) != 1)
			grandparent = 0;
		fclose(f);
		if (grandparent == getpid()) { /* a worker: child of a nursery of ours */
			kill(atoi(e->d_name), SIGKILL);
			found++;
		}
	}
	closedir(d);
	assert_true(found > 0);
}

static void
wait_a_little(void)
{
	poll(NULL, 0, 10);
	loop_run_once(loop, false);
}

static void
sasl_workers_are_replaced(void **state)
{
	struct client *cl = client_new(ROLE_IMAPD_LOGIN);
	struct scram x;
	char final[1024];
	struct step s;

	(void)state;
	assert_int_equal(scram_first(cl, 1, "alice@example.test", &x).state, AUTHD_STEP_MORE);
	scram_proof(&x, "secret-a", final, sizeof final);
	kill_children_named("authd-sasl");
	s = sasl_step(cl, 1, view_of(final));
	assert_int_equal(s.state, AUTHD_STEP_TEMP); /* not the client's fault */
	for (int i = 0; i < 200; i++) {
		s = scram_login(cl, 2, "alice@example.test", "secret-a");
		if (s.state == AUTHD_STEP_DONE)
			break;
		assert_int_equal(s.state, AUTHD_STEP_TEMP);
		wait_a_little();
	}
	assert_int_equal(s.state, AUTHD_STEP_DONE);
	assert_false(cl->is_closed);
	client_free(cl);
}

static void
the_database_worker_is_replaced(void **state)
{
	struct client *cl = client_new(ROLE_SMTPD);
	unsigned status = AUTHD_TEMP;
	struct step s;

	(void)state;
	assert_int_equal(resolve_status(cl, "alice@example.test"), AUTHD_OK);
	kill_children_named("authd-db");
	for (int i = 0; i < 200 && (status = resolve_status(cl, "alice@example.test")) != AUTHD_OK;
	     i++) {
		assert_int_equal(status, AUTHD_TEMP);
		wait_a_little();
	}
	assert_int_equal(status, AUTHD_OK);
	for (int i = 0; i < 200; i++) {
		s = sasl_start(
		    cl, 1, "PLAIN", TLS | INITIAL, PLAIN("\0alice@example.test\0secret-a"));
		if (s.state == AUTHD_STEP_DONE)
			break;
		assert_int_equal(s.state, AUTHD_STEP_TEMP);
		wait_a_little();
	}
	assert_int_equal(s.state, AUTHD_STEP_DONE);
	client_free(cl);
}

/* A database that is damaged under us: what needs no account is answered as ever, the rest waits. */
static void
a_damaged_database_stops_only_accounts(void **state)
{
	struct client *cl = client_new(ROLE_SMTPD);
	char *file = x_asprintf("%s/users.db", dir), *aside = x_asprintf("%s/aside", dir);
	unsigned status = AUTHD_TEMP;
	FILE *f;

	(void)state;
	assert_int_equal(resolve_status(cl, "alice@example.test"), AUTHD_OK);
	assert_int_equal(rename(file, aside), 0);
	f = fopen(file, "w");
	assert_non_null(f);
	for (int i = 0; i < 4096; i++)
		fputs("no database ", f);
	fclose(f);
	kill_children_named("authd-db");
	for (int i = 0; i < 1000 && (status = resolve_status(cl, "x@elsewhere.test")) != AUTHD_OK;
	     i++) {
		assert_int_equal(status, AUTHD_TEMP);
		wait_a_little();
	}
	assert_int_equal(status, AUTHD_OK);
	assert_int_equal(resolve_status(cl, "alice@example.test"), AUTHD_TEMP); /* not: unknown */
	assert_int_equal(
	    sasl_start(cl, 1, "PLAIN", TLS | INITIAL, PLAIN("\0alice@example.test\0secret-a"))
		.state,
	    AUTHD_STEP_TEMP);
	assert_int_equal(rename(aside, file), 0);
	kill_children_named("authd-db"); /* or five seconds later */
	for (int i = 0; i < 1000 && (status = resolve_status(cl, "alice@example.test")) != AUTHD_OK;
	     i++) {
		assert_int_equal(status, AUTHD_TEMP);
		wait_a_little();
	}
	assert_int_equal(status, AUTHD_OK);
	client_free(cl);
	free(file);
	free(aside);
}

static void
a_missing_table_stops_only_addresses(void **state)
{
	struct client *cl = client_new(ROLE_SMTPD);
	unsigned status = AUTHD_TEMP;
	struct step s;

	(void)state;
	assert_int_equal(unlink(aliases + strlen("texthash:")), 0);
	kill_children_named("authd-db");
	for (int i = 0; i < 1000; i++) {
		s = sasl_start(
		    cl, 1, "PLAIN", TLS | INITIAL, PLAIN("\0alice@example.test\0secret-a"));
		if (s.state == AUTHD_STEP_DONE)
			break;
		assert_int_equal(s.state, AUTHD_STEP_TEMP);
		wait_a_little();
	}
	assert_int_equal(s.state, AUTHD_STEP_DONE);
	assert_int_equal(resolve_status(cl, "alice@example.test"), AUTHD_TEMP);
	put_aliases("info@example.test alice@example.test, far@elsewhere.test\n");
	for (int i = 0; i < 1000 && (status = resolve_status(cl, "info@example.test")) != AUTHD_OK;
	     i++) {
		assert_int_equal(status, AUTHD_TEMP);
		wait_a_little();
	}
	assert_int_equal(status, AUTHD_OK);
	client_free(cl);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(sasl_workers_are_replaced),
		TEST(the_database_worker_is_replaced),
		TEST(a_damaged_database_stops_only_accounts),
		TEST(a_missing_table_stops_only_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
