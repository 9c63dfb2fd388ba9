/* index_record.h - the records of the index: fixed structs with a checksum, and their decoding (pure).
 *
 * LMDB's file is bound to the machine's byte order anyway, so values are the structs as they stand; keys are big
 * endian, so that they sort.  Every record carries a CRC-32C over its key and value: LMDB itself would not
 * notice a flipped bit, and a wrong UID is worse than a rebuilt index.
 */
#ifndef COMMON_STORE_INDEX_RECORD_H
#define COMMON_STORE_INDEX_RECORD_H

#include "common/base/err.h"
#include "common/base/view.h"
#include "common/store/maildir_name.h"
#include "common/store/store.h"

enum { INDEX_FORMAT = 1 }; /* a change of any struct here makes old indexes be rebuilt */

/* Which file, in which state, a text beside the mail was when we last read or wrote it. */
struct file_id {
	uint64_t ino;
	int64_t size, mtime_ns;
};

struct box_record {
	uint32_t crc;
	uint32_t uidvalidity, uidnext;
	uint32_t recent_uid; /* the first UID that no session has claimed as \Recent */
	uint32_t messages, unseen, deleted;
	uint32_t in_new;          /* of messages: still in new/ */
	uint32_t unsized;         /* of messages: size with CRLF not known yet */
	uint32_t vanished;        /* entries of the expunge history */
	uint32_t uidlist_lines;   /* records in dovecot-uidlist, dead ones too */
	uint32_t is_unverified;   /* cur/ changed by us since it was last read whole */
	uint64_t modseq;          /* HIGHESTMODSEQ */
	uint64_t floor;           /* expunges up to this modseq may have been forgotten */
	uint64_t size, disk_size; /* sums over messages whose sizes are known */
	uint8_t guid[16];
	int64_t new_mtime_ns, new_scan_ns; /* of the directory, and when it was read */
	int64_t cur_mtime_ns, cur_scan_ns;
	int64_t verified_ns;  /* when cur/ was last read whole */
	int64_t tmp_clean_ns; /* when tmp/ was last cleared of old files */
	struct file_id uidlist, keywords, extra;
};
struct box {
	uint32_t id;
	struct box_record r;
	char disk[MAILDIR_NAME_MAX + 1]; /* directory below the Maildir; "." is INBOX */
};

#define SIZE_UNKNOWN UINT64_MAX
enum message_place { PLACE_NEW = 1, PLACE_CUR = 2 };
struct message_record {
	uint32_t crc;
	uint16_t flags;
	uint8_t place, base_len;
	struct keyword_set keywords;
	uint64_t size;      /* with CRLF; SIZE_UNKNOWN */
	uint64_t disk_size; /* as it stands on disk */
	int64_t internal_date, save_date;
	uint64_t modseq;
	uint8_t guid[16];
};
struct message {
	uint32_t uid;
	struct message_record r;
	uint8_t name_len;
	char name[MAILDIR_NAME_MAX + 1]; /* file name in new/ or cur/ */
};

static inline struct view
message_base(const struct message *m)
{
	return view_make(m->name, m->r.base_len);
}

enum {
	BOX_KEY = 4,
	MESSAGE_KEY = 8,
	CHANGE_KEY = 16,
	MESSAGE_VALUE_MAX = sizeof(struct message_record) + MAILDIR_NAME_MAX
};
void key_u32(unsigned char *p, uint32_t v);
void key_u64(unsigned char *p, uint64_t v);
uint32_t key_get_u32(const unsigned char *p);
uint64_t key_get_u64(const unsigned char *p);
void index_message_key(unsigned char key[MESSAGE_KEY], uint32_t box, uint32_t uid);
void change_key(unsigned char key[CHANGE_KEY], uint32_t box, uint64_t modseq, uint32_t uid);

/* Each decode checks length, bounds and checksum.  -1 (ERR_TEMP): damaged. */
int box_decode(uint32_t id, struct view value, struct box *out, struct err *err);
size_t box_encode(const struct box *b,
    unsigned char *out); /* out: sizeof(struct box_record) + MAILDIR_NAME_MAX */
int index_message_decode(
    uint32_t box, uint32_t uid, struct view value, struct message *out, struct err *err);
size_t index_message_encode(
    uint32_t box, const struct message *m, unsigned char *out); /* out: MESSAGE_VALUE_MAX */

#endif
