#include "smtpd/milter_proto.h"

/* What a milter sends: packets, its options, replies, texts.  The first bytes choose what was negotiated. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_text(struct view reply)
{
	struct milter_text t;
	struct err err;

	if (milter_text_read(reply, &t, &err) < 0)
		return;
	if (t.code < 400 || t.code > 599)
		bug("code %d", t.code);
	for (const char *p = t.text; *p != '\0'; p++)
		if ((*p < ' ' && *p != '\n') || *p == 127)
			bug("byte %d in a reply", *p);
}

static void
check_packet(const struct milter_packet *p, uint32_t actions, unsigned version)
{
	struct milter_options o;
	struct milter_reply r;
	struct err err;

	if (milter_options_read(p->data, version, &o, &err) == 0 &&
	    (o.version > version || (o.protocol & ~milter_protocol_bits(version)) != 0))
		bug("more than was offered");
	if (milter_reply_read(p, actions, &r, &err) < 0)
		return;
	if (r.a.len + r.b.len > p->data.len)
		bug("fields beyond the packet");
	if (r.answer == MILTER_REPLY)
		check_text(r.a);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view in;
	struct milter_packet p;
	struct err err;
	size_t used;

	if (size < 2)
		return 0;
	in = view_make(data + 2, size - 2);
	check_text(in);
	while (milter_packet_read(in, &p, &used, &err) == 0) {
		if (used > in.len || used < 5)
			bug("used %zu of %zu", used, in.len);
		check_packet(&p, data[0] * 3u, MILTER_VERSION_MIN + data[1] % 5u);
		in = view_make(in.p + used, in.len - used);
	}
	return 0;
}
