#include "smtpd/received.h"

#include <time.h>

enum {
	TEXT_MAX = 255
}; /* of one foreign word: no line of the field passes 998 bytes (RFC 5322 2.1.1) */

/* Foreign text inside a field: what could end a comment, a line or a quoted string becomes '?'. */
static int
put_clean(struct buf *out, const char *text)
{
	for (size_t i = 0; i < TEXT_MAX && text[i] != '\0'; i++) {
		unsigned char c = (unsigned char)text[i];
		bool is_safe = c > ' ' && c < 127 && strchr("()<>\\\"", c) == NULL;

		buf_append_byte(out, is_safe ? c : '?');
	}
	return out->failed ? -1 : 0;
}

int
mail_date_format(int64_t when, struct buf *out)
{
	static const char days[] = "SunMonTueWedThuFriSat",
			  months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	time_t t = (time_t)when;
	struct tm tm;
	long zone;

	if (localtime_r(&t, &tm) == NULL)
		return -1;
	zone = tm.tm_gmtoff / 60;
	/* not strftime: the locale must never decide what the wire means */
	return buf_printf(out, "%.3s, %d %.3s %d %02d:%02d:%02d %c%02ld%02ld (%s)",
	    days + 3 * tm.tm_wday, tm.tm_mday, months + 3 * tm.tm_mon, tm.tm_year + 1900,
	    tm.tm_hour, tm.tm_min, tm.tm_sec, zone < 0 ? '-' : '+', (zone < 0 ? -zone : zone) / 60,
	    (zone < 0 ? -zone : zone) % 60, tm.tm_zone);
}

int
received_format(const struct received *r, struct buf *out)
{
	buf_append_str(out, "Received: from ");
	put_clean(out, r->helo != NULL ? r->helo : r->client_name);
	buf_append_str(out, " (");
	put_clean(out, r->client_name);
	buf_printf(out, " [%s])\r\n", r->client_literal);
	if (r->tls != NULL)
		buf_printf(out, "\t(using %s)\r\n", r->tls);
	if (r->tls != NULL && r->tls_client != NULL)
		buf_printf(out, "\t%s\r\n", r->tls_client);
	if (r->login != NULL) {
		buf_append_str(out, "\t(Authenticated sender: ");
		put_clean(out, r->login);
		buf_append_str(out, ")\r\n");
	}
	buf_printf(out, "\tby %s (%s) with %s id %s", r->myhostname, r->mail_name, r->protocol,
	    r->queue_id);
	/* the address came through address_parse_path: it holds no byte that could end the line */
	if (r->recipient != NULL)
		buf_printf(out, "\r\n\tfor <%s>", r->recipient);
	buf_append_str(out, ";\r\n\t");
	mail_date_format(r->time, out);
	buf_append_str(out, "\r\n");
	return out->failed ? -1 : 0;
}
