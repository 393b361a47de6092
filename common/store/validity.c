/* SPDX-License-Identifier: ISC */
#include "store/validity.h"

#include <errno.h>
#include <time.h>

#include "base/buf.h"

enum { FILE_CAP = 100 };

#define MAGIC "pillarpost uidvalidity 1\n"

/* 0: none, or what there is makes no sense. */
static uint32_t
parse(struct span text)
{
	uint64_t last = 0;

	if (span_starts(text, SPAN(MAGIC)))
		(void)span_u64(span_trim(span_from(text, sizeof(MAGIC) - 1)), UINT32_MAX, &last);
	return (uint32_t)last;
}

bool
validity_next(struct vfs *v, uint32_t *out, struct fail *why)
{
	uint32_t now = (uint32_t)time(NULL), last;
	struct buf text;
	bool ok;

	buf_init(&text, FILE_CAP);
	/* One that is there and cannot be read for now would be lost with this one. */
	if (!vfs_load(v, VALIDITY_FILE, &text) && errno != ENOENT && errno != EFBIG) {
		buf_free(&text);
		return fail_errno(why, 0, "cannot read " VALIDITY_FILE);
	}
	last = parse(buf_span(&text));
	*out = last < now || last == UINT32_MAX ? now : last + 1;
	buf_reset(&text);
	buf_printf(&text, MAGIC "%u\n", (unsigned)*out);
	ok = buf_ok(&text) && vfs_replace(v, VALIDITY_FILE, buf_span(&text));
	buf_free(&text);
	return ok || fail_errno(why, 0, "cannot write " VALIDITY_FILE);
}
