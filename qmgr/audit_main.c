/* audit QUEUE_DIRECTORY SINCE [-j] [-v] - estafeta audit's own process.
 *
 * What is read comes from strangers: it is done in a cage with nothing but the queue directory, which it cannot
 * write.  SINCE: microseconds since 1970.  Exit status: 0 every recipient has its outcome or waits in the queue, 1 not so. */
#include "common/base/fd.h"
#include "common/log/log.h"
#include "common/sandbox/sandbox.h"
#include "qmgr/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

enum { QUOTED = 2048 };

struct output {
	bool as_json, is_verbose;
};

static const char *const kinds[] = { "missing", "double", "possible duplicate", "hole" };

static void
print_json(json_t *o)
{
	json_dumpf(o, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
	putchar('\n');
	json_decref(o);
}

static void
on_finding(void *arg, const struct audit_finding *f)
{
	const struct output *out = arg;
	char who[QUOTED];

	if (f->kind == AUDIT_POSSIBLE && !out->is_verbose)
		return;
	log_quote(who, sizeof who, view_of(f->recipient));
	if (out->as_json)
		print_json(json_pack("{s:s, s:s, s:s, s:s}", "finding", kinds[f->kind], "queue_id",
		    f->id, "recipient", who, "reason", f->text));
	else if (f->kind == AUDIT_HOLE)
		printf("hole: %s\n", f->text);
	else
		printf("%s: %s: <%s>: %s\n", kinds[f->kind], f->id, who, f->text);
}

struct row {
	const char *name, *text;
	uint64_t n;
};

static void
print_totals(const struct audit_totals *t, bool as_json)
{
	const struct row rows[] = { { "messages", "messages accepted", t->messages },
		{ "notices", "notices among them", t->notices },
		{ "recipients", "recipients acknowledged", t->recipients },
		{ "delivered", "delivered", t->delivered }, { "relayed", "relayed", t->relayed },
		{ "returned", "returned", t->returned }, { "expired", "expired", t->expired },
		{ "dropped", "dropped: nobody is to be told", t->dropped },
		{ "deleted", "deleted by the admin", t->deleted },
		{ "queued", "in the queue", t->queued }, { "missing", "missing", t->missing },
		{ "double", "double", t->doubled },
		{ "possible_duplicates", "possible duplicates", t->possible },
		{ "holes", "holes in the record", t->holes } };
	json_t *o =
	    as_json ? json_pack("{s:I}", "record_begins", (json_int_t)(t->begins_ms / 1000)) : NULL;
	time_t begins = (time_t)(t->begins_ms / 1000);
	char when[64] = "now";
	struct tm tm;

	if (t->begins_ms > 0 && localtime_r(&begins, &tm) != NULL)
		strftime(when, sizeof when, "%F %T", &tm);
	if (!as_json)
		printf("record begins %s\n", when);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (as_json)
			json_object_set_new(o, rows[i].name, json_integer((json_int_t)rows[i].n));
		else
			printf("%10llu %s\n", (unsigned long long)rows[i].n, rows[i].text);
	if (as_json)
		print_json(o);
}

static int
close_cage(const char *directory, struct err *err)
{
	struct sandbox_plan plan = { .role = "audit",
		.root = directory,
		.calls = CALLS_BASE | CALLS_MEMFD | CALLS_READ,
		.paths = { { "/", false } } };
	struct stat st;
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool found = fd >= 0 && fstatat(fd, "journal", &st, AT_SYMLINK_NOFOLLOW) == 0;

	fd_close(&fd);
	if (!found)
		return err_sys(err, ERR_GONE, "%s: no queue", directory);
	plan.uid = st.st_uid;
	plan.gid = st.st_gid;
	tzset();
	return sandbox_enter(&plan, err);
}

int
main(int argc, char **argv)
{
	struct output out = { 0 };
	struct audit_options o = { .on_finding = on_finding, .arg = &out };
	struct audit_totals t;
	struct err err;

	if (argc < 3)
		return EX_USAGE;
	for (int i = 3; i < argc; i++) {
		out.as_json |= strcmp(argv[i], "-j") == 0;
		out.is_verbose |= strcmp(argv[i], "-v") == 0;
	}
	o.since_us = strtoull(argv[2], NULL, 10);
	if (close_cage(argv[1], &err) < 0 ||
	    (o.root_fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 ||
	    audit_run(&o, &t, &err) < 0) {
		fprintf(stderr, "estafeta: audit: %s\n", err.text);
		return EX_NOINPUT;
	}
	print_totals(&t, out.as_json);
	if (fflush(stdout) != 0)
		return EX_IOERR;
	return t.missing + t.doubled + t.holes > 0;
}
