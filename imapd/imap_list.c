#include "imapd/imap_list.h"

static bool
is_inbox(struct view name)
{
	return view_starts(name, "INBOX") && (name.len == 5 || name.p[5] == '/');
}

/* Where to go on when what follows a wildcard does not fit: one character more for the wildcard. */
struct retry {
	size_t pattern, name;
	bool is_set;
};

static bool
match(struct view pattern, struct view name, size_t caseless)
{
	struct retry star = { 0 }, percent = { 0 };
	size_t p = 0, n = 0;

	for (;;) {
		if (p < pattern.len && pattern.p[p] == '*') {
			/* what stood before it has found its place and never moves again */
			star = (struct retry){ ++p, n, true };
			percent.is_set = false;
			continue;
		}
		if (p < pattern.len && pattern.p[p] == '%') {
			percent = (struct retry){ ++p, n, true };
			continue;
		}
		if (n == name.len && p == pattern.len)
			return true;
		if (n < name.len && p < pattern.len &&
		    (pattern.p[p] == name.p[n] ||
			(n < caseless && ascii_upper((unsigned char)pattern.p[p]) == name.p[n]))) {
			p++, n++;
			continue;
		}
		if (percent.is_set && percent.name < name.len && name.p[percent.name] != '/') {
			n = ++percent.name;
			p = percent.pattern;
		} else if (star.is_set && star.name < name.len) {
			n = ++star.name;
			p = star.pattern;
			percent.is_set = false;
		} else {
			return false;
		}
	}
}

bool
imap_list_match(struct view pattern, struct view name)
{
	return match(pattern, name, is_inbox(name) ? 5 : 0);
}
