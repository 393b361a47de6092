/* SPDX-License-Identifier: ISC
 *
 * cmd_session: commands about the session itself.
 */
#include <string.h>

#include "daemons/mailboxd/guest.h"

void
imap_put_capability(const struct imap *s, struct buf *out)
{
	static const char *const all[] = {
#define CAPABILITY(text, section) text,
#include "daemons/mailboxd/capability.def"
#undef CAPABILITY
	};

	buf_puts(out, "CAPABILITY"); /* the word itself, as in the response code */
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		buf_putc(out, ' ');
		buf_puts(out, all[i]);
	}
	if (s->base.may_leave)
		buf_put(out, SPAN(" UNAUTHENTICATE"));
	if (s->user->quotas)
		buf_put(out, SPAN(" QUOTASET")); /* RFC 9208 4.1.3 */
	if (s->user->at_once)
		buf_printf(out, " MESSAGELIMIT=%llu", (unsigned long long)s->user->at_once); /* RFC 9738 3 */
	buf_printf(out, " APPENDLIMIT=%llu", (unsigned long long)user_message_limit(s->user)); /* RFC 7889 3 */
}

enum cmd_result
cmd_capability(struct cmd *c)
{
	buf_put(cmd_out(c), SPAN("* "));
	imap_put_capability(c->s, cmd_out(c));
	buf_put(cmd_out(c), SPAN("\r\n"));
	return cmd_completed(c);
}

enum cmd_result
cmd_noop(struct cmd *c)
{
	return cmd_completed(c);
}

enum cmd_result
cmd_check(struct cmd *c)
{
	return cmd_completed(c);
}

enum cmd_result
cmd_logout(struct cmd *c)
{
	imap_bye(c->s, "Logging out");
	return cmd_completed(c);
}

/* RFC 8437 3: the whole session ends, and all that it was told with it. Only TLS connections come back, for
 * there the front has kept the socket. */
enum cmd_result
cmd_unauthenticate(struct cmd *c)
{
	if (!c->s->base.may_leave)
		return cmd_bad(c, "Not on this connection.");
	if (c->s->base.out.squeeze) { /* RFC 8437 3: NO is no answer to it */
		imap_bye(c->s, "A compressed connection cannot be used again.");
		return cmd_bad(c, "Not behind COMPRESS.");
	}
	imap_unselect(c->s);
	c->s->unauthenticating = true;
	return cmd_completed(c);
}

enum cmd_result
cmd_late_login(struct cmd *c)
{
	return cmd_bad(c, "Already logged in.");
}

/* RFC 2971 3.1: NIL or up to 30 pairs of string and nstring; nothing is done with them. */
enum cmd_result
cmd_id(struct cmd *c)
{
	struct imap_parse *p = &c->parse;
	struct span field, value;

	if (imap_try(p, '(')) {
		for (unsigned n = 0; imap_ok(p) && !imap_try(p, ')'); n++) {
			if (n > 0)
				(void)imap_take_sp(p);
			(void)imap_take_string(p, &field);
			(void)imap_take_sp(p);
			(void)imap_take_nstring(p, &value);
			if (n >= 30)
				(void)imap_bad(p, "Too many fields");
		}
	} else {
		(void)imap_take_nstring(p, &value);
		if (imap_ok(p) && value.p)
			(void)imap_bad(p, "Expected NIL or a list");
	}
	if (!imap_take_end(p))
		return cmd_syntax(c);
	buf_put(cmd_out(c), SPAN("* ID (\"name\" \"Pillarpost\")\r\n"));
	return cmd_completed(c);
}

static const struct {
	struct span name;
	unsigned bit, implies;
} enables[] = {
	{ SPAN_INIT("CONDSTORE"), ENABLED_CONDSTORE, 0 },
	{ SPAN_INIT("QRESYNC"), ENABLED_QRESYNC, ENABLED_CONDSTORE },
	{ SPAN_INIT("METADATA"), ENABLED_METADATA, 0 },
	{ SPAN_INIT("UTF8=ACCEPT"), ENABLED_UTF8, 0 },
	{ SPAN_INIT("UIDONLY"), ENABLED_UIDONLY, 0 },
	{ SPAN_INIT("IMAP4rev2"), ENABLED_REV2, ENABLED_UTF8 },
};

/* RFC 5161 3.1: what is not known is ignored. */
enum cmd_result
cmd_enable(struct cmd *c)
{
	struct imap_parse *p = &c->parse;
	struct span name;
	unsigned asked = 0;

	do {
		(void)imap_take_sp(p);
		if (!imap_take_atom(p, &name))
			break;
		for (size_t i = 0; i < sizeof enables / sizeof *enables; i++)
			if (span_caseeq(name, enables[i].name))
				asked |= enables[i].bit;
	} while (imap_ok(p) && !imap_at_end(p));
	if (!imap_ok(p))
		return cmd_syntax(c);
	buf_put(cmd_out(c), SPAN("* ENABLED"));
	for (size_t i = 0; i < sizeof enables / sizeof *enables; i++) {
		if (!(asked & enables[i].bit) || (c->s->guest && enables[i].bit == ENABLED_METADATA))
			continue;
		c->s->enabled |= enables[i].bit | enables[i].implies;
		buf_putc(cmd_out(c), ' ');
		buf_put(cmd_out(c), enables[i].name);
	}
	buf_put(cmd_out(c), SPAN("\r\n"));
	return cmd_completed(c);
}

enum cmd_result
cmd_namespace(struct cmd *c)
{
	buf_put(cmd_out(c), SPAN("* NAMESPACE ((\"\" \".\")) "));
	buf_put(cmd_out(c), c->s->user->broker ? SPAN("((\"" OTHERS "/\" \"/\"))") : SPAN("NIL"));
	buf_put(cmd_out(c), SPAN(" NIL\r\n"));
	return cmd_completed(c);
}

/* ---- IDLE ---- */

static void
idle_release(struct cmd *c)
{
	c->s->idling = false;
	c->s->base.idle_ms = c->s->guest ? GUEST_IDLE_MS : c->s->user->imap_idle_ms;
}

static enum cmd_result
idle_step(struct cmd *c)
{
	struct imap *s = c->s;
	struct span in = buf_span(&s->base.in);
	size_t lf = span_chr(in, '\n');
	bool done = span_caseeq(span_trim(span_sub(in, 0, lf)), SPAN("DONE"));

	imap_sync(s, true);
	if (lf == SIZE_MAX) {
		if (in.n <= 64)
			return CMD_WAIT;
		imap_bye(s, "DONE expected.");
		return cmd_bad(c, "Expected DONE.");
	}
	buf_eat(&s->base.in, lf + 1);
	if (!done)
		return cmd_bad(c, "Expected DONE.");
	return cmd_completed(c);
}

enum cmd_result
cmd_idle(struct cmd *c)
{
	cmd_take_input(c);
	c->release = idle_release;
	c->s->idling = true;
	c->s->silent_ms = 0;
	c->s->base.idle_ms = c->s->user->keepalive_ms;
	buf_put(cmd_out(c), SPAN("+ idling\r\n"));
	return cmd_go(c, idle_step);
}
