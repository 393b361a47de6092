/* SPDX-License-Identifier: ISC */
#include "daemons/pop3d/pop3_login.h"

#include <stdlib.h>
#include <string.h>

#include "base/owner.h"

enum { MAX_LINE = 4 << 10 }; /* RFC 2449 4 allows 255; an initial response of AUTH is longer */

struct pop3_login {
	struct login base;
	bool named;     /* USER was given */
};

static struct pop3_login *
of(struct login *l)
{
	return OWNER_OF(l, struct pop3_login, base);
}

static void
ok(struct login *l, const char *usual, const char *textbook)
{
	usual = l->set.textbook ? textbook : usual;
	buf_puts(l->out, *usual ? "+OK " : "+OK");
	buf_puts(l->out, usual);
	buf_put(l->out, SPAN("\r\n"));
}

static void
err(struct login *l, const char *text)
{
	buf_put(l->out, SPAN("-ERR "));
	buf_puts(l->out, text);
	buf_put(l->out, SPAN("\r\n"));
	if (++l->errors >= LOGIN_ERRORS_MAX)
		l->want = LOGIN_CLOSE;
}

static bool
may_log_in(struct login *l, bool allowed)
{
	if (allowed)
		return true;
	err(l, l->set.auth && !l->tls ? "Plaintext authentication disallowed on non-secure (TLS) connections."
	                   : "Logging in is not possible here.");
	return false;
}

static void
do_user(struct login *l, struct span arg)
{
	if (!may_log_in(l, login_by_password(l)))
		return;
	if (!login_user(l, arg)) {
		err(l, "Invalid user name.");
		return;
	}
	of(l)->named = true;
	ok(l, "", "");
}

/* The password may hold blanks, so it is the whole rest of the line (RFC 1939 7). */
static void
do_pass(struct login *l, struct span arg)
{
	if (!of(l)->named)
		err(l, "No user name given.");
	else if (!login_password(l, arg))
		err(l, "Invalid password.");
	else {
		of(l)->named = false;
		login_check(l, SPAN("USER"));
	}
}

static void
go_on(struct login *l, enum sasl_result result)
{
	of(l)->named = false;
	if (!login_exchange(l, result))
		err(l, result == SASL_CANCELLED ? "Authentication cancelled." : "Malformed authentication data.");
}

/* What old clients ask; not in RFC 5034. */
static void
list_mechanisms(struct login *l, const struct sasl_offer *offer)
{
	buf_put(l->out, SPAN("+OK\r\n"));
	if (sasl_usable(offer)) {
		struct buf names;
		struct span rest, name;

		buf_init(&names, 256);
		sasl_list(&names, "", offer);
		rest = buf_span(&names);
		while ((name = span_word(&rest)).n) {
			buf_put(l->out, name);
			buf_put(l->out, SPAN("\r\n"));
		}
		buf_free(&names);
	}
	buf_put(l->out, SPAN(".\r\n"));
}

static void
do_auth(struct login *l, struct span arg)
{
	struct span name = span_word(&arg), initial = span_word(&arg);
	const struct sasl_mechanism *m = sasl_find(name);
	struct sasl_offer offer = login_offer(l);
	struct fail why;

	if (!name.n)
		list_mechanisms(l, &offer);
	else if (!m || !(sasl_set(&name, 1) & l->set.mechanisms))
		err(l, "Unsupported authentication mechanism.");
	else if (may_log_in(l, sasl_offered(m, &offer)))
		go_on(l, sasl_begin(&l->sasl, m, &offer, initial.n > 0, initial, &why));
}

static void
do_capa(struct login *l, struct span arg)
{
	struct sasl_offer offer = login_offer(l);

	(void)arg;
	buf_put(l->out, SPAN("+OK\r\nCAPA\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nPIPELINING\r\nAUTH-RESP-CODE\r\nEXPIRE NEVER\r\nUTF8 USER\r\nLANG\r\n"));
	if (l->set.delay) /* RFC 2449 6.5: the same for everybody */
		buf_printf(l->out, "LOGIN-DELAY %u\r\n", l->set.delay);
	if (l->tls_offered && !l->tls)
		buf_put(l->out, SPAN("STLS\r\n"));
	if (login_by_password(l))
		buf_put(l->out, SPAN("USER\r\n"));
	if (sasl_usable(&offer)) {
		buf_put(l->out, SPAN("SASL "));
		sasl_list(l->out, "", &offer);
		buf_put(l->out, SPAN("\r\n"));
	}
	buf_put(l->out, SPAN(".\r\n"));
}

