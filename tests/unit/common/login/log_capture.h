/* log_capture.h - standard error, where log lines go before log_open, into a file while a test runs.  A test that fails or
 * dies leaves its log to the reader. */
#ifndef TESTS_UNIT_COMMON_LOGIN_LOG_CAPTURE_H
#define TESTS_UNIT_COMMON_LOGIN_LOG_CAPTURE_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int log_capture_fd = -1, log_capture_stderr = -1;

static inline void
log_capture_show(void)
{
	char all[4096];
	off_t at = 0;
	ssize_t n;

	while (log_capture_fd >= 0 && (n = pread(log_capture_fd, all, sizeof all, at)) > 0) {
		if (write(log_capture_stderr, all, (size_t)n) != n)
			return;
		at += n;
	}
}

static inline void
log_capture_end(void)
{
	if (log_capture_fd < 0)
		return;
	dup2(log_capture_stderr, STDERR_FILENO);
	close(log_capture_fd);
	log_capture_fd = -1;
}

static inline void
log_capture_start(void)
{
	log_capture_show(); /* of a test that failed before this one */
	log_capture_end();
	if (log_capture_stderr < 0) {
		log_capture_stderr = dup(STDERR_FILENO);
		atexit(log_capture_show);
	}
	log_capture_fd = memfd_create("log", MFD_CLOEXEC);
	dup2(log_capture_fd, STDERR_FILENO);
}

static inline const char *
log_capture_text(void)
{
	static char all[65536];
	ssize_t n = pread(log_capture_fd, all, sizeof all - 1, 0);

	all[n > 0 ? n : 0] = '\0';
	return all;
}

static inline unsigned
log_capture_count(const char *text)
{
	const char *at = log_capture_text();
	unsigned n = 0;

	for (; (at = strstr(at, text)) != NULL; at += strlen(text))
		n++;
	return n;
}

static inline bool
log_capture_has(const char *text)
{
	return log_capture_count(text) > 0;
}

#endif
