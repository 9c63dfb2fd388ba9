#include "qmgr/contain_state.h"
#include "common/base/codec.h"
#include "common/base/fd.h"
#include "common/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MAX = 64 << 20 };

/* --- words of a line ----------------------------------------------------------------------------------------- */

static void
put_login(struct buf *out, const char *login)
{
	for (const char *p = login; *p != '\0'; p++) {
		unsigned char c = (unsigned char)*p;

		if (c <= ' ' || c >= 0x7f || c == '%')
			buf_printf(out, "%%%02x", c);
		else
			buf_append_byte(out, c);
	}
}

static bool
take_login(struct view word, char login[CONTAIN_LOGIN_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < word.len; i++) {
		unsigned char c = (unsigned char)word.p[i];

		if (n + 1 == CONTAIN_LOGIN_MAX)
			return false;
		if (c == '%') {
			if (i + 2 >= word.len || !hex_decode(&c, 1, view_make(word.p + i + 1, 2)) ||
			    c == 0)
				return false;
			i += 2;
		}
		login[n++] = (char)c;
	}
	login[n] = '\0';
	return n > 0;
}

static bool
take_number(struct view *rest, uint64_t max, uint64_t *out)
{
	struct view word;

	return view_token(rest, " ", &word) && view_u64(word, max, out);
}

/* --- locks --------------------------------------------------------------------------------------------------- */

void
contain_lock_write(const struct contain_lock_line *l, struct buf *out)
{
	char id[QUEUE_ID_TEXT];

	buf_printf(out, "%c %lld ", l->is_releasing ? 'R' : 'H', (long long)l->since_ms);
	put_login(out, l->login);
	buf_append_byte(out, ' ');
	for (size_t i = 0; i < l->nkept; i++) {
		queue_id_format(l->kept[i], id);
		buf_printf(out, "%s%s", i > 0 ? "," : "", id);
	}
	buf_printf(out, "%s %s\n", l->nkept == 0 ? "-" : "", l->reason);
}

static bool
take_kept(struct view word, struct contain_lock_line *l)
{
	struct view rest = word, id;

	if (view_eq_str(word, "-"))
		return true;
	l->kept = x_calloc(CONTAIN_KEPT_MAX, sizeof *l->kept);
	while (view_token(&rest, ",", &id))
		if (l->nkept == CONTAIN_KEPT_MAX || !queue_id_parse(id, &l->kept[l->nkept++]))
			return false;
	l->kept = x_realloc(l->kept, l->nkept, sizeof *l->kept);
	return l->nkept > 0;
}

int
contain_lock_read(struct view line, struct contain_lock_line *l)
{
	struct view rest = line, state, login, kept;
	uint64_t since;

	*l = (struct contain_lock_line){ 0 };
	if (!view_token(&rest, " ", &state) || !take_number(&rest, INT64_MAX, &since) ||
	    !view_token(&rest, " ", &login) || !view_token(&rest, " ", &kept) ||
	    !(view_eq_str(state, "H") || view_eq_str(state, "R")) || !take_login(login, l->login))
		return -1;
	if (!take_kept(kept, l)) {
		x_free(&l->kept);
		return -1;
	}
	l->is_releasing = view_eq_str(state, "R");
	l->since_ms = (int64_t)since;
	snprintf(l->reason, sizeof l->reason, "%.*s", VIEW_ARG(view_trim(rest)));
	return 0;
}

/* --- habits -------------------------------------------------------------------------------------------------- */

void
contain_habit_write(const char *login, const struct contain_habit *h, struct buf *out)
{
	put_login(out, login);
	buf_printf(out, " %u %u %u ", h->recipients, h->domains, h->spans);
	for (uint32_t i = 0; i < h->nnetworks; i++)
		buf_printf(out, "%s%016llx", i > 0 ? "," : "", (unsigned long long)h->networks[i]);
	buf_append_str(out, h->nnetworks == 0 ? "-\n" : "\n");
}

static bool
take_networks(struct view word, struct contain_habit *h)
{
	struct view rest = word, hex;

	if (view_eq_str(word, "-"))
		return true;
	while (view_token(&rest, ",", &hex)) {
		unsigned char bytes[8];

		if (h->nnetworks == CONTAIN_NETWORKS || !hex_decode(bytes, sizeof bytes, hex))
			return false;
		for (size_t i = 0; i < sizeof bytes; i++)
			h->networks[h->nnetworks] = h->networks[h->nnetworks] << 8 | bytes[i];
		h->nnetworks++;
	}
	return true;
}

int
contain_habit_read(struct view line, char login[CONTAIN_LOGIN_MAX], struct contain_habit *h)
{
	struct view rest = line, word;
	uint64_t recipients, domains, spans;

	*h = (struct contain_habit){ 0 };
	if (!view_token(&rest, " ", &word) || !take_login(word, login) ||
	    !take_number(&rest, UINT32_MAX, &recipients) ||
	    !take_number(&rest, UINT32_MAX, &domains) || !take_number(&rest, UINT32_MAX, &spans) ||
	    !view_token(&rest, " ", &word) || !take_networks(word, h) || view_trim(rest).len > 0)
		return -1;
	h->recipients = (uint32_t)recipients;
	h->domains = (uint32_t)domains;
	h->spans = (uint32_t)spans;
	return 0;
}

/* --- files --------------------------------------------------------------------------------------------------- */

int
contain_file_save(int root_fd, const char *name, struct view text, bool is_durable, struct err *err)
{
	char *path = x_asprintf("contain/%s", name), *tmp = x_asprintf("%s.tmp", path);
	int fd = -1, r;

	if (mkdirat(root_fd, "contain", 0700) < 0 && errno != EEXIST)
		r = err_sys(err, ERR_TEMP, "mkdir");
	else if ((fd = open_beneath(root_fd, tmp, O_WRONLY | O_CREAT | O_TRUNC, 0600)) < 0)
		r = err_sys(err, ERR_TEMP, "create");
	else
		r = fd_write_all(fd, text.p, text.len, err);
	if (r == 0 && is_durable && fsync(fd) < 0)
		r = err_sys(err, ERR_TEMP, "fsync");
	if (fd >= 0 && close(fd) < 0 && r == 0)
		r = err_sys(err, ERR_TEMP, "close");
	if (r == 0 && renameat(root_fd, tmp, root_fd, path) < 0)
		r = err_sys(err, ERR_TEMP, "rename");
	if (r == 0 && is_durable)
		r = dir_fsync(root_fd, "contain", err);
	if (r < 0) {
		if (fd >= 0)
			unlinkat(root_fd, tmp, 0);
		err_prefix(err, "%s", path);
	}
	free(path);
	free(tmp);
	return r;
}

int
contain_file_load(int root_fd, const char *name, struct buf *out, struct err *err)
{
	char *path = x_asprintf("contain/%s", name);
	int fd = open_beneath(root_fd, path, O_RDONLY, 0), r = 0;
	struct stat st;

	if (fd < 0)
		r = errno == ENOENT ? 0 : err_sys(err, ERR_TEMP, "open");
	else if (fstat(fd, &st) < 0)
		r = err_sys(err, ERR_TEMP, "fstat");
	else if (st.st_size > FILE_MAX || buf_reserve(out, (size_t)st.st_size) == NULL)
		r = err_set(err, ERR_LIMIT, "larger than %d bytes", FILE_MAX);
	else if ((r = fd_pread_all(fd, out->p + out->len, (size_t)st.st_size, 0, err)) == 0)
		out->len += (size_t)st.st_size;
	if (r < 0)
		err_prefix(err, "%s", path);
	fd_close(&fd);
	free(path);
	return r;
}
