/* estafeta contain list [-j] | show LOGIN | hold LOGIN [REASON] | release [-k] LOGIN - logins whose mail is on hold. */
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "tools/queue_client.h"
#include "tools/tool.h"

#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <time.h>

enum { LIST_MAX = 16 << 20 };

static int
failed(const struct err *err)
{
	tool_complain("contain: %s", err->text);
	return err->kind == ERR_GONE   ? EX_UNAVAILABLE
	       : err->kind == ERR_PERM ? EX_NOPERM
				       : EX_TEMPFAIL;
}

/* --- what is on hold --------------------------------------------------------------------------------------- */

static int
fetch(int fd, struct buf *text, struct err *err)
{
	static char packet[IPC_MAX_PACKET];
	struct ipc_out o;
	struct ipc_in in;
	uint64_t size;
	int list, r = -1;

	ipc_out_init(&o, QMGR_CTL_CONTAIN_LIST);
	if (ipc_call_blocking(fd, &o, "uh", QUEUE_CALL_MS, packet, &in, err) < 0)
		return -1;
	r = ipc_get_u32(&in) == QMGR_OK ? 0 : err_set(err, ERR_PERM, "only root may do this");
	list = ipc_get_fd(&in);
	if (r == 0)
		r = memfd_check(list, LIST_MAX, &size, err);
	if (r == 0 && buf_reserve(text, size) == NULL)
		r = err_set(err, ERR_LIMIT, "no memory");
	if (r == 0)
		r = fd_pread_all(list, text->p, size, 0, err);
	if (r == 0)
		text->len = size;
	fd_close(&list);
	return r;
}

static void
print_lock(json_t *o)
{
	time_t since = (time_t)json_integer_value(json_object_get(o, "since"));
	char when[32] = "";
	struct tm tm;

	if (localtime_r(&since, &tm) != NULL)
		strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", &tm);
	printf("%s  %s  %s  %s\n", when, queue_string(o, "login"), queue_string(o, "state"),
	    queue_string(o, "reason"));
}

/* login NULL: all.  1: it is not there. */
static int
list(int fd, const char *login, bool as_json)
{
	struct view rest, line;
	struct buf text;
	struct err err;
	unsigned found = 0;
	int r;

	buf_init(&text, LIST_MAX);
	r = fetch(fd, &text, &err) < 0 ? failed(&err) : EX_OK;
	for (rest = buf_view(&text); rest.len > 0;) {
		json_t *o;

		view_cut(rest, '\n', &line, &rest);
		o = json_loadb(line.p, line.len, 0, NULL);
		if (login == NULL || strcasecmp(queue_string(o, "login"), login) == 0) {
			found++;
			if (as_json)
				printf("%.*s\n", VIEW_ARG(line));
			else
				print_lock(o);
		}
		json_decref(o);
	}
	buf_clear(&text);
	if (r != EX_OK || found > 0 || login == NULL)
		return r;
	tool_complain("contain: %s is not on hold", login);
	return 1;
}

/* --- hold, release ----------------------------------------------------------------------------------------- */

/* Of "uus". */
static int
act(int fd, struct ipc_out *o)
{
	static char packet[IPC_MAX_PACKET];
	struct ipc_in in;
	struct err err;
	uint32_t status;

	if (ipc_call_blocking(fd, o, "uus", QUEUE_CALL_MS, packet, &in, &err) < 0)
		return failed(&err);
	status = ipc_get_u32(&in);
	(void)ipc_get_u32(&in);
	if (status == QMGR_OK)
		return EX_OK;
	tool_complain("contain: %s", ipc_get_str(&in));
	return status == QMGR_DENIED ? EX_NOPERM : status == QMGR_BAD ? 1 : EX_TEMPFAIL;
}

static int
hold(int fd, const char *login, const char *reason)
{
	struct ipc_out o;

	ipc_out_init(&o, QMGR_CTL_CONTAIN_HOLD);
	ipc_put_str(&o, login);
	ipc_put_str(&o, reason);
	return act(fd, &o);
}

static int
release(int fd, const char *login, bool keeps)
{
	struct ipc_out o;

	ipc_out_init(&o, QMGR_CTL_CONTAIN_RELEASE);
	ipc_put_str(&o, login);
	ipc_put_u32(&o, keeps);
	return act(fd, &o);
}

/* --- the command -------------------------------------------------------------------------------------------- */

struct request {
	const char *verb, *login, *reason;
	bool has_option; /* -j of list, -k of release */
};

static bool
understand(struct request *r, int argc, char **argv)
{
	const char *option;
	int at = 1;

	*r = (struct request){ .verb = argv[0], .reason = "by hand" };
	option = strcmp(r->verb, "list") == 0      ? "-j"
		 : strcmp(r->verb, "release") == 0 ? "-k"
						   : NULL;
	if (option != NULL && at < argc && strcmp(argv[at], option) == 0) {
		r->has_option = true;
		at++;
	}
	if (strcmp(r->verb, "list") == 0)
		return at == argc;
	if (at < argc && argv[at][0] != '\0' && argv[at][0] != '-')
		r->login = argv[at++];
	if (strcmp(r->verb, "hold") == 0 && at < argc)
		r->reason = argv[at++];
	return r->login != NULL && at == argc;
}

static int
run(int fd, const struct request *r)
{
	if (strcmp(r->verb, "hold") == 0)
		return hold(fd, r->login, r->reason);
	if (strcmp(r->verb, "release") == 0)
		return release(fd, r->login, r->has_option);
	return list(fd, r->login, r->has_option);
}

int
tool_cmd_contain(struct tool *t, int argc, char **argv)
{
	static const char *const known[] = { "list", "show", "hold", "release" };
	struct request r = { 0 };
	struct err err;
	bool ok = false;
	int fd, status;

	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		ok = ok || (argc > 1 && strcmp(argv[1], known[i]) == 0);
	if (!ok || !understand(&r, argc - 1, argv + 1))
		return tool_usage(t);
	fd = tool_connect(t, ROLE_QMGR, &err);
	if (fd < 0)
		return failed(&err);
	status = run(fd, &r);
	fd_close(&fd);
	return fflush(stdout) == EOF ? EX_IOERR : status;
}
