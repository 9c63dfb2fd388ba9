#include "common/store/index_record.h"
#include "common/base/codec.h"

/* No hidden padding: the structs go to disk as they are. */
_Static_assert(sizeof(struct message_record) == 80, "message_record has holes");
_Static_assert(sizeof(struct box_record) == 48 + 32 + 16 + 48 + 72, "box_record has holes");

void
key_u32(unsigned char *p, uint32_t v)
{
	for (int i = 3; i >= 0; i--, v >>= 8)
		p[i] = (unsigned char)v;
}

void
key_u64(unsigned char *p, uint64_t v)
{
	for (int i = 7; i >= 0; i--, v >>= 8)
		p[i] = (unsigned char)v;
}

uint32_t
key_get_u32(const unsigned char *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

uint64_t
key_get_u64(const unsigned char *p)
{
	return (uint64_t)key_get_u32(p) << 32 | key_get_u32(p + 4);
}

void
index_message_key(unsigned char key[MESSAGE_KEY], uint32_t box, uint32_t uid)
{
	key_u32(key, box);
	key_u32(key + 4, uid);
}

void
change_key(unsigned char key[CHANGE_KEY], uint32_t box, uint64_t modseq, uint32_t uid)
{
	key_u32(key, box);
	key_u64(key + 4, modseq);
	key_u32(key + 12, uid);
}

/* The checksum stands in the first four bytes of the value and covers the key and all behind it. */
static uint32_t
record_crc(const unsigned char *key, size_t key_len, const char *value, size_t len)
{
	return crc32c(crc32c(0, key, key_len), value + 4, len - 4);
}

int
box_decode(uint32_t id, struct view value, struct box *out, struct err *err)
{
	unsigned char key[BOX_KEY];
	size_t name_len;

	if (value.len <= sizeof out->r || value.len > sizeof out->r + MAILDIR_NAME_MAX)
		return err_set(
		    err, ERR_TEMP, "index: mailbox record %u of %zu bytes", id, value.len);
	out->id = id;
	name_len = value.len - sizeof out->r;
	memcpy(&out->r, value.p, sizeof out->r);
	memcpy(out->disk, value.p + sizeof out->r, name_len);
	out->disk[name_len] = '\0';
	key_u32(key, id);
	if (record_crc(key, sizeof key, value.p, value.len) != out->r.crc)
		return err_set(err, ERR_TEMP, "index: mailbox record %u has a wrong checksum", id);
	if (strlen(out->disk) != name_len || strchr(out->disk, '/') != NULL ||
	    out->r.uidvalidity == 0 || out->r.uidnext == 0)
		return err_set(err, ERR_TEMP, "index: mailbox record %u makes no sense", id);
	return 0;
}

size_t
box_encode(const struct box *b, unsigned char *out)
{
	unsigned char key[BOX_KEY];
	size_t len = sizeof b->r + strlen(b->disk);
	uint32_t crc;

	memcpy(out, &b->r, sizeof b->r);
	memcpy(out + sizeof b->r, b->disk, len - sizeof b->r);
	key_u32(key, b->id);
	crc = record_crc(key, sizeof key, (const char *)out, len);
	memcpy(out, &crc, sizeof crc);
	return len;
}

int
index_message_decode(
    uint32_t box, uint32_t uid, struct view value, struct message *out, struct err *err)
{
	unsigned char key[MESSAGE_KEY];
	size_t name_len;

	if (value.len <= sizeof out->r || value.len > MESSAGE_VALUE_MAX)
		return err_set(
		    err, ERR_TEMP, "index: message record %u/%u of %zu bytes", box, uid, value.len);
	memcpy(&out->r, value.p, sizeof out->r);
	index_message_key(key, box, uid);
	if (record_crc(key, sizeof key, value.p, value.len) != out->r.crc)
		return err_set(
		    err, ERR_TEMP, "index: message record %u/%u has a wrong checksum", box, uid);
	name_len = value.len - sizeof out->r;
	out->uid = uid;
	out->name_len = (uint8_t)name_len;
	memcpy(out->name, value.p + sizeof out->r, name_len);
	out->name[name_len] = '\0';
	if (out->r.base_len == 0 || out->r.base_len > name_len || uid == 0 ||
	    (out->r.place != PLACE_NEW && out->r.place != PLACE_CUR) ||
	    strlen(out->name) != name_len || memchr(out->name, '/', name_len) != NULL ||
	    out->name[0] == '.' || maildir_name_has_control(view_make(out->name, name_len)))
		return err_set(
		    err, ERR_TEMP, "index: message record %u/%u makes no sense", box, uid);
	return 0;
}

size_t
index_message_encode(uint32_t box, const struct message *m, unsigned char *out)
{
	unsigned char key[MESSAGE_KEY];
	size_t len = sizeof m->r + m->name_len;
	uint32_t crc;

	memcpy(out, &m->r, sizeof m->r);
	memcpy(out + sizeof m->r, m->name, m->name_len);
	index_message_key(key, box, m->uid);
	crc = record_crc(key, sizeof key, (const char *)out, len);
	memcpy(out, &crc, sizeof crc);
	return len;
}
