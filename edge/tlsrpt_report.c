#include "edge/tlsrpt_report.h"
#include "common/base/codec.h"
#include "common/proto/address.h"

#include <stdlib.h>
#include <time.h>
#include <zlib.h>

enum { GZIP_WINDOW = 15 + 16, BASE64_LINE = 57 };

/* ---------------------------------------------------------------- the record */

/* RFC 6068: percent-encoded; what follows "?" is no address. */
static bool
read_mailto(struct view uri, struct buf *out)
{
	struct address a;
	struct err err;
	size_t from = out->len;
	bool is_good;

	view_cut(view_make(uri.p + 7, uri.len - 7), '?', &uri, NULL);
	for (size_t i = 0; i < uri.len; i++) {
		char hex[3] = { 0 };

		if (uri.p[i] != '%') {
			buf_append_byte(out, uri.p[i]);
			continue;
		}
		if (uri.len - i < 3)
			return false;
		memcpy(hex, uri.p + i + 1, 2);
		if (strspn(hex, "0123456789abcdefABCDEF") != 2)
			return false;
		buf_append_byte(out, (int)strtoul(hex, NULL, 16));
		i += 2;
	}
	if (out->failed || out->len == from)
		return !out->failed;
	is_good = address_parse(view_make(out->p + from, out->len - from), 0, &a, &err) == 0 &&
		  a.domain[0] != '\0';
	out->len = from;
	return !is_good || buf_printf(out, "%s\n", a.text) == 0; /* others may be good */
}

static bool
read_rua(struct view list, struct buf *out)
{
	struct view uri;

	while (view_token(&list, ", \t", &uri))
		if (view_case_starts(uri, "mailto:") && !read_mailto(uri, out))
			return false;
	return true;
}

bool
tlsrpt_record_read(struct view txt, struct buf *addresses)
{
	struct view version, rest, field, name, value;
	bool found = false;

	if (!view_cut(txt, ';', &version, &rest) || !view_starts(version, "v=TLSRPTv1") ||
	    view_trim(version).len != sizeof "v=TLSRPTv1" - 1)
		return false;
	while (view_token(&rest, ";", &field)) {
		if (!view_cut(view_trim(field), '=', &name, &value) ||
		    !view_eq_str(view_trim(name), "rua") || found)
			continue;
		found = true;
		if (!read_rua(value, addresses))
			return false;
	}
	return found;
}

/* ---------------------------------------------------------------- the report */

static void
date_time(int64_t at, char out[32])
{
	time_t when = (time_t)at;
	struct tm tm;

	gmtime_r(&when, &tm);
	strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

/* NULL: out of memory. */
static char *
json_text(const struct tlsrpt_report *r)
{
	char start[32], end[32], *text;
	json_t *j;

	date_time(r->start, start);
	date_time(r->end - 1, end); /* the last second of it */
	j = json_pack("{s:s, s:{s:s, s:s}, s:s, s:s, s:O}", "organization-name", r->organization,
	    "date-range", "start-datetime", start, "end-datetime", end, "contact-info", r->contact,
	    "report-id", r->id, "policies", r->policies);
	text = j != NULL ? json_dumps(j, JSON_COMPACT) : NULL;
	json_decref(j);
	return text;
}

static int
gzip(struct view text, struct buf *out)
{
	z_stream z = { .next_in = (Bytef *)(uintptr_t)text.p, .avail_in = (uInt)text.len };
	char *room;
	size_t bound;
	int r;

	if (deflateInit2(&z, Z_BEST_COMPRESSION, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) !=
	    Z_OK)
		return -1;
	bound = deflateBound(&z, text.len);
	room = buf_reserve(out, bound);
	z.next_out = (Bytef *)room;
	z.avail_out = (uInt)bound;
	r = room != NULL ? deflate(&z, Z_FINISH) : Z_MEM_ERROR;
	out->len += r == Z_STREAM_END ? z.total_out : 0;
	deflateEnd(&z);
	return r == Z_STREAM_END ? 0 : -1;
}

static void
write_header(const struct tlsrpt_report *r, const char *boundary, struct buf *out)
{
	struct view rest = view_of(r->addresses), one;
	const char *submitter = address_domain(r->contact), *separator = "";

	buf_printf(out, "From: %s\nTo: ", r->from);
	while (view_token(&rest, "\n", &one)) {
		buf_printf(out, "%s%.*s", separator, VIEW_ARG(one));
		separator = ",\n\t";
	}
	buf_printf(out,
	    "\nSubject: Report Domain: %s\n\tSubmitter: %s\n\tReport-ID: <%s>\n"
	    "TLS-Report-Domain: %s\nTLS-Report-Submitter: %s\nTLS-Required: No\n"
	    "Auto-Submitted: auto-generated\nMIME-Version: 1.0\n"
	    "Content-Type: multipart/report; report-type=\"tlsrpt\";\n\tboundary=\"%s\"\n\n",
	    r->domain, submitter, r->id, r->domain, submitter, boundary);
}

static void
write_base64(struct view data, struct buf *out)
{
	for (size_t at = 0; at < data.len; at += BASE64_LINE) {
		size_t left = data.len - at;

		base64_encode(out, data.p + at, left < BASE64_LINE ? left : BASE64_LINE);
		buf_append_byte(out, '\n');
	}
}

int
tlsrpt_message_write(const struct tlsrpt_report *r, struct buf *out, struct err *err)
{
	static const char boundary[] = "=_tlsrpt"; /* "=_" is in no base64, and not in our text */
	const char *submitter = address_domain(r->contact);
	char *text = json_text(r);
	struct buf packed;

	buf_init(&packed, TLSRPT_MESSAGE_BYTES);
	if (text != NULL && gzip(view_of(text), &packed) == 0) {
		write_header(r, boundary, out);
		buf_printf(out,
		    "--%s\nContent-Type: text/plain; charset=us-ascii\n\n"
		    "This is an aggregate TLS report from %s about mail to %s.\n\n"
		    "--%s\nContent-Type: application/tlsrpt+gzip\nContent-Transfer-Encoding: base64\n"
		    "Content-Disposition: attachment;\n\tfilename=\"%s!%s!%lld!%lld.json.gz\"\n\n",
		    boundary, submitter, r->domain, boundary, submitter, r->domain,
		    (long long)r->start, (long long)r->end - 1);
		write_base64(buf_view(&packed), out);
		buf_printf(out, "\n--%s--\n", boundary);
	} else {
		out->failed = true;
	}
	buf_clear(&packed);
	free(text);
	return out->failed ? err_set(err, ERR_TEMP, "the report cannot be written") : 0;
}
