#include "common/store/store_internal.h"
#include "common/store/subscription_file.h"
#include "common/base/utf8.h"

#include <errno.h>
#include <fcntl.h>

/* A '.' would be read back as a level of the tree: Maildir++ knows no other separator. */
bool
store_name_is_valid(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len > STORE_NAME_MAX || name[0] == '/' || name[0] == '~' ||
	    name[len - 1] == '/' || !utf8_is_valid(view_make(name, len)))
		return false;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)name[i];

		if (c < ' ' || c == 0x7f || c == '.' || (c == '/' && name[i + 1] == '/'))
			return false;
	}
	return true;
}

static int
encode_disk(const char *name, bool as_utf8, char disk[MAILDIR_NAME_MAX + 1])
{
	struct buf b;
	int r = -1;

	buf_init(&b, MAILDIR_NAME_MAX);
	buf_append_byte(&b, '.');
	if (as_utf8)
		buf_append_str(&b, name);
	else
		mutf7_encode(view_of(name), &b);
	if (!b.failed) {
		for (size_t i = 0; i < b.len; i++)
			disk[i] = b.p[i] == '/' ? '.' : b.p[i];
		disk[b.len] = '\0';
		r = 0;
	}
	buf_clear(&b);
	return r;
}

static bool
is_directory(struct store *s, const char *disk)
{
	struct stat st;

	return fstatat(s->root_fd, disk, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

/* "inbox/x" is the same as "INBOX/x": the whole first part counts without case (RFC 3501 5.1). */
static void
canonical_inbox(const char *name, char out[STORE_NAME_MAX + 1])
{
	memcpy(out, name, strlen(name) + 1);
	if (view_case_starts(view_of(out), "INBOX") && (out[5] == '\0' || out[5] == '/'))
		memcpy(out, "INBOX", 5);
}

int
name_to_disk(struct store *s, const char *name, char disk[MAILDIR_NAME_MAX + 1], bool *exists,
    struct err *err)
{
	char canonical[STORE_NAME_MAX + 1];
	bool first = s->has_utf8_names;

	if (!store_name_is_valid(name))
		return err_set(err, ERR_PERM, "invalid mailbox name");
	canonical_inbox(name, canonical);
	if (strcmp(canonical, "INBOX") == 0) {
		memcpy(disk, ".", 2);
		*exists = true;
		return 0;
	}
	/* Both spellings are looked for; the one that this Maildir prefers is made. */
	*exists = encode_disk(canonical, !first, disk) == 0 && is_directory(s, disk);
	if (*exists)
		return 0;
	if (encode_disk(canonical, first, disk) < 0)
		return err_set(err, ERR_LIMIT, "mailbox name is too long for a directory");
	*exists = is_directory(s, disk);
	return 0;
}

bool
name_from_disk(const char *disk, struct buf *out)
{
	buf_reset(out);
	if (strcmp(disk, ".") == 0)
		return buf_append_str(out, "INBOX") == 0 && buf_cstr(out) != NULL;
	if (disk[0] != '.' || disk[1] == '\0' || disk[1] == '.')
		return false;
	if (mailbox_name_from_disk(view_of(disk + 1), '.', out) < 0)
		return false;
	return strcmp(out->p, "INBOX") != 0; /* hidden by the real one */
}
