/* SPDX-License-Identifier: ISC
 *
 * A client's words (six lines) against access tables whose values are foreign too (the
 * seventh line and what follows): what is said back is of printable characters, what is
 * put in front of a message is whole fields.
 */
#include <stdlib.h>

#include "daemons/routed/access.h"
#include "mail/status.h"
#include "option.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(const struct access_verdict *v)
{
	if (v->status && status_get(v->status)->class == FAIL_NONE)
		abort();
	if (v->reply && (v->reply < 400 || v->reply > 599 || !v->status))
		abort();
	if (v->prepend.n && !span_ends(v->prepend, SPAN("\r\n")))
		abort();
	for (size_t i = 0; i < v->prepend.n; i++)
		if (v->prepend.p[i] == '\0' || (v->prepend.p[i] == '\n' && (i == 0 || v->prepend.p[i - 1] != '\r')))
			abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const maps[] = { "smtpd_client_access_maps", "smtpd_helo_access_maps", "smtpd_login_access_maps",
		"smtpd_sender_access_maps", "smtpd_recipient_access_maps", "smtpd_sender_login_maps" };
	static struct conf_errors errors;
	struct span rest = span_of(data, size);
	struct access_question q = { .client_addr = span_cut(&rest, '\n'), .client_name = span_cut(&rest, '\n'), .helo = span_cut(&rest, '\n'),
		.login = span_cut(&rest, '\n'), .sender = span_cut(&rest, '\n'), .recipient = span_cut(&rest, '\n') };
	struct access_verdict v;
	const struct conf *conf;
	struct rules *rules;
	struct arena arena;
	struct buf text;
	struct fail why;

	arena_init(&arena, 16 << 20);
	buf_init(&text, 1 << 20);
	buf_puts(&text, "reject_authenticated_sender_login_mismatch = yes\n");
	for (size_t i = 0; i < sizeof(maps) / sizeof(*maps) && rest.n; i++)
		option(&text, maps[i], span_cut(&rest, '\n'));
	conf = conf_parse(buf_span(&text), &arena, &errors);
	rules = conf ? rules_new(conf, NULL, NULL, NULL, &why) : NULL;
	if (rules) {
		access_check(rules, &q, &arena, &v);
		check(&v);
	}
	rules_free(&rules);
	buf_free(&text);
	arena_free(&arena);
	return 0;
}
