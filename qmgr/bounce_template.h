/* bounce_template.h - the texts of notices: template files as Postfix's bounce(5) has them, in several languages.  Pure.
 *
 *	failure_template = <<EOF         also delay_template, success_template, verify_template
 *	Charset: utf-8                   headers, each of them optional: Charset, From, Subject, Postmaster-Subject
 *	Subject: Undelivered Mail
 *
 *	This is the mail system at host $myhostname.
 *	EOF
 *
 * Beyond bounce(5): "failure_template[de] = <<EOF" is that template in German (a language tag, RFC 5646), and headers may
 * hold what the charset holds.  A later template replaces an earlier one of the same name and language; what it does not say
 * is as in the template built in.
 * Ownership: everything lives in the arena of struct bounce_templates.
 * Errors:    a faulty template is left out, and faults gets a line for it: "FILE:LINE: why". */
#ifndef QMGR_BOUNCE_TEMPLATE_H
#define QMGR_BOUNCE_TEMPLATE_H

#include "common/base/arena.h"
#include "common/base/buf.h"

enum template_kind {
	TEMPLATE_FAILURE,
	TEMPLATE_DELAY,
	TEMPLATE_SUCCESS,
	TEMPLATE_VERIFY,
	TEMPLATE_KINDS
};

/* All UTF-8 without control characters; no string is NULL. */
struct bounce_template {
	const char *language; /* tag, "" = of no language in particular */
	const char *from;     /* address, perhaps without domain */
	const char *from_name;
	const char *subject, *postmaster_subject;
	const char *text; /* $parameters filled in; line ends are LF */
	struct bounce_template *next;
};

struct bounce_templates {
	struct arena arena;
	struct bounce_template *first[TEMPLATE_KINDS]; /* the latest first */
};

/* Appends the value of parameter name; false: there is none. */
typedef bool bounce_expand_fn(void *arg, struct view name, struct buf *out);

enum { TEMPLATE_FILE_MAX = 1 << 20, TEMPLATE_LANGUAGE_MAX = 35 /* RFC 5646 4.4.1 */ };

/* With the templates built in. */
void bounce_templates_init(struct bounce_templates *t, bounce_expand_fn *expand, void *arg);
void bounce_templates_clear(struct bounce_templates *t);
/* Adds those of a file.  Returns the number of faults. */
unsigned bounce_templates_parse(struct bounce_templates *t, struct view text, const char *file,
    bounce_expand_fn *expand, void *arg, struct buf *faults);
/* In this language ("de-AT"), in the one it is a variant of ("de"), in none in particular. */
const struct bounce_template *bounce_template_find(
    const struct bounce_templates *t, enum template_kind kind, struct view language);
/* Is there any text in this language, or the one it is a variant of? */
bool bounce_templates_have(const struct bounce_templates *t, struct view language);

#endif
