/* notice_texts.h - what notices say, and in which language: bounce_template_file, bounce_language, bounce_language_maps.
 * Read before the cage closes.  What is wrong with them is logged, one warning a fault; mail flows all the same, with the
 * texts that are built in. */
#ifndef QMGR_NOTICE_TEXTS_H
#define QMGR_NOTICE_TEXTS_H

#include "common/config/conf.h"
#include "qmgr/bounce_template.h"

struct notice_texts;
struct notice_texts *notice_texts_new(const struct conf *conf); /* conf: for the call only */
void notice_texts_free(struct notice_texts *t);                 /* NULL is allowed */
/* For a notice to this address. */
const struct bounce_template *notice_texts_find(
    struct notice_texts *t, enum template_kind kind, const char *address);

#endif
