/* estafeta user add|passwd|del|list|show.
 *
 * With the suite up authd does it: its database worker is the one writer.  With the suite down
 * this process opens the database itself, under the database's lock - in a child that has become
 * the authentication user, so that files keep their owner and nothing that a broken worker left
 * there is opened by root. */
#include "tools/tool.h"
#include "common/user/user_home.h"

#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/ipc/msg/authd.h"
#include "common/user/user_db.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

/* QUESTION_MS: authd answers these at once, or it is not there; a hash may take its time */
enum { CALL_MS = 60000, QUESTION_MS = 10000, LOCK_WAIT_MS = 5000, LIST_MAX = 500 };

enum verb { VERB_ADD, VERB_PASSWD, VERB_DEL, VERB_LIST, VERB_SHOW };

struct user_job {
	struct tool *tool;
	enum verb verb;
	char address[USER_ADDRESS_MAX + 1];
	char password[USER_PASSWORD_MAX + 2];
	struct user_record record; /* add: uid, gid, home; show: what was found */
	char kinds[128];           /* show: of the password */
	int authd_fd;              /* -1: the suite is down */
};

static int
status_of(unsigned authd_status)
{
	switch (authd_status) {
	case AUTHD_OK:
		return 0;
	case AUTHD_BAD:
		return EX_DATAERR;
	case AUTHD_NO:
		return 1;
	default:
		return EX_TEMPFAIL;
	}
}

static void
print_account(const struct user_job *j)
{
	char home[USER_HOME_MAX];
	struct err e;

	printf("address: %s\n", j->address);
	if (j->record.uid != 0)
		printf("uid: %u\n", (unsigned)j->record.uid);
	if (j->record.gid != 0)
		printf("gid: %u\n", (unsigned)j->record.gid);
	if (user_home_path(&j->record, conf_str(&j->tool->conf, "virtual_mailbox_base"), j->address,
		home, &e) == 0)
		printf("home: %s\n", home);
	printf("password: %s\n", j->kinds);
}

/* An account goes, its mail stays: whoever wants that gone has to know where. */
static void
say_mail_left(const struct user_job *j)
{
	char home[USER_HOME_MAX];
	struct err e;

	if (user_home_path(&j->record, conf_str(&j->tool->conf, "virtual_mailbox_base"), j->address,
		home, &e) < 0 ||
	    (access(home, F_OK) < 0 && errno == ENOENT))
		return;
	tool_complain("%s: the account is gone; its mail is still in %s", j->address, home);
}

static bool
is_in_list(const struct conf *conf, const char *name, const char *domain)
{
	struct view rest = view_of(conf_str(conf, name)), item;

	while (conf_next(&rest, &item))
		if (view_case_eq_str(item, domain))
			return true;
	return false;
}

static void
warn_of_foreign_domain(const struct user_job *j)
{
	const char *at = strrchr(j->address, '@'), *domain = at != NULL ? at + 1 : "";
	const struct conf *conf = &j->tool->conf;

	if (!is_in_list(conf, "virtual_mailbox_domains", domain) &&
	    !is_in_list(conf, "mydestination", domain))
		tool_complain(
		    "warning: %s: no mail comes here for %s: it is not in virtual_mailbox_domains",
		    j->address, domain);
}

/* --- through authd ---------------------------------------------------------------------------- */

static void
put_request(struct ipc_out *o, const struct user_job *j)
{
	switch (j->verb) {
	case VERB_ADD:
		ipc_out_init(o, AUTHD_USER_ADD);
		ipc_put_str(o, j->address);
		ipc_put_str(o, j->password);
		ipc_put_u32(o, j->record.uid);
		ipc_put_u32(o, j->record.gid);
		ipc_put_str(o, j->record.home);
		break;
	case VERB_PASSWD:
		ipc_out_init(o, AUTHD_USER_PASSWD);
		ipc_put_str(o, j->address);
		ipc_put_str(o, j->password);
		break;
	case VERB_DEL:
		ipc_out_init(o, AUTHD_USER_DEL);
		ipc_put_str(o, j->address);
		break;
	default:
		bug("verb %d has a request of its own", (int)j->verb);
	}
}

static int
authd_is_down(const struct user_job *j, const struct err *why)
{
	tool_complain("authd is not running, or does not answer (%s); see the log %s", why->text,
	    conf_str(&j->tool->conf, "log_file"));
	return EX_UNAVAILABLE;
}

