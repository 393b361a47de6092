/* SPDX-License-Identifier: ISC */
#include "daemons/imapd/imap_login.h"

#include <stdlib.h>
#include <string.h>

#include "base/owner.h"
#include "net/imapsyntax.h"

enum {
	MAX_TEXT = SASL_LINE_MAX + 256, /* of one command: AUTHENTICATE with a token */
	MAX_LITERAL = 1 << 10, /* a name or a password */
	MAX_ARENA = 64 << 10,
};

struct imap_login {
	struct login base;
	struct imap_reader reader;
	struct arena arena; /* of one command */
	bool tagged;        /* base.tag is the command's */
};

static struct imap_login *
of(struct login *l)
{
	return OWNER_OF(l, struct imap_login, base);
}

/* ---- replies ---- */

static void
put_capability(struct login *l)
{
	struct sasl_offer offer = login_offer(l);

	buf_put(l->out, SPAN("CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ENABLE ID IDLE"));
	if (l->tls_offered && !l->tls)
		buf_put(l->out, SPAN(" STARTTLS"));
	if (!login_by_password(l)) /* RFC 3501 6.2.3, RFC 2595 3.2 */
		buf_put(l->out, SPAN(" LOGINDISABLED"));
	if (sasl_usable(&offer)) {
		buf_putc(l->out, ' ');
		sasl_list(l->out, "AUTH=", &offer);
	}
}

static void
reply(struct login *l, const char *text)
{
	buf_puts(l->out, of(l)->tagged ? l->tag : "*");
	buf_putc(l->out, ' ');
	buf_puts(l->out, text);
	buf_put(l->out, SPAN("\r\n"));
}

static void
bye(struct login *l, const char *text)
{
	buf_put(l->out, SPAN("* BYE "));
	buf_puts(l->out, text);
	buf_put(l->out, SPAN("\r\n"));
	l->want = LOGIN_CLOSE;
}

static void
bad(struct login *l, const char *text)
{
	reply(l, text);
	if (++l->errors >= LOGIN_ERRORS_MAX)
		bye(l, "Too many errors.");
}

/* ---- commands ---- */

static void
do_capability(struct login *l, struct imap_parse *p)
{
	if (!imap_take_end(p)) {
		bad(l, "BAD CAPABILITY takes no arguments.");
		return;
	}
	buf_put(l->out, SPAN("* "));
	put_capability(l);
	buf_put(l->out, SPAN("\r\n"));
	reply(l, "OK Capability completed.");
}

static void
do_noop(struct login *l, struct imap_parse *p)
{
	(void)p;
	reply(l, "OK NOOP completed.");
}

static void
do_logout(struct login *l, struct imap_parse *p)
{
	(void)p;
	bye(l, "Logging out");
	reply(l, "OK Logout completed.");
}

static void
do_id(struct login *l, struct imap_parse *p)
{
	(void)p; /* nothing is done with it, so nothing of it is looked at */
	buf_put(l->out, SPAN("* ID (\"name\" \"Pillarpost\")\r\n"));
	reply(l, "OK ID completed.");
}

static void
do_starttls(struct login *l, struct imap_parse *p)
{
	if (!imap_take_end(p)) {
		bad(l, "BAD STARTTLS takes no arguments.");
	} else if (l->tls) {
		bad(l, "BAD TLS is already active.");
	} else if (!l->tls_offered) {
		bad(l, "BAD TLS support isn't enabled.");
	} else {
		reply(l, "OK Begin TLS negotiation now.");
		l->want = LOGIN_STARTTLS;
	}
}

static bool
may_log_in(struct login *l, bool allowed)
{
	if (allowed)
		return true;
	if (l->set.auth && !l->tls)
		reply(l, "NO [PRIVACYREQUIRED] Plaintext authentication disallowed on non-secure (TLS) connections.");
	else
		reply(l, "NO [CANNOT] Logging in is not possible here.");
	if (++l->errors >= LOGIN_ERRORS_MAX)
		bye(l, "Too many errors.");
	return false;
}

static void
do_login(struct login *l, struct imap_parse *p)
{
	struct span user, password;

	if (!imap_take_sp(p) || !imap_take_astring(p, &user) || !imap_take_sp(p) || !imap_take_astring(p, &password) ||
	    !imap_take_end(p))
		bad(l, "BAD Expected LOGIN name password.");
	else if (may_log_in(l, login_by_password(l))) {
		if (login_user(l, user) && login_password(l, password))
			login_check(l, SPAN("LOGIN"));
		else
			bad(l, "NO [AUTHENTICATIONFAILED] Authentication failed.");
	}
}

static void
go_on(struct login *l, enum sasl_result result)
{
	if (!login_exchange(l, result))
		bad(l, result == SASL_CANCELLED ? "BAD Authentication cancelled." : "BAD Malformed authentication data.");
}

