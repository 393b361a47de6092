/* SPDX-License-Identifier: ISC */
#include "daemons/remoted/auth.h"

#include "base/base64.h"
#include "daemons/remoted/transaction.h"
#include "mail/status.h"

enum { STEPS_MAX = 4 };

static const struct span names[] = {
#define X(name, text) [AUTH_BIT_##name] = SPAN_INIT(text),
	AUTH_MECHANISMS(X)
#undef X
};

unsigned
auth_mechanisms(struct span list)
{
	unsigned found = 0;

	while (list.n) {
		size_t n = 0;

		while (n < list.n && !ascii_blank(list.p[n]) && list.p[n] != '=' && list.p[n] != ',')
			n++;
		for (unsigned i = 0; i < AUTH_MECHANISM_COUNT; i++)
			if (span_caseeq(span_sub(list, 0, n), names[i]))
				found |= 1u << i;
		list = span_from(list, n + 1);
	}
	return found;
}

void
auth_end(struct client *c)
{
	scram_client_end(&c->scram);
}

/* Mail waits until login works again: nothing is sent without it, or the peer would refuse it for good. */
static void
give_up(struct client *c, struct verdict v)
{
	auth_end(c);
	v.outcome = VERDICT_DEFERRED;
	v.code[0] = '4';
	v.again = true;
	client_end_session(c, CLIENT_REFUSED, v, true);
}

static void
give_up_because(struct client *c, const char *what, struct span more)
{
	give_up(c, client_own_words(c, STATUS_AUTH_TEMP, what, more));
}

static void
put_base64(struct client *c, struct buf *raw)
{
	base64_encode(c->out, buf_span(raw));
	buf_puts(c->out, "\r\n");
	buf_wipe(raw);
	buf_free(raw);
	c->due++;
	c->state = CLIENT_STATE_auth;
}

static void
put_response(struct client *c, struct span text)
{
	struct buf raw;

	buf_init(&raw, SCRAM_MESSAGE_MAX);
	buf_put(&raw, text);
	put_base64(c, &raw);
}

/* What the channel can be bound by; false: nothing. */
static bool
channel_binding(const struct client *c, struct scram_binding *b, struct buf *data)
{
	static const struct span types[] = { SPAN_INIT("tls-exporter"), SPAN_INIT("tls-server-end-point") };
	const struct client_login *login = &c->settings->login;

	for (size_t i = 0; c->tls && login->binding && i < sizeof(types) / sizeof(types[0]); i++)
		if (login->binding(login->arg, types[i], data)) {
			*b = (struct scram_binding){ .type = types[i], .data = buf_span(data) };
			return true;
		}
	return false;
}

static bool
choose(struct client *c, bool bindable)
{
	const struct client_login *login = &c->settings->login;
	unsigned offered = c->mechanisms & login->mechanisms, usable = offered;

	if (!bindable)
		usable &= ~(1u << AUTH_BIT_SCRAM_SHA_256_PLUS);
	if (!c->tls && !login->plaintext)
		usable &= AUTH_SCRAM;
	if (!usable) {
		give_up_because(c, offered ? "login: only without TLS, which would show the password" : "login: the peer offers no mechanism that is known here",
		    SPAN_NONE);
		return false;
	}
	c->mechanism = 0;
	while (!(usable & 1u << c->mechanism))
		c->mechanism++;
	return true;
}

static void
put_initial(struct client *c, struct scram_binding *b, bool bindable)
{
	const struct client_login *login = &c->settings->login;
	struct buf raw;

	buf_init(&raw, SCRAM_MESSAGE_MAX);
	if (c->mechanism == AUTH_BIT_PLAIN) { /* RFC 4616 2 */
		buf_putc(&raw, '\0');
		buf_put(&raw, login->user);
		buf_putc(&raw, '\0');
		buf_put(&raw, login->password);
	} else {
		if (c->mechanism != AUTH_BIT_SCRAM_SHA_256_PLUS) /* RFC 5802 6: said only by whom would have bound */
			*b = (struct scram_binding){ .could = bindable && login->mechanisms & 1u << AUTH_BIT_SCRAM_SHA_256_PLUS };
		(void)scram_client_first(&c->scram, login->user, login->nonce, b, &raw);
	}
	put_base64(c, &raw);
}

void
auth_begin(struct client *c)
{
	struct scram_binding b = { .could = false };
	struct buf data;
	bool bindable;

	buf_init(&data, SCRAM_MESSAGE_MAX);
	bindable = channel_binding(c, &b, &data);
	if (choose(c, bindable)) {
		c->auth_steps = 0;
		c->auth_proved = !(1u << c->mechanism & AUTH_SCRAM);
		buf_printf(c->out, "AUTH %.*s", SPAN_ARG(names[c->mechanism]));
		if (c->mechanism == AUTH_BIT_LOGIN) {
			buf_puts(c->out, "\r\n");
			c->due++;
			c->state = CLIENT_STATE_auth;
		} else {
			buf_putc(c->out, ' ');
			put_initial(c, &b, bindable);
		}
	}
	buf_wipe(&data);
}

/* The server's challenge, decoded. */
static bool
challenge(const struct client *c, struct buf *out)
{
	struct span rest = span_trim(buf_span(&c->reply.text));

	return base64_decode(out, rest);
}

static void
scram_step(struct client *c, struct span message)
{
	struct buf raw;
	struct fail why;

	if (c->scram.sent) { /* server-final-message: it knows the secret, or it is not whom we know */
		c->auth_proved = scram_client_verify(&c->scram, message);
		if (!c->auth_proved) {
			give_up_because(c, "login: the peer does not know the password itself", SPAN_NONE);
			return;
		}
		put_response(c, SPAN_NONE);
		return;
	}
	buf_init(&raw, SCRAM_MESSAGE_MAX);
	if (scram_client_final(&c->scram, c->settings->login.password, message, &raw, &why)) {
		put_base64(c, &raw);
	} else {
		buf_free(&raw);
		give_up_because(c, "login", fail_text(&why));
	}
}

static void
step(struct client *c)
{
	struct buf raw;

	buf_init(&raw, SCRAM_MESSAGE_MAX);
	if (c->auth_steps++ >= STEPS_MAX || c->mechanism == AUTH_BIT_PLAIN)
		give_up_because(c, "login: the peer asks for more than the mechanism has", SPAN_NONE);
	else if (c->mechanism == AUTH_BIT_LOGIN) /* what it calls what it asks for differs; the order does not */
		put_response(c, c->auth_steps == 1 ? c->settings->login.user : c->settings->login.password);
	else if (!challenge(c, &raw))
		give_up_because(c, "login: a challenge that is not base64", SPAN_NONE);
	else
		scram_step(c, buf_span(&raw));
	buf_free(&raw);
}

void
auth_on_reply(struct client *c)
{
	if (c->reply.code == 334) {
		step(c);
	} else if (c->reply.code / 100 != 2) {
		give_up(c, client_their_words(c, "AUTH"));
	} else if (!c->auth_proved) {
		give_up_because(c, "login: the peer lets us in without having shown that it knows the password", SPAN_NONE);
	} else {
		auth_end(c);
		c->authenticated = true;
		c->state = CLIENT_STATE_idle;
		if (c->mail)
			transaction_begin(c);
	}
}
