/* cmd_data.h - DATA and BDAT: from the first octet to the final reply. */
#ifndef SMTPD_CMD_DATA_H
#define SMTPD_CMD_DATA_H

#include "smtpd/command_table.h"

#include <stdbool.h>
#include <stdint.h>

struct smtpd_session;
struct smtpd_content;
struct content_verdict;

/* In ST_CONTENT and ST_CHUNK: takes what is in the input.  False: more is needed. */
bool smtpd_content_step(struct smtpd_session *s);
bool smtpd_chunk_step(struct smtpd_session *s);
uint64_t smtpd_content_size(const struct smtpd_session *s);
void smtpd_content_free(struct smtpd_content *c); /* NULL is allowed */
/* qmgr has answered the question for an id that DATA or BDAT waits for. */
void smtpd_data_begun(struct smtpd_session *s);
enum cmd_result smtpd_chunk_begun(struct smtpd_session *s);

/* What DATA and BDAT share.  tx->content is made; false: there is no queue id, *v says what to answer. */
bool smtpd_content_open(struct smtpd_session *s, unsigned modes, struct content_verdict *v);
/* qmgr's QMGR_LOCKED: the login is on hold.  Logs the refusal. */
struct content_verdict smtpd_content_locked(struct smtpd_session *s);
/* At most max octets of the input go to the content; it may ask qmgr for a file, and the input waits then.  As
 * smtpd_content_feed. */
int smtpd_content_take(struct smtpd_session *s, uint64_t max, size_t *used);
/* All of it is there: the final reply, or CMD_WAIT. */
enum cmd_result smtpd_content_complete(struct smtpd_session *s);
/* The message is not taken, and is over: so is its transaction.  CMD_DONE. */
enum cmd_result smtpd_content_refused(struct smtpd_session *s, const struct content_verdict *v);

#endif
