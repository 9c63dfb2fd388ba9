#include "qmgr/queue_id.h"

enum { BASE = 52, LIFE_BASE = 51, SECONDS_DIGITS = 6, MICRO_DIGITS = 4, MICRO = 1000000 };

/* Postfix's alphabet: no vowels, so that an id never spells a word (safe_ultostr(3)). */
static const char digits[] = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz";
/* 52^7 - 1 seconds are 32,000 years, and as microseconds they still fit 64 bits. */
static const uint64_t seconds_max = 1028071702527ULL;

static size_t
put_number(char *to, uint64_t v, unsigned base, size_t min_digits)
{
	char reversed[24];
	size_t n = 0;

	for (; v > 0 || n < min_digits; v /= base)
		reversed[n++] = digits[v % base];
	for (size_t i = 0; i < n; i++)
		to[i] = reversed[n - 1 - i];
	return n;
}

static bool
get_number(struct view v, unsigned base, uint64_t max, uint64_t *out)
{
	uint64_t sum = 0;

	if (v.len == 0)
		return false;
	for (size_t i = 0; i < v.len; i++) {
		const char *at = v.p[i] == '\0' ? NULL : strchr(digits, v.p[i]);

		if (at == NULL || (unsigned)(at - digits) >= base)
			return false;
		sum = sum * base + (unsigned)(at - digits);
		if (sum > max)
			return false;
	}
	*out = sum;
	return true;
}

void
queue_id_format(struct queue_id id, char out[QUEUE_ID_TEXT])
{
	uint64_t seconds = id.us / MICRO;
	size_t at =
	    put_number(out, seconds > seconds_max ? seconds_max : seconds, BASE, SECONDS_DIGITS);

	at += put_number(out + at, id.us % MICRO, BASE, MICRO_DIGITS);
	out[at++] = 'z';
	at += put_number(out + at, id.life, LIFE_BASE, 1);
	out[at] = '\0';
}

bool
queue_id_parse(struct view text, struct queue_id *out)
{
	const char *z =
	    text.len == 0 || text.len >= QUEUE_ID_TEXT ? NULL : memrchr(text.p, 'z', text.len);
	size_t head = z == NULL ? 0 : (size_t)(z - text.p);
	uint64_t seconds, micro, life;
	char again[QUEUE_ID_TEXT];

	if (head < SECONDS_DIGITS + MICRO_DIGITS)
		return false;
	if (!get_number(view_make(text.p, head - MICRO_DIGITS), BASE, seconds_max, &seconds) ||
	    !get_number(view_make(z - MICRO_DIGITS, MICRO_DIGITS), BASE, MICRO - 1, &micro) ||
	    !get_number(view_make(z + 1, text.len - head - 1), LIFE_BASE, UINT32_MAX, &life))
		return false;
	*out = (struct queue_id){ .us = seconds * MICRO + micro, .life = (uint32_t)life };
	queue_id_format(*out, again);
	return out->us != 0 && view_eq_str(text, again); /* file names map to ids one to one */
}

int
queue_id_compare(struct queue_id a, struct queue_id b)
{
	if (a.us != b.us)
		return a.us < b.us ? -1 : 1;
	return a.life == b.life ? 0 : a.life < b.life ? -1 : 1;
}

void
queue_id_key(struct queue_id id, char out[QUEUE_ID_KEY])
{
	memcpy(out, &id.us, sizeof id.us);
	memcpy(out + sizeof id.us, &id.life, sizeof id.life);
}

struct queue_id
queue_id_after(struct queue_id id)
{
	return (struct queue_id){ .us = id.us + (id.life == UINT32_MAX), .life = id.life + 1 };
}

struct queue_id
queue_id_next(struct queue_id_source *s, int64_t wall_us)
{
	uint64_t now = wall_us > 0 ? (uint64_t)wall_us : 1;

	s->last_us = now > s->last_us ? now : s->last_us + 1;
	return (struct queue_id){ .us = s->last_us, .life = s->life };
}

void
queue_id_seen(struct queue_id_source *s, uint64_t us)
{
	if (us > s->last_us && us <= seconds_max * MICRO)
		s->last_us = us;
}
