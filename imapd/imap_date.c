#include "imapd/imap_date.h"

#include <stdio.h>
#include <time.h>

static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep",
	"Oct", "Nov", "Dec" };

/* Howard Hinnant's days_from_civil: years begin in March, eras have 146097 days. */
int64_t
imap_days_from_civil(int64_t year, unsigned month, unsigned day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t year_of_era = y - era * 400;
	int64_t day_of_year = (153 * ((int64_t)month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 +
	       day_of_year - 719468;
}

static void
civil_from_days(int64_t days, int64_t *year, unsigned *month, unsigned *day)
{
	int64_t z = days + 719468;
	int64_t era = (z >= 0 ? z : z - 146096) / 146097;
	int64_t doe = z - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	int64_t mp = (5 * doy + 2) / 153;

	*day = (unsigned)(doy - (153 * mp + 2) / 5 + 1);
	*month = (unsigned)(mp < 10 ? mp + 3 : mp - 9);
	*year = yoe + era * 400 + (*month <= 2);
}

static bool
take_digits(struct view *in, unsigned count, unsigned *out)
{
	*out = 0;
	if (in->len < count)
		return false;
	for (unsigned i = 0; i < count; i++) {
		if (!ascii_is_digit(in->p[i]))
			return false;
		*out = *out * 10 + (unsigned)(in->p[i] - '0');
	}
	*in = view_make(in->p + count, in->len - count);
	return true;
}

static bool
take_char(struct view *in, char c)
{
	if (in->len == 0 || in->p[0] != c)
		return false;
	*in = view_make(in->p + 1, in->len - 1);
	return true;
}

static bool
take_month(struct view *in, unsigned *out)
{
	for (unsigned m = 0; m < 12 && in->len >= 3; m++) {
		if (view_case_eq_str(view_make(in->p, 3), months[m])) {
			*in = view_make(in->p + 3, in->len - 3);
			*out = m + 1;
			return true;
		}
	}
	return false;
}

static bool
day_exists(unsigned year, unsigned month, unsigned day)
{
	static const unsigned char lengths[12] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	return day >= 1 && day <= lengths[month - 1] && (month != 2 || day < 29 || is_leap);
}

/* "-Feb-1994" behind the day */
static bool
take_rest_of_date(struct view *in, unsigned day, int64_t *days)
{
	unsigned month, year;

	if (!take_char(in, '-') || !take_month(in, &month) || !take_char(in, '-') ||
	    !take_digits(in, 4, &year) || !day_exists(year, month, day))
		return false;
	*days = imap_days_from_civil(year, month, day);
	return true;
}

bool
imap_date_parse(struct view in, int64_t *days)
{
	unsigned day;

	if (!take_digits(&in, 2, &day) && !take_digits(&in, 1, &day))
		return false;
	return take_rest_of_date(&in, day, days) && in.len == 0;
}

static bool
take_zone(struct view *in, int *minutes)
{
	bool is_west = in->len > 0 && in->p[0] == '-';
	unsigned hours, mins;

	if (!take_char(in, '-') && !take_char(in, '+'))
		return false;
	if (!take_digits(in, 2, &hours) || !take_digits(in, 2, &mins) || mins > 59)
		return false;
	*minutes = (int)(hours * 60 + mins);
	if (is_west)
		*minutes = -*minutes;
	return true;
}

bool
imap_date_time_parse(struct view in, int64_t *utc)
{
	unsigned day, hour, minute, second;
	int64_t days;
	int zone;

	if (take_char(&in, ' ')) {
		if (!take_digits(&in, 1, &day))
			return false;
	} else if (!take_digits(&in, 2, &day)) {
		return false;
	}
	if (!take_rest_of_date(&in, day, &days) || !take_char(&in, ' ') ||
	    !take_digits(&in, 2, &hour) || !take_char(&in, ':') || !take_digits(&in, 2, &minute) ||
	    !take_char(&in, ':') || !take_digits(&in, 2, &second) || !take_char(&in, ' ') ||
	    !take_zone(&in, &zone) || in.len != 0 || hour > 23 || minute > 59 || second > 60)
		return false;
	*utc = days * 86400 + hour * 3600 + minute * 60 + second - (int64_t)zone * 60;
	return true;
}

void
imap_date_time_format(int64_t utc, int zone_minutes, char out[32])
{
	int64_t local, days, rest, year;
	unsigned month, day, zone = (unsigned)(zone_minutes < 0 ? -zone_minutes : zone_minutes);

	/* four digits for the year are all that the grammar has (0001..9999) */
	if (utc < -62135510400)
		utc = -62135510400;
	if (utc > 253402214400)
		utc = 253402214400;
	local = utc + (int64_t)zone_minutes * 60;
	days = local >= 0 ? local / 86400 : -((86399 - local) / 86400);
	rest = local - days * 86400;
	civil_from_days(days, &year, &month, &day);
	snprintf(out, 32, "%2u-%s-%04u %02u:%02u:%02u %c%02u%02u", day % 100,
	    months[(month - 1) % 12], (unsigned)year % 10000, (unsigned)(rest / 3600) % 100,
	    (unsigned)(rest / 60) % 60, (unsigned)rest % 60, zone_minutes < 0 ? '-' : '+',
	    zone / 60 % 100, zone % 60);
}

int
imap_local_zone(int64_t utc)
{
	time_t t = (time_t)utc;
	struct tm tm;

	return localtime_r(&t, &tm) ? (int)(tm.tm_gmtoff / 60) : 0;
}
