/* SPDX-License-Identifier: ISC */
#include "base/fail.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void
fill(struct fail *why, const char *fmt, va_list ap)
{
	(void)vsnprintf(why->text, sizeof(why->text), fmt, ap);
	for (char *p = why->text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
}

/* In parentheses: tools/analyze has macros of these names. */
bool
(fail_set)(struct fail *why, enum fail_class class, unsigned status, const char *fmt, ...)
{
	va_list ap;

	if (!why)
		return false;
	*why = (struct fail){ .class = class, .status = status };
	va_start(ap, fmt);
	fill(why, fmt, ap);
	va_end(ap);
	return false;
}

bool
(fail_errno)(struct fail *why, unsigned status, const char *fmt, ...)
{
	int err = errno;
	size_t used;
	va_list ap;

	if (!why)
		return false;
	*why = (struct fail){ .class = FAIL_TEMP, .status = status, .err = err };
	va_start(ap, fmt);
	fill(why, fmt, ap);
	va_end(ap);
	used = strlen(why->text);
	(void)snprintf(why->text + used, sizeof(why->text) - used, ": %s", strerror(err));
	errno = err;
	return false;
}
