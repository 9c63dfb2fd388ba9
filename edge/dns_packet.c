#include "edge/dns_packet.h"

enum {
	POINTER_JUMPS_MAX = 64,
	CLASS_IN = 1,
	RCODE_NXDOMAIN = 3,
	TTL_MAX = 0x7fffffff /* RFC 2181 8 */
};

/* A name in wire form, uncompressed, lower case. */
struct wire_name {
	unsigned char bytes[DNS_WIRE_NAME_MAX];
	size_t len;
};

struct record {
	struct wire_name owner;
	unsigned type, class;
	uint32_t ttl;
	size_t rdata, rdata_len; /* place in the packet */
};

struct reader {
	const unsigned char *p;
	size_t len, at;
};

static bool
read_u16(struct reader *r, unsigned *out)
{
	if (r->len - r->at < 2)
		return false;
	*out = (unsigned)r->p[r->at] << 8 | r->p[r->at + 1];
	r->at += 2;
	return true;
}

static bool
read_u32(struct reader *r, uint32_t *out)
{
	unsigned high, low;

	if (!read_u16(r, &high) || !read_u16(r, &low))
		return false;
	*out = (uint32_t)high << 16 | low;
	return true;
}

/* One label of at[] into the name; false past a limit. */
static bool
name_add_label(struct wire_name *n, const unsigned char *label, size_t len)
{
	if (n->len + 1 + len + 1 > DNS_WIRE_NAME_MAX)
		return false;
	n->bytes[n->len++] = (unsigned char)len;
	for (size_t i = 0; i < len; i++)
		n->bytes[n->len++] = (unsigned char)ascii_lower(label[i]);
	return true;
}

/* RFC 1035 4.1.4.  A pointer must go back, and only so many may be followed: no loops. */
static bool
read_name(struct reader *r, struct wire_name *n)
{
	size_t at = r->at, limit = r->at;
	unsigned jumps = 0;

	n->len = 0;
	for (;;) {
		unsigned label;

		if (at >= r->len)
			return false;
		label = r->p[at++];
		if (label >= 0xc0) {
			size_t target;

			if (at >= r->len || ++jumps > POINTER_JUMPS_MAX)
				return false;
			target = (label & 0x3f) << 8 | r->p[at++];
			if (jumps == 1)
				r->at = at;
			if (target >= limit)
				return false;
			limit = at = target;
			continue;
		}
		if (label > 63 || label > r->len - at)
			return false;
		if (label == 0)
			break;
		if (!name_add_label(n, r->p + at, label))
			return false;
		at += label;
	}
	n->bytes[n->len++] = 0;
	if (jumps == 0)
		r->at = at;
	return true;
}

static bool
read_record(struct reader *r, struct record *rec)
{
	unsigned len;

	if (!read_name(r, &rec->owner) || !read_u16(r, &rec->type) || !read_u16(r, &rec->class) ||
	    !read_u32(r, &rec->ttl) || !read_u16(r, &len) || len > r->len - r->at)
		return false;
	if (rec->ttl > TTL_MAX)
		rec->ttl = 0;
	rec->rdata = r->at;
	rec->rdata_len = len;
	r->at += len;
	return true;
}

