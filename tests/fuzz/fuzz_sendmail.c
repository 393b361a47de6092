/* SPDX-License-Identifier: ISC
 *
 * What programs hand to sendmail: canonical lines within their limit, recipients of the
 * header that are addresses, no Bcc left.
 */
#include <stdlib.h>
#include <string.h>

#include "mail/header.h"
#include "tools/sendmail/sendmail.h"

enum { LINE = 78 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_lines(struct span text)
{
	size_t start = 0;

	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] == '\0' || (text.p[i] == '\r' && (i + 1 == text.n || text.p[i + 1] != '\n')))
			abort();
		if (text.p[i] != '\n')
			continue;
		if (i == 0 || text.p[i - 1] != '\r' || i - start > LINE + 1)
			abort();
		start = i + 1;
	}
	if (start != text.n)
		abort();
}

static void
check_recipients(const struct message *m)
{
	struct address a;

	for (size_t i = 0; i < m->nrecipients; i++) {
		if (!address_parse(&a, address_text(&m->recipients[i]), ADDRESS_UTF8 | ADDRESS_LONG_LOCAL, NULL))
			abort();
		for (size_t j = 0; j < i && i < 20; j++)
			if (strcmp(m->recipients[i].text, m->recipients[j].text) == 0)
				abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct message m = { .sender.n = 0 };
	struct header_field f;
	struct arena arena;
	struct fail why;

	if (!size)
		return 0;
	arena_init(&arena, 16 << 20);
	buf_init(&m.content, 1 << 20);
	(void)address_parse(&m.sender, SPAN("us@here.test"), 0, &why);
	if (message_canonical(&m.content, span_of(data + 1, size - 1), LINE, data[0] & 1)) {
		check_lines(buf_span(&m.content));
		if (message_header_recipients(&m, SPAN("here.test"), &arena, &why))
			check_recipients(&m);
		if (message_fix_header(&m, span_sub(span_of(data, size), 0, 20))) {
			if (header_find(buf_span(&m.content), SPAN("Bcc"), &f) || !header_find(buf_span(&m.content), SPAN("From"), &f))
				abort();
		}
	}
	buf_free(&m.content);
	arena_free(&arena);
	return 0;
}