static int
authd_change(struct user_job *j)
{
	static char packet[IPC_MAX_PACKET];
	struct ipc_out o;
	struct ipc_in in;
	struct err e;
	unsigned status;

	put_request(&o, j);
	if (ipc_call_blocking(j->authd_fd, &o, "us", CALL_MS, packet, &in, &e) < 0)
		return authd_is_down(j, &e);
	status = ipc_get_u32(&in);
	if (status != AUTHD_OK)
		tool_complain("%s: %s", j->address, ipc_get_str(&in));
	return status_of(status);
}

static int
authd_list(struct user_job *j)
{
	static char packet[IPC_MAX_PACKET];
	char last[USER_ADDRESS_MAX + 1] = "";
	unsigned count;

	do {
		struct ipc_out o;
		struct ipc_in in;
		struct err e;
		unsigned status;

		ipc_out_init(&o, AUTHD_USER_LIST);
		ipc_put_str(&o, last);
		if (ipc_call_blocking(j->authd_fd, &o, "u(s)", QUESTION_MS, packet, &in, &e) < 0)
			return authd_is_down(j, &e);
		status = ipc_get_u32(&in);
		if (status != AUTHD_OK) {
			tool_complain("the accounts cannot be listed");
			return status == AUTHD_NO ? EX_NOPERM : EX_TEMPFAIL;
		}
		for (count = 0; ipc_in_more(&in); count++) {
			snprintf(last, sizeof last, "%s", ipc_get_str(&in));
			puts(last);
		}
	} while (count > 0);
	return 0;
}

/* The account's record; quiet: whoever asks goes on without. */
static int
authd_fetch(struct user_job *j, bool quiet)
{
	static char packet[IPC_MAX_PACKET];
	struct ipc_out o;
	struct ipc_in in;
	struct err e;
	unsigned status;

	ipc_out_init(&o, AUTHD_USER_SHOW);
	ipc_put_str(&o, j->address);
	if (ipc_call_blocking(j->authd_fd, &o, "usuuss", QUESTION_MS, packet, &in, &e) < 0)
		return authd_is_down(j, &e);
	status = ipc_get_u32(&in);
	ipc_get_str(&in);
	if (status != AUTHD_OK) {
		if (!quiet)
			tool_complain("%s: %s", j->address,
			    status == AUTHD_NO ? "no such account" : "authd cannot say");
		return status_of(status);
	}
	j->record.uid = ipc_get_u32(&in);
	j->record.gid = ipc_get_u32(&in);
	snprintf(j->record.home, sizeof j->record.home, "%s", ipc_get_str(&in));
	snprintf(j->kinds, sizeof j->kinds, "%s", ipc_get_str(&in));
	return 0;
}

static int
authd_show(struct user_job *j)
{
	int status = authd_fetch(j, false);

	if (status == 0)
		print_account(j);
	return status;
}

static int
run_through_authd(struct user_job *j)
{
	struct user_job known = *j;
	int found, status;

	if (j->verb == VERB_LIST)
		return authd_list(j);
	if (j->verb == VERB_SHOW)
		return authd_show(j);
	/* asked first: a change that waits in the socket of an authd that is down would be made some time */
	mem_wipe(known.password, sizeof known.password);
	found = authd_fetch(&known, true);
	if (found == EX_UNAVAILABLE)
		return found;
	status = authd_change(j);
	if (status == 0 && j->verb == VERB_DEL && found == 0)
		say_mail_left(&known);
	return status;
}

/* --- on the database itself ------------------------------------------------------------------- */

static bool
print_address(void *arg, const char *address)
{
	(void)arg;
	return puts(address) >= 0;
}

static int
set_password(struct user_job *j, struct user_record *record, struct err *err)
{
	const struct conf *conf = &j->tool->conf;
	struct password_policy policy = {
		.scheme = (enum password_scheme)password_scheme_by_name(
		    conf_str(conf, "password_scheme")),
		.cost = (unsigned long)conf_int(conf, "password_cost"),
		.scram_iterations = (unsigned)conf_int(conf, "scram_iterations"),
	};

	return user_password_set(record, j->password, &policy, err);
}

