/* SPDX-License-Identifier: ISC */
#include "reply.h"

#include <string.h>

enum { REPLY_LINE_MAX = 510 }; /* RFC 5321 4.5.3.1.5: 512 with CRLF */

static const struct {
	unsigned status, code;
	const char *texts[3];
} rows[REPLY_COUNT] = {
#define REPLY(name, status, code, standard, textbook, plain) { STATUS_##status, code, { standard, textbook, plain } },
#include "replies.def"
};

/* While replies are held, later ones queue up behind them. */
static struct buf *
output(struct session *s)
{
	return s->wait == WAIT_HOLD ? &s->held : s->ports->output(s->owner);
}

/* Peer text on its way into a reply: one line of printable bytes. */
static void
put_clean(struct buf *out, struct span text)
{
	for (size_t i = 0, from = 0; i <= text.n; i++) {
		if (i < text.n && (unsigned char)text.p[i] >= ' ' && text.p[i] != 0x7f)
			continue;
		buf_put(out, span_sub(text, from, i - from));
		if (i < text.n)
			buf_putc(out, '?');
		from = i + 1;
	}
}

static void
put_text(struct session *s, struct buf *line, const char *text, struct span arg)
{
	for (const char *p = text; *p; p++) {
		size_t plain = strcspn(p, "%");

		buf_put(line, span_of(p, plain));
		p += plain;
		if (!*p || !*++p)
			break;
		if (*p == 'h')
			buf_put(line, s->policy->conf->myhostname);
		else
			put_clean(line, *p == 'c' ? s->helo : arg);
	}
}

void
reply_words(struct session *s, struct buf *out, enum reply_id id, struct span arg)
{
	put_text(s, out, rows[id].texts[s->policy->profile], arg);
}

/* Enhanced codes belong to sessions that were told of them (RFC 2034 4). */
static void
put_codes(struct session *s, struct buf *line, unsigned code, unsigned status)
{
	buf_put_u64(line, code);
	buf_putc(line, ' ');
	if (status == STATUS_NONE || !s->extended || !(s->policy->extensions & EXT(ENHANCEDSTATUSCODES)))
		return;
	buf_puts(line, status_get(status)->code);
	buf_putc(line, ' ');
}

static struct span
keep(struct arena *mem, struct buf *line)
{
	struct span made = arena_dup(mem, span_sub(buf_span(line), 0, REPLY_LINE_MAX));

	buf_free(line);
	return made.n ? made : SPAN("451 Local trouble, try again later");
}

struct span
reply_text(struct session *s, struct arena *mem, enum reply_id id, struct span arg)
{
	struct buf line;

	buf_init(&line, 4096);
	put_codes(s, &line, rows[id].code, rows[id].status);
	put_text(s, &line, rows[id].texts[s->policy->profile], arg);
	return keep(mem, &line);
}

static void
put_status(struct session *s, struct buf *line, unsigned code, unsigned status, struct span text)
{
	put_codes(s, line, code, status);
	put_clean(line, text.n ? text : span_str(status_get(status)->text));
}

struct span
reply_status_text(struct session *s, struct arena *mem, unsigned status, unsigned code, struct span text)
{
	unsigned usual = status_get(status)->reply;
	struct buf line;

	buf_init(&line, 4096);
	put_status(s, &line, code / 100 == usual / 100 ? code : usual, status, text);
	return keep(mem, &line);
}

/* Temporary refusals are our own trouble, not the client's. */
static bool
is_error(struct span line)
{
	return line.n && line.p[0] == '5';
}

/* Somebody will ask about temporary refusals, too. What ends a session has its own line in the log; of those that no
 * rule made, which nothing else bounds, the log takes as many as a session has junk commands. */
static bool
is_refusal(struct session *s, struct span line)
{
	if (line.n == 0 || line.p[0] != '4')
		return false;
	return s->rule.n || (!span_starts(line, SPAN("421")) && s->put_off++ < s->policy->conf->smtpd_junk_command_limit);
}

/* RFC 5321 4.2.5 has no word against a slow 5xx; a client that collects them gets slow ones. */
static void
count_error(struct session *s, struct span line)
{
	s->ports->note(s->owner, SESSION_NOTE_REJECT, line);
	s->errors++;
	if (s->errors > s->policy->conf->smtpd_soft_error_limit && s->policy->conf->smtpd_error_sleep_time > 0 &&
	    (s->wait == WAIT_CLIENT || s->wait == WAIT_RCPT))
		s->wait = WAIT_HOLD;
}

void
reply_line(struct session *s, struct span line)
{
	bool error = is_error(line) && !s->uncounted;

	if (s->state == SESSION_CLOSED)
		return;
	line = span_sub(line, 0, REPLY_LINE_MAX);
	if (error)
		count_error(s, line);
	else if (is_refusal(s, line))
		s->ports->note(s->owner, SESSION_NOTE_REJECT, line);
	buf_put(output(s), line);
	buf_put(output(s), SPAN("\r\n"));
	if (error && s->errors >= s->policy->conf->smtpd_hard_error_limit)  {
		reply(s, REPLY_TOO_MANY_ERRORS, SPAN_NONE);
		s->ports->note(s->owner, SESSION_NOTE_DROPPED, SPAN("too many errors"));
		reply_close(s);
	}
}

void
reply(struct session *s, enum reply_id id, struct span arg)
{
	struct buf line;

	buf_init(&line, 4096);
	put_codes(s, &line, rows[id].code, rows[id].status);
	put_text(s, &line, rows[id].texts[s->policy->profile], arg);
	reply_line(s, buf_span(&line));
	buf_free(&line);
}

void
reply_status_code(struct session *s, unsigned status, unsigned code, struct span text)
{
	struct buf line;

	buf_init(&line, 4096);
	put_status(s, &line, code, status, text);
	reply_line(s, buf_span(&line));
	buf_free(&line);
}

void
reply_status(struct session *s, unsigned status, struct span text)
{
	reply_status_code(s, status, status_get(status)->reply, text);
	/* RFC 5321 3.8: 421 is the end. */
	if (status_get(status)->reply == 421)
		reply_close(s);
}

void
reply_part(struct session *s, unsigned code, bool more, struct span text)
{
	struct buf *out = output(s);

	if (s->state == SESSION_CLOSED)
		return;
	buf_put_u64(out, code);
	buf_putc(out, more ? '-' : ' ');
	put_clean(out, span_sub(text, 0, REPLY_LINE_MAX - 4));
	buf_put(out, SPAN("\r\n"));
}

void
reply_challenge(struct session *s, struct span base64)
{
	reply_part(s, 334, false, base64);
}

void
reply_close(struct session *s)
{
	s->state = SESSION_CLOSED;
}
