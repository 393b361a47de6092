/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "mail/received.h"
#include "mail/report.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = span_of(data, size), half = span_sub(in, 0, size / 2), rest = span_from(in, size / 2);
	struct received_new n = { .helo = half, .client_name = rest, .client_ip = half, .by = SPAN("x"), .tls = rest, .auth_user = half,
		.id = half, .recipient = rest };
	struct report_recipient rcpt = { .final = half, .original = rest, .code = half, .reply = in, .remote_mta = rest, .log_id = half };
	struct report report = { .reporting_mta = SPAN("x"), .from = SPAN("y"), .to = half, .envelope_id = rest, .unique = SPAN("z"),
		.recipients = &rcpt, .nrecipients = 1, .original = &in, .noriginal = 1, .utf8 = size & 1 };
	struct arena arena;
	struct buf out;
	struct received r;
	struct received_trail t;

	arena_init(&arena, 1 << 20);
	buf_init(&out, 1 << 20);
	(void)received_parse(&r, in, &arena);
	if (received_trail(&t, in, &arena)) {
		received_trail_text(&t, &out);
		(void)received_judge(&t, in, 50, half);
	}
	buf_reset(&out);
	received_build(&out, &n);
	for (size_t i = 0; i + 2 < buf_len(&out); i++) /* every line but the first begins with a tab */
		if (out.mem[i] == '\n' && out.mem[i + 1] != '\t')
			abort();
	if (report_build(&report, &out, NULL) && !buf_ok(&out))
		abort();
	buf_free(&out);
	arena_free(&arena);
	return 0;
}
