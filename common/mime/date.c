#include "common/mime/lexer.h"
#include "common/mime/message.h"

#include <stdio.h>

static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep",
	"Oct", "Nov", "Dec" };
static const char days[7][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };

/* RFC 5322 4.3; the single letters mean nothing reliable there and count as -0000. */
static const struct {
	char name[4];
	int minutes;
} zones[] = { { "UT", 0 }, { "GMT", 0 }, { "UTC", 0 }, { "EST", -300 }, { "EDT", -240 },
	{ "CST", -360 }, { "CDT", -300 }, { "MST", -420 }, { "MDT", -360 }, { "PST", -480 },
	{ "PDT", -420 } };

/* Days since 1970-01-01 of a date of the proleptic Gregorian calendar; month 1..12. */
static int64_t
days_from_civil(int64_t year, int month, int day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t of_era = y - era * 400;
	int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void
civil_from_days(int64_t z, int64_t *year, int *month, int *day)
{
	int64_t era, of_era, year_of_era, of_year, m;

	z += 719468;
	era = (z >= 0 ? z : z - 146096) / 146097;
	of_era = z - era * 146097;
	year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	m = (5 * of_year + 2) / 153;
	*day = (int)(of_year - (153 * m + 2) / 5 + 1);
	*month = (int)(m < 10 ? m + 3 : m - 9);
	*year = year_of_era + era * 400 + (*month <= 2);
}

static int
days_in_month(int64_t year, int month)
{
	static const int lengths[12] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return lengths[month - 1] + (month == 2 && is_leap);
}

/* A decimal number of at most max_digits; digits read, 0 = none or too many. */
static int
read_number(struct lexer *lx, int max_digits, int *out)
{
	int n = 0;

	*out = 0;
	for (; lx->p < lx->end && ascii_is_digit(*lx->p); lx->p++, n++) {
		if (n == max_digits)
			return 0;
		*out = *out * 10 + (*lx->p - '0');
	}
	return n;
}

static struct view
read_word(struct lexer *lx)
{
	const char *start = lx->p;

	while (lx->p < lx->end && ascii_is_alpha(*lx->p))
		lx->p++;
	return view_make(start, (size_t)(lx->p - start));
}

static int
month_by_name(struct view word)
{
	if (word.len <
	    3) /* "Sept" and "November" are seen, so only the first three letters count */
		return 0;
	word.len = 3;
	for (int i = 0; i < 12; i++)
		if (view_case_eq_str(word, months[i]))
			return i + 1;
	return 0;
}

static void
skip_weekday(struct lexer *lx)
{
	lexer_skip_cfws(lx, NULL);
	if (read_word(lx).len > 0)
		lexer_skip_cfws(lx, NULL);
	while (lexer_at(lx, ',') || lexer_at(lx, '.'))
		lx->p++;
	lexer_skip_cfws(lx, NULL);
}

static void
skip_separator(struct lexer *lx)
{
	lexer_skip_cfws(lx, NULL);
	if (lexer_at(lx, '-')) /* RFC 850 style, 23-Nov-2026 */
		lx->p++;
	lexer_skip_cfws(lx, NULL);
}

static bool
read_day(struct lexer *lx, int64_t *year, int *month, int *day)
{
	int digits, y;

	if (read_number(lx, 2, day) == 0)
		return false;
	skip_separator(lx);
	*month = month_by_name(read_word(lx));
	if (*month == 0)
		return false;
	skip_separator(lx);
	digits = read_number(lx, 9, &y);
	if (digits < 2)
		return false;
	if (digits == 2) /* RFC 5322 4.3 */
		y += y < 50 ? 2000 : 1900;
	else if (digits == 3)
		y += 1900;
	*year = y;
	return *day >= 1 && *day <= days_in_month(*year, *month);
}

static bool
read_time(struct lexer *lx, int *seconds)
{
	int part[3] = { 0, 0, 0 };

	for (int i = 0; i < 3; i++) {
		lexer_skip_cfws(lx, NULL);
		if (read_number(lx, 2, &part[i]) == 0)
			return false;
		lexer_skip_cfws(lx, NULL);
		if (!lexer_at(lx, ':') && !lexer_at(lx, '.')) {
			if (i == 0)
				return false; /* hours alone are no time */
			break;
		}
		if (i < 2)
			lx->p++;
	}
	*seconds = part[0] * 3600 + part[1] * 60 + part[2];
	return part[0] <= 23 && part[1] <= 59 && part[2] <= 60;
}

/* A zone that cannot be understood counts as UTC: the date is still worth having. */
static int
read_zone(struct lexer *lx)
{
	struct view name;
	int sign, hhmm;

	lexer_skip_cfws(lx, NULL);
	if (lexer_at(lx, '+') || lexer_at(lx, '-')) {
		sign = *lx->p++ == '-' ? -1 : 1;
		if (read_number(lx, 4, &hhmm) != 4 || hhmm % 100 > 59)
			return 0;
		return sign * (hhmm / 100 * 60 + hhmm % 100);
	}
	name = read_word(lx);
	for (size_t i = 0; i < sizeof zones / sizeof zones[0]; i++)
		if (view_case_eq_str(name, zones[i].name))
			return zones[i].minutes;
	return 0;
}

bool
date_parse(struct view value, int64_t *utc, int *zone_minutes)
{
	struct lexer lx = { value.p, value.p + value.len };
	int64_t year;
	int month, day, seconds;

	skip_weekday(&lx);
	if (!read_day(&lx, &year, &month, &day) || !read_time(&lx, &seconds))
		return false;
	*zone_minutes = read_zone(&lx);
	*utc = days_from_civil(year, month, day) * 86400 + seconds - *zone_minutes * INT64_C(60);
	return true;
}

void
date_format(int64_t utc, int zone_minutes, char *out, size_t size)
{
	const int64_t first = days_from_civil(0, 1, 1) * 86400,
		      last = days_from_civil(9999, 12, 31) * 86400;
	int zone = zone_minutes < -5999 || zone_minutes > 5999 ? 0 : zone_minutes;
	int64_t local, day_number, year;
	int month, day, seconds, abs_zone;

	/* beyond four digits the format has no room */
	local = (utc < first ? first : utc > last ? last : utc) + zone * INT64_C(60);
	day_number = (local >= 0 ? local : local - 86399) / 86400;
	seconds = (int)(local - day_number * 86400);
	civil_from_days(day_number, &year, &month, &day);
	abs_zone = zone < 0 ? -zone : zone;
	snprintf(out, size, "%s, %02d %s %04d %02d:%02d:%02d %c%02d%02d",
	    days[((day_number + 4) % 7 + 7) % 7], day, months[month - 1], (int)year, seconds / 3600,
	    seconds / 60 % 60, seconds % 60, zone < 0 ? '-' : '+', abs_zone / 60, abs_zone % 60);
}
