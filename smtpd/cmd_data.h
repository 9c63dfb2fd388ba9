/* cmd_data.h - DATA: from 354 to the final reply. */
#ifndef SMTPD_CMD_DATA_H
#define SMTPD_CMD_DATA_H

#include <stdbool.h>
#include <stdint.h>

struct smtpd_session;
struct smtpd_content;

/* Takes what is in the input.  False: more is needed. */
bool smtpd_content_step(struct smtpd_session *s);
uint64_t smtpd_content_size(const struct smtpd_session *s);
void smtpd_content_free(struct smtpd_content *c); /* NULL is allowed */
/* qmgr has answered the question for an id that DATA waits for. */
void smtpd_data_begun(struct smtpd_session *s);

#endif
