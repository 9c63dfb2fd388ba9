/* imap_date.h - IMAP's dates (RFC 3501 9: date, date-time) and the calendar behind them.  Pure. */
#ifndef IMAPD_IMAP_DATE_H
#define IMAPD_IMAP_DATE_H

#include "common/base/view.h"

/* Days since 1970-01-01 (proleptic Gregorian calendar); month and day from 1. */
int64_t imap_days_from_civil(int64_t year, unsigned month, unsigned day);
/* "1-Feb-1994" or "01-Feb-1994" */
bool imap_date_parse(struct view in, int64_t *days);
/* "17-Jul-1996 02:44:25 -0700", the first digit of the day may be a space. */
bool imap_date_time_parse(struct view in, int64_t *utc);
/* The same form, 26 characters and a NUL. */
void imap_date_time_format(int64_t utc, int zone_minutes, char out[32]);
/* The process's time zone at that instant, minutes east. */
int imap_local_zone(int64_t utc);

#endif
