/* SPDX-License-Identifier: ISC
 *
 * BDAT (RFC 3030): content by length. Whatever is wrong, the bytes that were
 * announced are read over first: they are never taken for commands.
 */
#include <stdio.h>

#include "command.h"
#include "filter.h"

/* Why the chunk is not wanted; 0 when it is. */
static unsigned
refusal(const struct session *s, unsigned *code)
{
	const struct transaction *t = s->mail;

	*code = 503;
	if (s->policy->tls_first && !s->tls.n)
		*code = 530;
	else if (t && t->tried && !t->good) /* RFC 5321 3.3, RFC 2033 4.2 */
		*code = s->policy->lmtp ? 503 : 554;
	else if (t && t->tried)
		return 0;
	return *code == 530 ? STATUS_TLS_REQUIRED : *code == 554 ? STATUS_NO_RECIPIENTS : STATUS_BAD_SEQUENCE;
}

static bool
parse(struct span args, uint64_t *size, bool *last)
{
	struct span number = span_word(&args);

	args = span_trim(args);
	*last = span_caseeq(args, SPAN("LAST"));
	return number.n <= 19 && span_u64(number, INT64_MAX, size) && (*last || !args.n);
}

static void
chunk_over(struct session *s)
{
	struct transaction *t = s->mail;
	char text[24];
	int n;

	s->progress++;
	if (s->chunk.refused) {
		s->state = s->chunk.back;
		reply_status_code(s, s->chunk.status, s->chunk.code, SPAN_NONE);
		return;
	}
	if (s->chunk.last)
		return; /* content_ended() has been: queued's verdict is the reply */
	s->state = SESSION_RCPT;
	if (t->over) { /* RFC 3030 2: the transaction has failed; what follows of it is read over */
		unsigned status = t->status, code = t->status_code;

		s->ports->note(s->owner, SESSION_NOTE_REFUSED, SPAN("a chunk"));
		reply_status_code(s, status, code ? code : status_get(status)->reply, t->status_text);
		if (s->mail)
			transaction_end(s);
		return;
	}
	n = snprintf(text, sizeof(text), "%llu", (unsigned long long)s->chunk.size);
	reply(s, REPLY_CHUNK_OK, span_of(text, (size_t)n));
	if (filter_full(s))
		s->wait = WAIT_ROOM;
}

void
chunk_unknown(struct session *s)
{
	s->ports->note(s->owner, SESSION_NOTE_DROPPED, SPAN("BDAT of unknown length"));
	reply_close(s);
}

/* RFC 3030 2. A size that is not one leaves the end of the chunk unknown: what follows could be anything. */
void
cmd_bdat(struct session *s, struct span args)
{
	uint64_t size;
	bool last, begin = false;

	if (!(s->policy->extensions & EXT(CHUNKING)) || !parse(args, &size, &last)) {
		bool offered = s->policy->extensions & EXT(CHUNKING);

		reply_status(s, offered ? STATUS_BAD_PARAMETER : STATUS_NOT_IMPLEMENTED, offered ? SPAN("Syntax: BDAT size [LAST]") : SPAN_NONE);
		chunk_unknown(s);
		return;
	}
	s->chunk.size = s->chunk.left = size;
	s->chunk.last = last;
	s->chunk.back = s->state;
	s->chunk.status = refusal(s, &s->chunk.code);
	s->chunk.refused = s->chunk.status != 0;
	if (!s->chunk.refused && !s->mail->id)
		begin = true;
	if (begin)
		data_begin(s, true);
	s->state = SESSION_CHUNK;
	if (begin && s->mail->filtered)
		filter_data(s); /* goes on with the chunk */
	else if (size == 0)
		(void)chunk_input(s, SPAN_NONE);
}

static bool
ended(const struct session *s)
{
	return s->wait == WAIT_COMMIT || s->wait == WAIT_FILTER;
}

/* All that content can make use of now, and the rest kept: where chunks are cut means nothing. */
static void
feed(struct session *s, struct span in, bool last)
{
	struct transaction *t = s->mail;

	while (buf_len(&t->carry) && (in.n || last)) {
		size_t had = buf_len(&t->carry), n = in.n < CARRY_MAX - had ? in.n : CARRY_MAX - had;
		struct span all, rest;

		buf_put(&t->carry, span_sub(in, 0, n));
		rest = all = buf_span(&t->carry);
		t->content.last = last && n == in.n;
		while (data_step(s, &rest))
			;
		if (s->mail != t || ended(s))
			return;
		if (all.n - rest.n < had) {
			in = span_from(in, n);
			buf_eat(&t->carry, all.n - rest.n);
		} else {
			in = span_from(in, n - rest.n);
			buf_reset(&t->carry);
		}
		if (!in.n && !last)
			return;
	}
	t->content.last = last;
	while (data_step(s, &in))
		;
	if (s->mail == t && !ended(s))
		buf_put(&t->carry, in);
}

size_t
chunk_input(struct session *s, struct span bytes)
{
	size_t n = bytes.n < s->chunk.left ? bytes.n : (size_t)s->chunk.left;

	s->chunk.left -= n;
	s->progress += n > 0;
	if (!s->chunk.refused)
		feed(s, span_sub(bytes, 0, n), s->chunk.last && !s->chunk.left);
	if (!s->chunk.left)
		chunk_over(s);
	else if (!s->chunk.refused && filter_full(s))
		s->wait = WAIT_ROOM;
	return n;
}
