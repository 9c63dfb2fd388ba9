#define ERR_C
#include "common/base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
set_text(struct err *err, enum err_kind kind, int sys, const char *fmt, va_list ap)
{
	if (err == NULL)
		return;
	err->kind = kind;
	err->sys = sys;
	vsnprintf(err->text, sizeof err->text, fmt, ap);
	if (sys != 0) {
		size_t used = strlen(err->text);

		snprintf(err->text + used, sizeof err->text - used, ": %s", strerrordesc_np(sys));
	}
}

int
err_set(struct err *err, enum err_kind kind, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	set_text(err, kind, 0, fmt, ap);
	va_end(ap);
	return -1;
}

int
err_sys(struct err *err, enum err_kind kind, const char *fmt, ...)
{
	int sys = errno;
	va_list ap;

	va_start(ap, fmt);
	set_text(err, kind, sys, fmt, ap);
	va_end(ap);
	return -1;
}

int
err_prefix(struct err *err, const char *fmt, ...)
{
	char old[sizeof err->text];
	size_t used;
	va_list ap;

	if (err == NULL)
		return -1;
	memcpy(old, err->text, sizeof old);
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof err->text, fmt, ap);
	va_end(ap);
	used = strlen(err->text);
	snprintf(err->text + used, sizeof err->text - used, ": %s", old);
	return -1;
}

void
err_clear(struct err *err)
{
	err->kind = ERR_NONE;
	err->sys = 0;
	err->text[0] = '\0';
}

void
bug_at(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "panic: %s:%d: ", file, line);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	abort();
}
