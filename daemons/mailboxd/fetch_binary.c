/* SPDX-License-Identifier: ISC
 *
 * fetch_binary: BINARY and BINARY.SIZE (RFC 3516).
 */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemons/mailboxd/fetching.h"

/* The part without its transfer encoding (RFC 3516 4.2), in *decoded or, where
 * nothing is to be undone, as it stands in the message.  An unknown encoding
 * ends in NO [UNKNOWN-CTE] for the whole command. */
static bool
decode_part(struct cmd *c, const struct section *s, struct span *out, struct buf *decoded, bool *missing)
{
	struct fetch *f = fetch_of(c);
	const struct mime_part *p;
	struct span all;

	*missing = false;
	if (!section_part(&f->text, s, &p) || !text_all(&f->text, &all))
		return false;
	if (!s->npath) {
		*out = all;
		return true;
	}
	*missing = !p;
	if (!p)
		return true;
	*out = mime_span(all, &p->body);
	if (p->kind != MIME_LEAF || p->encoding < ENCODING_QP)
		return true;
	if (p->encoding == ENCODING_UNKNOWN) {
		f->unknown_encoding = true;
		return false;
	}
	if (!encoding_decode(p->encoding, *out, decoded))
		return false;
	*out = buf_span(decoded);
	return true;
}

static bool
put_octets(struct cmd *c, struct span octets)
{
	bool nul = octets.n && memchr(octets.p, '\0', octets.n);
	int fd = -1;
	bool ok = true;

	buf_printf(cmd_out(c), "%s{%zu}\r\n", nul ? " ~" : " ", octets.n);
	if (octets.n < OUTQ_FILE_MIN) {
		buf_put(cmd_out(c), octets);
		return true;
	}
	fd = memfd_create("binary", MFD_CLOEXEC);
	for (size_t at = 0; ok && at < octets.n;) {
		ssize_t put = fd < 0 ? -1 : write(fd, octets.p + at, octets.n - at);

		ok = put > 0;
		at += ok ? (size_t)put : 0;
	}
	if (!ok || !outq_put_file(&c->s->base.out, fd, 0, octets.n))
		c->s->base.closing = true; /* as for put_found() */
	if (fd >= 0)
		close(fd);
	return true;
}

bool
fetch_put_BINARY(struct cmd *c, struct fetch_item *item)
{
	struct span octets;
	struct buf decoded;
	bool missing, ok;

	buf_init(&decoded, BOUND_MESSAGE);
	ok = decode_part(c, &item->section, &octets, &decoded, &missing);
	if (ok)
		buf_put(cmd_out(c), item->label);
	if (ok && missing)
		buf_put(cmd_out(c), SPAN(" NIL"));
	else if (ok)
		ok = put_octets(c, item->partial ? span_sub(octets, item->from, item->count) : octets);
	buf_free(&decoded);
	return ok;
}

bool
fetch_put_BINARY_SEEN(struct cmd *c, struct fetch_item *item)
{
	return fetch_put_BINARY(c, item);
}

bool
fetch_put_BINARY_SIZE(struct cmd *c, struct fetch_item *item)
{
	struct span octets = SPAN_NONE;
	struct buf decoded;
	bool missing, ok;

	buf_init(&decoded, BOUND_MESSAGE);
	ok = decode_part(c, &item->section, &octets, &decoded, &missing);
	if (ok) {
		buf_put(cmd_out(c), item->label);
		buf_printf(cmd_out(c), " %zu", missing ? 0 : octets.n);
	}
	buf_free(&decoded);
	return ok;
}