static int
db_show(struct user_job *j, struct user_db *db, struct err *err)
{
	int r = user_db_get(db, j->address, &j->record, err);

	if (r != 0)
		return r;
	snprintf(j->kinds, sizeof j->kinds, "%s%s", user_password_kind(j->record.crypt),
	    j->record.scram[0] == '\0' ? "" : " SCRAM-SHA-256");
	print_account(j);
	return 0;
}

/* 0 done, 1 refused, -1. */
static int
db_do(struct user_job *j, struct user_db *db, struct err *err)
{
	struct user_record record;
	bool is_known;
	int r;

	switch (j->verb) {
	case VERB_ADD:
		r = set_password(j, &j->record, err);
		return r < 0 ? r : user_db_put(db, j->address, &j->record, USER_DB_NEW, err);
	case VERB_PASSWD:
		r = user_db_get(db, j->address, &record, err);
		if (r == 0)
			r = set_password(j, &record, err);
		if (r == 0)
			r = user_db_put(db, j->address, &record, USER_DB_REPLACE, err);
		mem_wipe(&record, sizeof record);
		return r;
	case VERB_DEL:
		/* a damaged record goes as well */
		is_known = user_db_get(db, j->address, &j->record, err) == 0;
		r = user_db_del(db, j->address, err);
		if (r == 0 && is_known)
			say_mail_left(j);
		return r;
	case VERB_LIST:
		return user_db_list(db, "", print_address, NULL, err);
	default:
		return db_show(j, db, err);
	}
}

static int
run_on_database(struct user_job *j)
{
	struct user_db *db;
	struct err e;
	int r;

	if (user_db_open(conf_str(&j->tool->conf, "user_database"), LOCK_WAIT_MS, &db, &e) < 0) {
		tool_complain("%s", e.text);
		return EX_TEMPFAIL;
	}
	r = db_do(j, db, &e);
	user_db_close(db);
	if (r == 1)
		tool_complain("%s: %s", j->address,
		    j->verb == VERB_ADD ? "the account exists already" : "no such account");
	if (r < 0)
		tool_complain("%s", e.text);
	if (r < 0)
		return e.kind == ERR_SYNTAX || e.kind == ERR_LIMIT ? EX_DATAERR : EX_TEMPFAIL;
	return r;
}

/* For good: gid before uid, and no way back. */
static int
become(uid_t uid, gid_t gid)
{
	if (geteuid() != 0)
		return 0;
	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		return -1;
	return setuid(0) == 0 ? -1 : 0;
}

static int
wait_status(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return EX_OSERR;
	return WIFEXITED(status) ? WEXITSTATUS(status) : EX_SOFTWARE;
}

static int
run_in_child(struct user_job *j, uid_t uid, gid_t gid)
{
	struct err e;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0) {
		tool_complain("fork: %s", strerrordesc_np(errno));
		return EX_OSERR;
	}
	if (pid == 0) {
		int status = EX_NOPERM;

		if (user_db_enter(conf_str(&j->tool->conf, "user_database"), &e) < 0)
			tool_complain("%s", e.text);
		else if (become(uid, gid) < 0)
			tool_complain("cannot become user %u", (unsigned)uid);
		else
			status = run_on_database(j);
		if (fflush(stdout) != 0 && status == 0)
			status = EX_IOERR;
		_exit(status);
	}
	return wait_status(pid);
}

static int
run_alone(struct user_job *j)
{
	const char *user = role_row(ROLE_AUTHD)->user;
	const struct passwd *pw = geteuid() == 0 ? getpwnam(user) : NULL;
	uid_t uid = pw == NULL ? geteuid() : pw->pw_uid;
	gid_t gid = pw == NULL ? getegid() : pw->pw_gid;
	struct err e;

	if (geteuid() == 0 && pw == NULL) {
		tool_complain("there is no system user %s: was the suite installed?", user);
		return EX_OSFILE;
	}
	/* the user database may be filled before the first start */
	if (fd_make_directory(conf_str(&j->tool->conf, "data_directory"), 0755, geteuid(),
		getegid(), false, &e) < 0 ||
	    user_db_prepare(conf_str(&j->tool->conf, "user_database"), uid, gid, &e) < 0) {
		tool_complain("%s", e.text);
		return EX_CANTCREAT;
	}
	return run_in_child(j, uid, gid);
}

/* --- the verb --------------------------------------------------------------------------------- */