static bool
name_eq(const struct wire_name *a, const struct wire_name *b)
{
	return a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

bool
dns_type_is_served(unsigned type)
{
	switch (type) {
	case DNS_A:
	case DNS_NS:
	case DNS_CNAME:
	case DNS_SOA:
	case DNS_PTR:
	case DNS_MX:
	case DNS_TXT:
	case DNS_AAAA:
	case DNS_TLSA:
		return true;
	default:
		return false;
	}
}

/* How RDATA of a type is built: bytes, then names, then bytes (RFC 1035 3.3). */
static void
rdata_shape(unsigned type, size_t *head, unsigned *names, size_t *tail)
{
	*head = type == DNS_MX ? 2 : 0;
	*names = type == DNS_SOA ? 2 : 1;
	*tail = type == DNS_SOA ? 20 : 0;
}

static bool
rdata_copy_names(struct buf *out, struct reader *r, const struct record *rec)
{
	size_t head, tail;
	unsigned names;

	rdata_shape(rec->type, &head, &names, &tail);
	if (rec->rdata_len < head + tail || buf_append(out, r->p + rec->rdata, head) < 0)
		return false;
	r->at = rec->rdata + head;
	while (names-- > 0) {
		struct wire_name n;

		if (!read_name(r, &n) || buf_append(out, n.bytes, n.len) < 0)
			return false;
	}
	if (r->at + tail != rec->rdata + rec->rdata_len)
		return false;
	return buf_append(out, r->p + r->at, tail) == 0;
}

static bool
rdata_is_plain(unsigned type)
{
	return type == DNS_A || type == DNS_AAAA || type == DNS_TXT || type == DNS_TLSA;
}

/* false: malformed, or no room. */
static bool
rdata_copy(struct buf *out, const struct reader *packet, const struct record *rec)
{
	struct reader r = *packet;

	if (rec->type == DNS_A && rec->rdata_len != 4)
		return false;
	if (rec->type == DNS_AAAA && rec->rdata_len != 16)
		return false;
	if (rdata_is_plain(rec->type))
		return buf_append(out, r.p + rec->rdata, rec->rdata_len) == 0;
	return rdata_copy_names(out, &r, rec);
}

void
dns_packet_init(struct dns_packet *p)
{
	memset(p, 0, sizeof *p);
	buf_init(&p->bytes, DNS_PACKET_RDATA_MAX);
}

void
dns_packet_clear(struct dns_packet *p)
{
	buf_clear(&p->bytes);
}

struct view
dns_packet_rdata(const struct dns_packet *p, size_t index)
{
	return view_make(p->bytes.p + p->offsets[index], p->offsets[index + 1] - p->offsets[index]);
}

static void
lower_ttl(struct dns_packet *p, uint32_t ttl)
{
	if (ttl < p->ttl)
		p->ttl = ttl;
}

/* A record that does not fit, or whose RDATA is not of its type's form, is left out. */
static void
add_record(struct dns_packet *p, const struct reader *r, const struct record *rec)
{
	size_t before = p->bytes.len;

	if (p->count == DNS_MAX_RECORDS)
		return;
	if (!rdata_copy(&p->bytes, r, rec)) {
		p->bytes.len = before;
		p->bytes.failed = false;
		return;
	}
	p->offsets[++p->count] = p->bytes.len;
	lower_ttl(p, rec->ttl);
}

static bool
follow_cname(const struct reader *packet, const struct record *rec, struct wire_name *current)
{
	struct reader r = *packet;

	r.at = rec->rdata;
	return read_name(&r, current) && r.at == rec->rdata + rec->rdata_len;
}

/* The answer section, in the order in which a resolver writes it: each CNAME before what it leads to. */
static int
parse_answers(struct dns_packet *p, struct reader *r, unsigned count, unsigned type,
    struct wire_name *current, struct err *err)
{
	unsigned cnames = 0;

	for (unsigned i = 0; i < count; i++) {
		struct record rec;

		if (!read_record(r, &rec))
			return err_set(err, ERR_SYNTAX, "malformed record %u in the answer", i);
		if (rec.class != CLASS_IN || !name_eq(&rec.owner, current))
			continue;
		if (rec.type == type) {
			add_record(p, r, &rec);
		} else if (rec.type == DNS_CNAME && p->count == 0) {
			if (++cnames > DNS_PACKET_CNAMES_MAX || !follow_cname(r, &rec, current))
				return err_set(err, ERR_SYNTAX, "bad or too many CNAMEs");
			lower_ttl(p, rec.ttl);
		}
	}
	if (cnames > 0 && !dns_rdata_name(view_make(current->bytes, current->len), p->canonical))
		return err_set(err, ERR_SYNTAX, "CNAME to a name of unsafe characters");
	return 0;
}

/* RFC 2308 5: the SOA in the authority section says how long a negative answer holds. */
static void
parse_negative_ttl(struct dns_packet *p, struct reader *r, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct record rec;

		if (!read_record(r, &rec))
			break;
		if (rec.type == DNS_SOA) {
			lower_ttl(p, rec.ttl);
			return;
		}
	}
	p->ttl = 0;
}

int
dns_packet_parse(struct dns_packet *p, struct view packet, unsigned type, struct err *err)
{
	struct reader r = { (const unsigned char *)packet.p, packet.len, 0 };
	unsigned id, flags, questions, answers, authorities, additional, qtype, qclass, rcode;
	struct wire_name current;

	p->ttl = TTL_MAX;
	p->canonical[0] = '\0';
	p->count = 0;
	buf_reset(&p->bytes);
	if (!read_u16(&r, &id) || !read_u16(&r, &flags) || !read_u16(&r, &questions) ||
	    !read_u16(&r, &answers) || !read_u16(&r, &authorities) || !read_u16(&r, &additional) ||
	    questions != 1 || !read_name(&r, &current) || !read_u16(&r, &qtype) ||
	    !read_u16(&r, &qclass))
		return err_set(err, ERR_SYNTAX, "malformed header or question");
	if (qtype != type || qclass != CLASS_IN)
		return err_set(err, ERR_SYNTAX, "answer to another question");
	rcode = flags & 15;
	if (rcode != 0 && rcode != RCODE_NXDOMAIN) {
		p->status = DNS_FAIL;
		p->ttl = 0;
		return 0;
	}
	if (parse_answers(p, &r, answers, type, &current, err) < 0)
		return -1;
	if (p->count == 0)
		parse_negative_ttl(p, &r, authorities);
	p->status = rcode == RCODE_NXDOMAIN ? DNS_NXDOMAIN : p->count > 0 ? DNS_OK : DNS_NODATA;
	if (p->status == DNS_NXDOMAIN)
		p->count = 0;
	return 0;
}
