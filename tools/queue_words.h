/* queue_words.h - conditions as an admin writes them: --sender=a@b, --sender a@b, sender=a@b. */
#ifndef TOOLS_QUEUE_WORDS_H
#define TOOLS_QUEUE_WORDS_H

#include "tools/queue_client.h"

/* Takes the conditions out of the words, which are moved together; *argc is what remains.  -1: ERR_SYNTAX. */
int queue_words_read(int *argc, char **argv, struct queue_filter *out, struct err *err);

#endif
