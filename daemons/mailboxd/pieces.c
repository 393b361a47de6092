/* SPDX-License-Identifier: ISC */
#include "daemons/mailboxd/pieces.h"

#include "daemons/mailboxd/fold.h"
#include "daemons/mailboxd/text.h"
#include "mail/charset.h"
#include "mail/header.h"
#include "mail/html.h"
#include "mail/word.h"
#include "store/signature.h"

void
pieces_init(struct pieces *p, bool (*each)(void *, struct span), void *arg)
{
	*p = (struct pieces){ .each = each, .arg = arg };
	buf_init(&p->decoded, PIECE_MAX);
	buf_init(&p->utf8, PIECE_MAX);
	buf_init(&p->folded, PIECE_MAX);
}

void
pieces_free(struct pieces *p)
{
	buf_free(&p->decoded);
	buf_free(&p->utf8);
	buf_free(&p->folded);
}

static bool
give(struct pieces *p, struct span utf8)
{
	buf_reset(&p->folded);
	fold_text(utf8, &p->folded);
	return buf_ok(&p->folded) && p->each(p->arg, buf_span(&p->folded));
}

bool
pieces_header(struct pieces *p, struct span header)
{
	struct header_walk w = header_walk(header);
	struct header_field field;

	while (header_next(&w, &field)) {
		buf_reset(&p->decoded);
		buf_put(&p->decoded, field.name);
		buf_putc(&p->decoded, ':');
		if (word_decode(field.value, &p->decoded) && give(p, buf_span(&p->decoded)))
			return true;
	}
	return false;
}

static struct span
to_utf8(struct pieces *p, const struct mime_part *part, struct span body)
{
	struct span charset = SPAN_NONE;

	(void)param_raw(&part->params, SPAN("charset"), &charset);
	if (!charset.n || span_caseeq(charset, SPAN("utf-8")) || span_caseeq(charset, SPAN("us-ascii")))
		return body;
	buf_reset(&p->utf8);
	return charset_to_utf8(charset, body, &p->utf8) ? buf_span(&p->utf8) : body;
}

static bool
give_leaf(struct pieces *p, struct span message, const struct mime_part *part)
{
	struct span body = mime_span(message, &part->body);
	struct buf bare;
	bool stop;

	if (!mime_is(part, SPAN("text"), SPAN("")))
		return false;
	buf_reset(&p->decoded);
	if (part->encoding == ENCODING_QP || part->encoding == ENCODING_BASE64) {
		(void)encoding_decode(part->encoding, body, &p->decoded);
		body = buf_span(&p->decoded);
	}
	body = to_utf8(p, part, body);
	if (!mime_is(part, SPAN("text"), SPAN("html")))
		return give(p, body);
	buf_init(&bare, PIECE_MAX);
	html_text(body, &bare);
	stop = give(p, buf_span(&bare));
	buf_free(&bare);
	return stop;
}

/* Bounded by the parser's depth. */
bool
pieces_body(struct pieces *p, struct span message, const struct mime_part *part)
{
	if (part->kind == MIME_LEAF)
		return give_leaf(p, message, part);
	for (const struct mime_part *c = part->children; c; c = c->next) {
		if (part->kind == MIME_MESSAGE && pieces_header(p, mime_span(message, &c->header)))
			return true;
		if (pieces_body(p, message, c))
			return true;
	}
	return false;
}

/* ---- for the index ---- */

static bool
sign(void *arg, struct span piece)
{
	signature_add(arg, piece);
	return false;
}

bool
pieces_sign(struct content *c, struct signature_maker *into)
{
	struct mime_part *root;
	struct span header, all;
	struct pieces p;
	struct text t;
	bool ok;

	text_init(&t);
	t.content = *c;
	t.open = true;
	pieces_init(&p, sign, into);
	ok = text_all(&t, &all) && text_header(&t, &header) && (root = mime_parse_bare(all, &t.arena));
	if (ok) {
		(void)pieces_header(&p, header);
		(void)pieces_body(&p, all, root);
	}
	pieces_free(&p);
	text_free(&t);
	return ok;
}