/* Messages are given as they are in any case; names and passwords may be UTF-8. */
static void
do_utf8(struct login *l, struct span arg)
{
	if (arg.n)
		err(l, "UTF8 takes no argument.");
	else
		ok(l, "UTF8 enabled", "UTF8 enabled");
}

static void
do_lang(struct login *l, struct span arg)
{
	struct span tag = span_word(&arg);

	if (!tag.n)
		buf_put(l->out, SPAN("+OK Language listing follows:\r\nen English\r\n.\r\n"));
	else if (span_eq(tag, SPAN("*")) || span_caseeq(tag, SPAN("en")) || span_casestarts(tag, SPAN("en-")))
		buf_put(l->out, SPAN("+OK en English texts\r\n"));
	else
		err(l, "There are no texts in that language.");
}

static void
do_stls(struct login *l, struct span arg)
{
	if (arg.n)
		err(l, "STLS takes no argument.");
	else if (l->tls)
		err(l, "TLS is already active.");
	else if (!l->tls_offered)
		err(l, "TLS support isn't enabled.");
	else {
		ok(l, "Begin TLS negotiation now.", "Begin TLS negotiation now.");
		of(l)->named = false;
		l->want = LOGIN_STARTTLS;
	}
}

static void
do_quit(struct login *l, struct span arg)
{
	(void)arg;
	ok(l, "Logging out.", "POP3 server signing off");
	l->want = LOGIN_CLOSE;
}

static const struct {
	struct span name;
	void (*handler)(struct login *l, struct span arg);
} commands[] = {
#define COMMAND(name, handler, section) { SPAN_INIT(#name), handler },
#include "daemons/pop3d/commands.def"
#undef COMMAND
};

static void
execute(struct login *l, struct span line)
{
	size_t blank = span_chr(line, ' ');
	struct span name = span_sub(line, 0, blank), arg = blank == SIZE_MAX ? SPAN("") : span_from(line, blank + 1);

	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
		if (span_caseeq(commands[i].name, name)) {
			commands[i].handler(l, arg);
			return;
		}
	}
	err(l, "Unknown command, or log in first.");
}

static size_t
pop3_input(struct login *l, struct span in)
{
	size_t eaten = 0;
	struct fail why;

	while (l->want == LOGIN_INPUT && eaten < in.n) {
		struct span rest = span_from(in, eaten);
		size_t lf = span_chr(rest, '\n');
		struct span line = span_sub(rest, 0, lf);

		if (line.n > (l->answering ? SASL_LINE_MAX : MAX_LINE)) {
			err(l, "Line too long.");
			l->want = LOGIN_CLOSE;
			return in.n;
		}
		if (lf == SIZE_MAX)
			break;
		if (line.n && line.p[line.n - 1] == '\r')
			line.n--;
		eaten += lf + 1;
		if (l->answering)
			go_on(l, sasl_step(&l->sasl, line, &why));
		else
			execute(l, line);
	}
	return eaten;
}

static void
pop3_greet(struct login *l)
{
	buf_put(l->out, SPAN("+OK "));
	buf_put(l->out, l->set.textbook ? SPAN("POP3 server ready") : l->set.banner);
	buf_put(l->out, SPAN("\r\n"));
}

static void
pop3_refused(struct login *l, enum login_verdict v)
{
	static const char *const texts[] = {
		[LOGIN_WRONG] = "[AUTH] Authentication failed.",
		[LOGIN_TEMPORARY] = "[SYS/TEMP] Temporary failure, try again later.",
		[LOGIN_TOO_SOON] = "[LOGIN-DELAY] You have logged in a moment ago, try again later.",
	};

	login_forget(l);
	err(l, texts[v]);
	if (login_failed(l))
		l->want = LOGIN_CLOSE;
}

static void
pop3_bye(struct login *l, const char *text)
{
	err(l, text);
	l->want = LOGIN_CLOSE;
}

static void
pop3_free(struct login *l)
{
	login_forget(l);
	free(of(l));
}

struct login *
pop3_login_new(void)
{
	static const struct login_ops ops = { pop3_greet, pop3_input, pop3_refused, pop3_bye, pop3_free };
	struct pop3_login *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	s->base.ops = &ops;
	return &s->base;
}