/* The home of an account that was just added; it is root's work to make and give it. */
static int
make_home(struct user_job *j)
{
	const struct conf *conf = &j->tool->conf;
	const char *owner = conf_str(conf, "mailbox_owner");
	const struct passwd *pw = getpwnam(owner);
	struct user_home home = { .base = conf_str(conf, "virtual_mailbox_base") };
	char path[USER_HOME_MAX];
	struct err e;
	int fd = -1;

	if (geteuid() != 0)
		return 0;
	if (pw == NULL) {
		tool_complain("mailbox_owner = %s: no such user", owner);
		return EX_OSFILE;
	}
	home.base_uid = pw->pw_uid;
	home.base_gid = pw->pw_gid;
	home.uid = j->record.uid == 0 ? pw->pw_uid : j->record.uid;
	home.gid = j->record.gid == 0 ? pw->pw_gid : j->record.gid;
	if (user_home_path(&j->record, home.base, j->address, path, &e) < 0 ||
	    (fd = user_home_open(&home, path, &e)) < 0) {
		tool_complain("%s: account added, but: %s", j->address, e.text);
		return EX_CANTCREAT;
	}
	fd_close(&fd);
	return 0;
}

static int
run(struct user_job *j)
{
	struct err e;
	int status;

	if ((j->verb == VERB_ADD || j->verb == VERB_PASSWD) &&
	    tool_read_password(j->password, sizeof j->password, &e) < 0) {
		tool_complain("%s", e.text);
		return EX_DATAERR;
	}
	j->authd_fd = tool_connect(j->tool, ROLE_AUTHD, &e);
	if (j->authd_fd < 0 && e.kind != ERR_GONE) {
		tool_complain("%s", e.text);
		return EX_TEMPFAIL;
	}
	if (j->authd_fd >= 0) {
		status = run_through_authd(j);
		close(j->authd_fd);
	} else {
		status = run_alone(j);
	}
	if (status == 0 && j->verb == VERB_ADD) {
		warn_of_foreign_domain(j);
		status = make_home(j);
	}
	if (fflush(stdout) != 0 && status == 0)
		status = EX_IOERR;
	return status;
}

static int
verb_find(const char *word)
{
	static const char *const words[] = { [VERB_ADD] = "add",
		[VERB_PASSWD] = "passwd",
		[VERB_DEL] = "del",
		[VERB_LIST] = "list",
		[VERB_SHOW] = "show" };

	for (int i = 0; i < (int)(sizeof words / sizeof words[0]); i++)
		if (strcmp(words[i], word) == 0)
			return i;
	return -1;
}

static int
take_number(const char *text, uint32_t *out)
{
	uint64_t n;

	if (!view_u64(view_of(text), UINT32_MAX - 1, &n) || n == 0)
		return -1;
	*out = (uint32_t)n;
	return 0;
}

/* -u, -g, -d of add. */
static int
take_options(struct user_job *j, int argc, char **argv)
{
	int c;

	optind = 1;
	while ((c = getopt(argc, argv, "+u:g:d:")) != -1) {
		if (j->verb != VERB_ADD)
			return -1;
		if (c == 'u' && take_number(optarg, &j->record.uid) == 0)
			continue;
		if (c == 'g' && take_number(optarg, &j->record.gid) == 0)
			continue;
		if (c != 'd' || strlen(optarg) >= sizeof j->record.home)
			return -1;
		memcpy(j->record.home, optarg, strlen(optarg) + 1);
	}
	return 0;
}

int
tool_cmd_user(struct tool *t, int argc, char **argv)
{
	struct user_job j = { .tool = t, .authd_fd = -1 };
	int verb = argc > 1 ? verb_find(argv[1]) : -1, status;
	struct err e;

	if (verb < 0)
		return tool_usage(t);
	j.verb = (enum verb)verb;
	if (take_options(&j, argc - 1, argv + 1) < 0 ||
	    argc - 1 - optind != (j.verb == VERB_LIST ? 0 : 1))
		return tool_usage(t);
	if (j.verb != VERB_LIST &&
	    user_address_fold(view_of(argv[1 + optind]), j.address, &e) < 0) {
		tool_complain("%s: %s", argv[1 + optind], e.text);
		return EX_DATAERR;
	}
	status = run(&j);
	mem_wipe(&j, sizeof j);
	return status;
}
