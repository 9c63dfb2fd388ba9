#include "common/mime/charset.h"
#include "common/base/utf8.h"
#include "common/mime/message.h"

#include <errno.h>
#include <iconv.h>
#include <stdio.h>

/* The charsets that mail is written in.  The list is closed on purpose: a name from the wire never
 * reaches iconv_open, which would look for a module of that name, and what is listed can be loaded before
 * the cage closes. */
/* clang-format off */
static const char *const charsets[] = { /* lower case, separated by blanks; the first is iconv's */
	"iso-8859-2 iso8859-2 latin2 l2",
	"iso-8859-3 iso8859-3 latin3",
	"iso-8859-4 iso8859-4 latin4",
	"iso-8859-5 iso8859-5 cyrillic",
	"iso-8859-6 iso8859-6 arabic iso-8859-6-i iso-8859-6-e",
	"iso-8859-7 iso8859-7 greek",
	"iso-8859-8 iso8859-8 hebrew iso-8859-8-i iso-8859-8-e",
	"iso-8859-9 iso8859-9 latin5",
	"iso-8859-10 iso8859-10 latin6",
	"iso-8859-11 iso8859-11",
	"iso-8859-13 iso8859-13",
	"iso-8859-14 iso8859-14",
	"iso-8859-15 iso8859-15 latin9 latin-9",
	"iso-8859-16 iso8859-16 latin10",
	"cp1250 windows-1250",
	"cp1251 windows-1251",
	"cp1252 windows-1252",
	"cp1253 windows-1253",
	"cp1254 windows-1254",
	"cp1255 windows-1255",
	"cp1256 windows-1256",
	"cp1257 windows-1257",
	"cp1258 windows-1258",
	"cp437 ibm437",
	"cp850 ibm850",
	"cp852 ibm852",
	"cp866 ibm866",
	"cp874 windows-874 ibm874",
	"tis-620 tis620",
	"koi8-r koi8r koi8",
	"koi8-u koi8u",
	"macintosh mac x-mac-roman",
	"gb18030",
	"gbk cp936 windows-936 gb2312 gb_2312-80 euc-cn x-gbk", /* a superset, as browsers do */
	"big5-hkscs big5hkscs big5 cn-big5 x-x-big5",
	"euc-tw",
	"cp932 shift_jis shift-jis sjis x-sjis windows-31j ms_kanji",
	"euc-jp eucjp x-euc-jp",
	"iso-2022-jp csiso2022jp",
	"iso-2022-jp-2",
	"uhc cp949 windows-949 euc-kr ks_c_5601-1987 ksc5601 ks_c_5601",
	"iso-2022-kr",
	"viscii",
	"tcvn",
	"armscii-8",
	"georgian-ps",
	"utf-7 utf7 unicode-1-1-utf-7",
	"utf-16 utf16",
	"utf-16le",
	"utf-16be",
	"utf-32 utf32",
};
/* clang-format on */
enum { CHARSETS = sizeof charsets / sizeof charsets[0], NAME_MAX_LEN = 40 };

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

/* Bytes of the well-formed UTF-8 sequence at p (Unicode 15 table 3-7); 0 = malformed. */
static size_t
utf8_length(const unsigned char *p, size_t len)
{
	size_t want = p[0] < 0x80   ? 1
		      : p[0] < 0xc2 ? 0
		      : p[0] < 0xe0 ? 2
		      : p[0] < 0xf0 ? 3
		      : p[0] < 0xf5 ? 4
				    : 0;

	if (want == 0 || want > len)
		return 0;
	for (size_t i = 1; i < want; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return want;
}

int
utf8_append_valid(struct view in, struct buf *out)
{
	size_t from = 0, i = 0;

	while (i < in.len) {
		size_t len = utf8_length((const unsigned char *)in.p + i, in.len - i);

		if (len == 0) {
			buf_append(out, in.p + from, i - from);
			buf_append_str(out, replacement);
			from = i + 1;
		}
		i += len == 0 ? 1 : len;
	}
	return in.len > from ? buf_append(out, in.p + from, in.len - from) : out->failed ? -1 : 0;
}

static int
latin1_append(struct view in, struct buf *out)
{
	for (size_t i = 0; i < in.len; i++) {
		unsigned char c = (unsigned char)in.p[i];

		if (c >= 0x80)
			buf_append_byte(out, 0xc0 | c >> 6);
		buf_append_byte(out, c < 0x80 ? c : 0x80 | (c & 0x3f));
	}
	return out->failed ? -1 : 0;
}

static void
charset_iconv_name(size_t i, char name[NAME_MAX_LEN])
{
	struct view rest = view_of(charsets[i]), word;

	view_token(&rest, " ", &word);
	snprintf(name, NAME_MAX_LEN, "%.*s", VIEW_ARG(word));
}

/* iconv's own name of this charset; false if it is not listed. */
static bool
charset_find(struct view name, char iconv_name[NAME_MAX_LEN])
{
	for (size_t i = 0; i < CHARSETS; i++) {
		struct view rest = view_of(charsets[i]), word;

		while (view_token(&rest, " ", &word)) {
			if (view_case_eq(word, name)) {
				charset_iconv_name(i, iconv_name);
				return true;
			}
		}
	}
	return false;
}

static int
iconv_append(iconv_t cd, struct view in, struct buf *out)
{
	char *from = (char *)(uintptr_t)in.p, chunk[2048];
	size_t left = in.len;

	while (left > 0) {
		char *to = chunk;
		size_t room = sizeof chunk;
		size_t r = iconv(cd, &from, &left, &to, &room);

		if (r == (size_t)-1 && (errno != E2BIG || room == sizeof chunk) && left > 0) {
			/* this byte leads nowhere: malformed, or cut off at the end */
			buf_append(out, chunk, sizeof chunk - room);
			buf_append_str(out, replacement);
			from++;
			left--;
		} else {
			buf_append(out, chunk, sizeof chunk - room);
		}
		if (out->failed)
			return -1;
	}
	return 0;
}

static int
iconv_finish(iconv_t cd, struct buf *out)
{
	char chunk[64], *to = chunk;
	size_t room = sizeof chunk;

	/* UTF-8 has no state of its own, but a decoder may hold a character back until it sees the next */
	if (iconv(cd, NULL, NULL, &to, &room) == (size_t)-1)
		return 0;
	return buf_append(out, chunk, sizeof chunk - room);
}

int
charset_to_utf8(const char *charset, struct view in, struct buf *out)
{
	struct view name = view_trim(view_of(charset));
	char known[NAME_MAX_LEN];
	iconv_t cd;
	int r;

	if (name.len == 0 || view_case_eq_str(name, "utf-8") || view_case_eq_str(name, "utf8") ||
	    view_case_eq_str(name, "us-ascii") || view_case_eq_str(name, "ascii"))
		return utf8_append_valid(in, out);
	if (!charset_find(name, known) || (cd = iconv_open("UTF-8", known)) == (iconv_t)-1)
		return latin1_append(in, out);
	r = iconv_append(cd, in, out);
	if (r == 0)
		r = iconv_finish(cd, out);
	iconv_close(cd);
	return r;
}

void
charset_preload(void)
{
	static iconv_t open_for_life[CHARSETS]; /* a module is unloaded with its last user */
	char name[NAME_MAX_LEN];

	for (size_t i = 0; i < CHARSETS && open_for_life[i] == NULL; i++) {
		charset_iconv_name(i, name);
		open_for_life[i] = iconv_open("UTF-8", name);
	}
}
