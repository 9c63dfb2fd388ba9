#include "common/store/keyword_file.h"

bool
keyword_is_valid(struct view name)
{
	if (name.len == 0 || name.len > KEYWORD_MAX_LENGTH)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		unsigned char c = (unsigned char)name.p[i];

		if (c <= ' ' || c >= 0x7f || strchr("(){%*\"\\]", c) != NULL)
			return false;
	}
	return true;
}

static bool
parse_name_line(struct view line, uint64_t min, uint64_t max, unsigned *number, struct view *name)
{
	struct view n;
	uint64_t v;

	if (!view_cut(line, ' ', &n, name) || !view_u64(n, max, &v) || v < min ||
	    !keyword_is_valid(*name))
		return false;
	*number = (unsigned)v;
	return true;
}

size_t
keyword_file_parse(
    struct view text, void (*fn)(void *arg, unsigned number, struct view name), void *arg)
{
	struct view line, name;
	unsigned number;
	size_t faults = 0;

	while (text.len > 0) {
		bool is_whole = view_cut(text, '\n', &line, &text);

		if (is_whole && parse_name_line(line, 0, KEYWORD_LETTERS - 1, &number, &name))
			fn(arg, number, name);
		else
			faults++;
	}
	return faults;
}

static bool
parse_numbers(struct view text, uint64_t min, struct keyword_set *set)
{
	struct view token;
	uint64_t n;

	*set = (struct keyword_set){ 0 };
	while (view_token(&text, " ", &token)) {
		if (!view_u64(token, STORE_MAX_KEYWORDS - 1, &n) || n < min)
			return false;
		keyword_add(set, (unsigned)n);
	}
	return true;
}

static bool
parse_message_line(struct view line, uint32_t *uid, struct keyword_set *set)
{
	struct view number, rest;
	uint64_t v;

	view_cut(line, ' ', &number, &rest);
	if (!view_u64(number, UINT32_MAX, &v) || v == 0)
		return false;
	*uid = (uint32_t)v;
	return parse_numbers(rest, KEYWORD_LETTERS, set);
}

size_t
keyword_extra_parse(struct view text, void (*name)(void *arg, unsigned number, struct view name),
    void (*message)(void *arg, uint32_t uid, const struct keyword_set *set), void *arg)
{
	struct keyword_set set;
	struct view line, kind, rest, word;
	unsigned number;
	uint32_t uid;
	size_t faults = 0;

	while (text.len > 0) {
		bool is_whole = view_cut(text, '\n', &line, &text);

		view_cut(line, ' ', &kind, &rest);
		if (is_whole && view_eq_str(kind, "k") &&
		    parse_name_line(rest, KEYWORD_LETTERS, STORE_MAX_KEYWORDS - 1, &number, &word))
			name(arg, number, word);
		else if (is_whole && view_eq_str(kind, "m") && parse_message_line(rest, &uid, &set))
			message(arg, uid, &set);
		else
			faults++;
	}
	return faults;
}

int
keyword_extra_format(struct buf *out, uint32_t uid, const struct keyword_set *set)
{
	buf_printf(out, "m %u", uid);
	for (unsigned n = KEYWORD_LETTERS; n < STORE_MAX_KEYWORDS; n++)
		if (keyword_has(set, n))
			buf_printf(out, " %u", n);
	return buf_append_byte(out, '\n');
}

size_t
keyword_courier_parse(struct view text, void (*name)(void *arg, unsigned number, struct view name),
    void (*message)(void *arg, struct view base, const struct keyword_set *set), void *arg)
{
	struct keyword_set set;
	struct view line, base, numbers;
	unsigned number = 0;
	size_t faults = 0;

	while (view_cut(text, '\n', &line, &text) && line.len > 0) {
		if (number < STORE_MAX_KEYWORDS && keyword_is_valid(line))
			name(arg, number, line);
		else
			faults++;
		number++;
	}
	while (text.len > 0) {
		view_cut(text, '\n', &line, &text);
		if (view_cut(line, ':', &base, &numbers) && base.len > 0 &&
		    parse_numbers(numbers, 0, &set))
			message(arg, base, &set);
		else
			faults++;
	}
	return faults;
}
