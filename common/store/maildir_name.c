#include "common/store/maildir_name.h"
#include "common/base/map.h"
#include "common/store/store.h"

#include <string.h>

static const struct {
	char letter;
	uint16_t flag;
} flag_letters[] = { /* in ASCII order, as they stand in a name */
	{ 'D', FLAG_DRAFT }, { 'F', FLAG_FLAGGED }, { 'P', FLAG_PASSED }, { 'R', FLAG_ANSWERED },
	{ 'S', FLAG_SEEN }, { 'T', FLAG_DELETED }
};
enum { NFLAGS = sizeof flag_letters / sizeof flag_letters[0] };

static void
add_flag(struct maildir_name *n, char c)
{
	size_t len = strlen(n->others);

	for (size_t i = 0; i < NFLAGS; i++)
		if (flag_letters[i].letter == c) {
			n->flags |= flag_letters[i].flag;
			return;
		}
	if (c >= 'a' && c <= 'z')
		n->letters |= 1u << (c - 'a');
	else if (len + 1 < sizeof n->others && strchr(n->others, c) == NULL)
		n->others[len] = c;
}

void
maildir_name_parse(struct view name, struct maildir_name *out)
{
	struct view info = { 0 };
	size_t at = name.len;

	*out = (struct maildir_name){ 0 };
	view_cut(name, ':', &out->base, NULL);
	while (at > out->base.len && name.p[at - 1] != ':')
		at--;
	if (at > out->base.len)
		info = view_make(name.p + at, name.len - at);
	if (!view_starts(info, "2,"))
		return;
	for (size_t i = 2; i < info.len; i++) {
		if (info.p[i] == ',') {
			out->rest = view_make(info.p + i, info.len - i);
			break;
		}
		add_flag(out, info.p[i]);
	}
}

int
maildir_name_format(const struct maildir_name *n, char out[MAILDIR_NAME_MAX + 1])
{
	char flags[NFLAGS + sizeof n->others + MAILDIR_LETTERS];
	size_t nflags = 0, len = 0;

	for (size_t i = 0; i < NFLAGS; i++)
		if (n->flags & flag_letters[i].flag)
			flags[nflags++] = flag_letters[i].letter;
	for (const char *p = n->others; *p != '\0'; p++)
		flags[nflags++] = *p;
	for (size_t i = 1; i < nflags; i++) /* others may sort anywhere */
		for (size_t j = i; j > 0 && flags[j] < flags[j - 1]; j--) {
			char c = flags[j];

			flags[j] = flags[j - 1];
			flags[j - 1] = c;
		}
	for (int i = 0; i < MAILDIR_LETTERS; i++)
		if (n->letters & 1u << i)
			flags[nflags++] = (char)('a' + i);
	if (n->base.len + 3 + nflags + n->rest.len > MAILDIR_NAME_MAX)
		return -1;
	memcpy(out, n->base.p, n->base.len);
	len = n->base.len;
	memcpy(out + len, ":2,", 3);
	memcpy(out + len + 3, flags, nflags);
	len += 3 + nflags;
	if (n->rest.len > 0)
		memcpy(out + len, n->rest.p, n->rest.len);
	out[len + n->rest.len] = '\0';
	return 0;
}

bool
maildir_name_has_control(struct view name)
{
	for (size_t i = 0; i < name.len; i++)
		if ((unsigned char)name.p[i] < ' ' || name.p[i] == 0x7f)
			return true;
	return false;
}

bool
maildir_name_number(struct view base, char letter, uint64_t *out)
{
	struct view field, rest = base;

	if (!view_cut(rest, ',', NULL, &rest))
		return false;
	while (rest.len > 0) {
		view_cut(rest, ',', &field, &rest);
		if (field.len > 2 && field.p[0] == letter && field.p[1] == '=')
			return view_u64(view_make(field.p + 2, field.len - 2), INT64_MAX, out);
	}
	return false;
}

static const char *
take_number(const char *p, uint64_t *out)
{
	*out = 0;
	for (; ascii_is_digit(*p); p++)
		*out = *out > UINT64_MAX / 10 - 1 ? *out : *out * 10 + (uint64_t)(*p - '0');
	return p;
}

void
arrival_parse(const char *name, int64_t mtime_ns, struct arrival *out)
{
	const char *p;

	*out = (struct arrival){ .mtime_ns = mtime_ns, .name = name };
	p = take_number(name, &out->seconds);
	if (p == name) /* no time in the name: the file's own */
		out->seconds = mtime_ns > 0 ? (uint64_t)(mtime_ns / 1000000000) : 0;
	if (*p == '.' && p[1] == 'M' && ascii_is_digit(p[2]))
		take_number(p + 2, &out->microseconds);
}

int
arrival_compare(const struct arrival *a, const struct arrival *b)
{
	if (a->seconds != b->seconds)
		return a->seconds < b->seconds ? -1 : 1;
	if (a->microseconds > 0 && b->microseconds > 0 && a->microseconds != b->microseconds)
		return a->microseconds < b->microseconds ? -1 : 1;
	if (a->mtime_ns != b->mtime_ns)
		return a->mtime_ns < b->mtime_ns ? -1 : 1;
	return strcmp(a->name, b->name);
}

/* Two SipHashes under fixed keys: the value must be the same after every restart and on every machine, so
 * these keys never change.  Names are made by us, not by senders: nobody outside can aim for a collision. */
void
maildir_guid(struct view identity, uint8_t guid[16])
{
	static const uint8_t keys[2][16] = { "estafeta guid 1", "estafeta guid 2" };

	for (int i = 0; i < 2; i++) {
		uint64_t h = siphash24(keys[i], identity.p, identity.len);

		for (int k = 0; k < 8; k++)
			guid[i * 8 + k] = (uint8_t)(h >> (8 * k));
	}
}
