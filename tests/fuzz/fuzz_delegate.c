/* SPDX-License-Identifier: ISC
 *
 * What a policy service may answer: nothing is taken before its last octet came, and
 * what it puts in front of a message is one field.
 */
#include <stdlib.h>
#include <string.h>

#include "daemons/verifyd/delegate.h"
#include "mail/header.h"
#include "mail/status.h"

static void
check(const struct delegate_answer *a)
{
	struct header_walk w = header_walk(a->prepend);
	struct header_field f;
	size_t fields = 0;

	while (header_next(&w, &f))
		fields++;
	if (a->prepend.n && (fields > 1 || !span_ends(a->prepend, SPAN("\r\n"))))
		abort();
	if (a->status && status_get(a->status)->class == FAIL_NONE)
		abort();
	if (a->reply && (a->reply < 400 || a->reply > 599))
		abort();
	if (memchr(a->action.p ? a->action.p : "", '\n', a->action.n))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct delegate_answer a;
	struct arena mem;
	struct fail why;
	struct span in, all;
	/* a copy, so that what reads behind it is seen */
	char *copy = malloc(size + 1);

	if (!copy || size >= DELEGATE_ANSWER_MAX) {
		free(copy);
		return 0;
	}
	memcpy(copy, data, size);
	in = all = span_of(copy, size);
	arena_init(&mem, 1 << 20);
	while (delegate_next(&in, &mem, &a, &why) == DELEGATE_ANSWER) {
		struct span part = span_sub(all, 0, all.n - in.n - 1);

		check(&a);
		if (delegate_next(&part, &mem, &a, &why) != DELEGATE_NEED)
			abort();
		all = in;
		arena_reset(&mem);
	}
	arena_free(&mem);
	free(copy);
	return 0;
}