static void
do_authenticate(struct login *l, struct imap_parse *p)
{
	struct sasl_offer offer = login_offer(l);
	const struct sasl_mechanism *m;
	struct span name, initial = SPAN_NONE;
	struct fail why;
	bool given;

	if (!imap_take_sp(p) || !imap_take_atom(p, &name)) {
		bad(l, "BAD Expected a mechanism.");
		return;
	}
	given = imap_try(p, ' '); /* RFC 4959 3 */
	if (given)
		initial = cursor_rest(&p->c);
	m = sasl_find(name);
	if (!m || !(sasl_set(&name, 1) & l->set.mechanisms))
		bad(l, "NO [CANNOT] Unsupported authentication mechanism.");
	else if (may_log_in(l, sasl_offered(m, &offer)))
		go_on(l, sasl_begin(&l->sasl, m, &offer, given, initial, &why));
}

static const struct {
	struct span name;
	void (*handler)(struct login *l, struct imap_parse *p);
} commands[] = {
#define COMMAND(name, handler, section) { SPAN_INIT(#name), handler },
#include "daemons/imapd/commands.def"
#undef COMMAND
};

static void
execute(struct login *l, struct span text)
{
	struct imap_login *s = of(l);
	struct imap_parse p = imap_parse_of(text, &s->arena);
	struct span tag, name;

	s->tagged = imap_take_tag(&p, &tag) && span_cstr(tag, l->tag, sizeof l->tag);
	if (!s->tagged || !imap_take_sp(&p) || !imap_take_atom(&p, &name)) {
		bad(l, s->tagged ? "BAD Error in IMAP command: no command given." : "BAD Error in IMAP command: invalid tag.");
		return;
	}
	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
		if (span_caseeq(commands[i].name, name)) {
			commands[i].handler(l, &p);
			return;
		}
	}
	bad(l, "BAD Unknown command, or log in first.");
}

/* ---- input ---- */

static size_t
take_answer(struct login *l, struct span in)
{
	size_t lf = span_chr(in, '\n');
	struct fail why;

	if (lf == SIZE_MAX) {
		if (in.n > SASL_LINE_MAX)
			bye(l, "Line too long.");
		return 0;
	}
	go_on(l, sasl_step(&l->sasl, span_trim(span_sub(in, 0, lf)), &why));
	return lf + 1;
}

static void
too_big(struct login *l, struct span text, bool sync)
{
	struct imap_login *s = of(l);
	struct imap_parse p = imap_parse_of(text, &s->arena);
	struct span tag;

	s->tagged = imap_take_tag(&p, &tag) && span_cstr(tag, l->tag, sizeof l->tag);
	bad(l, "NO [TOOBIG] Literal too large.");
	if (!sync && l->want != LOGIN_CLOSE) /* it comes whatever we say */
		bye(l, "Literal too large.");
}

static size_t
take_command(struct login *l, struct span in)
{
	struct imap_login *s = of(l);
	struct imap_literal literal = { 0 };
	size_t eaten = 0;

	switch (imap_read(&s->reader, in, &literal)) {
	case IMAP_READ_MORE:
		return 0;
	case IMAP_READ_TOOLONG:
		bye(l, "Command line too long.");
		return in.n;
	case IMAP_READ_LITERAL:
		if (!literal.too_big && literal.size <= MAX_LITERAL && s->reader.at + literal.size <= MAX_TEXT) {
			imap_reader_accept(&s->reader, literal.size);
			if (literal.sync)
				buf_put(l->out, SPAN("+ OK\r\n"));
			return 0;
		}
		too_big(l, in, literal.sync);
		break;
	case IMAP_READ_COMMAND:
		execute(l, span_sub(in, 0, s->reader.at));
		break;
	}
	eaten = s->reader.at;
	imap_reader_reset(&s->reader);
	arena_reset(&s->arena);
	return eaten;
}

static size_t
imap_input(struct login *l, struct span in)
{
	struct imap_login *s = of(l);
	size_t eaten = 0;

	while (l->want == LOGIN_INPUT && eaten < in.n) {
		size_t at = s->reader.at;
		struct span rest = span_from(in, eaten);
		size_t n = l->answering ? take_answer(l, rest) : take_command(l, rest);

		if (n == 0 && s->reader.at == at)
			break;
		eaten += n;
	}
	return eaten;
}

static void
imap_greet(struct login *l)
{
	buf_put(l->out, SPAN("* OK ["));
	put_capability(l);
	buf_put(l->out, SPAN("] "));
	imap_put_text(l->out, l->set.banner);
	buf_put(l->out, SPAN("\r\n"));
}

static void
imap_refused(struct login *l, enum login_verdict v)
{
	login_forget(l);
	if (v == LOGIN_TEMPORARY)
		reply(l, "NO [UNAVAILABLE] Temporary failure, try again later.");
	else
		reply(l, "NO [AUTHENTICATIONFAILED] Authentication failed.");
	if (login_failed(l))
		bye(l, "Too many failed logins.");
}

static void
imap_free(struct login *l)
{
	struct imap_login *s = of(l);

	login_forget(l);
	arena_free(&s->arena);
	free(s);
}

struct login *
imap_login_new(void)
{
	static const struct login_ops ops = { imap_greet, imap_input, imap_refused, bye, imap_free };
	struct imap_login *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	s->base.ops = &ops;
	imap_reader_init(&s->reader, MAX_TEXT);
	arena_init(&s->arena, MAX_ARENA);
	return &s->base;
}
