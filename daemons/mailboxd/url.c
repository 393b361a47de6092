/* SPDX-License-Identifier: ISC */
#include "daemons/mailboxd/url.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "store/name.h"

/* ---- syntax ---- */

static bool
is_path_char(char c)
{
	return c > ' ' && c < 0x7f && c != ';' && c != '"' && c != '<' && c != '>' && c != '?' && c != '#';
}

static int
hex_digit(char c)
{
	if (ascii_digit(c))
		return c - '0';
	c = ascii_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* RFC 3986 2.1; false: a malformed escape, or NUL. */
static bool
decode(struct span text, struct arena *arena, struct span *out)
{
	char *to = arena_alloc(arena, text.n + 1);
	size_t n = 0;

	if (!to)
		return false;
	for (size_t i = 0; i < text.n; i++) {
		int high, low;

		if (text.p[i] != '%') {
			to[n++] = text.p[i];
			continue;
		}
		high = i + 2 < text.n ? hex_digit(text.p[i + 1]) : -1;
		low = i + 2 < text.n ? hex_digit(text.p[i + 2]) : -1;
		if (high < 0 || low < 0 || (high | low) == 0)
			return false;
		to[n++] = (char)(high << 4 | low);
		i += 2;
	}
	*out = span_of(to, n);
	return true;
}

static bool
take_word(struct cursor *c, struct span word)
{
	if (!span_casestarts(cursor_rest(c), word))
		return false;
	c->at += word.n;
	return true;
}

static bool
take_number(struct cursor *c, uint32_t min, uint32_t *out)
{
	uint64_t n;

	if (!span_u64(cursor_while(c, ascii_digit), UINT32_MAX, &n) || n < min)
		return false;
	*out = (uint32_t)n;
	return true;
}

/* What goes on with "/;" ends before that. */
static struct span
take_path(struct cursor *c)
{
	struct span path = cursor_while(c, is_path_char);

	if (path.n && path.p[path.n - 1] == '/' && cursor_peek(c) == ';') {
		path.n--;
		c->at--;
	}
	return path;
}

bool
url_parse(struct span text, struct arena *arena, struct url *out)
{
	struct cursor c = cursor_of(text);
	struct span path;

	*out = (struct url){ .uid = 0 };
	if (take_word(&c, SPAN("//"))) /* a server: not this session's (RFC 4469 3) */
		return false;
	if (!span_starts(cursor_rest(&c), SPAN("/;")))
		(void)take_word(&c, SPAN("/"));
	path = take_path(&c);
	/* "imap:..." would be a scheme; a colon in the first segment has to be escaped (RFC 3986 4.2) */
	if ((text.n && text.p[0] != '/' && span_chr(path, ':') != SIZE_MAX) || !decode(path, arena, &out->mailbox))
		return false;
	if (take_word(&c, SPAN(";UIDVALIDITY=")) && !take_number(&c, 1, &out->uidvalidity))
		return false;
	if (!take_word(&c, SPAN("/;UID=")) && !(c.at == 0 && take_word(&c, SPAN(";UID="))))
		return false;
	if (!take_number(&c, 1, &out->uid))
		return false;
	if (take_word(&c, SPAN("/;SECTION=")) && (!decode(take_path(&c), arena, &out->section) || !out->section.n))
		return false;
	if (take_word(&c, SPAN("/;PARTIAL=")) &&
	    (!take_number(&c, 0, &out->from) || (take_word(&c, SPAN(".")) && !take_number(&c, 1, &out->count))))
		return false;
	return cursor_end(&c) && c.ok;
}

/* ---- octets ---- */

static bool
find_section(struct url_part *u, const struct url *url, struct arena *arena)
{
	struct section section = { .what = SECTION_ALL };
	struct section_found found;

	if (url->section.n && !section_parse(url->section, arena, &section))
		return false;
	if (!section_find(&u->text, &section, &found, &u->made) || found.missing || !buf_ok(&u->made) || !text_content(&u->text))
		return false;
	u->is_made = found.is_made;
	u->at = found.is_made ? 0 : found.at;
	u->left = found.is_made ? buf_len(&u->made) : found.n;
	if (url->from > u->left)
		return false;
	u->at += url->from;
	u->left -= url->from;
	if (url->count && url->count < u->left)
		u->left = url->count;
	return true;
}

/* The mailbox is looked at, not selected: nobody's \Recent goes (RFC 4469 3: no \Seen either). */
static bool
open_mailbox(struct url_part *u, struct imap *s, const struct url *url)
{
	struct span name;
	struct buf disk;
	bool ok;

	if (!url->mailbox.n) {
		name = s->state == STATE_SELECTED ? mailbox_name(s->view.mailbox) : SPAN_NONE;
		return name.n && view_open(&u->view, s->user->store, name, true, NULL);
	}
	buf_init(&disk, BOUND_MAILBOX_NAME * 4);
	ok = name_from_utf8(url->mailbox, &disk) && view_open(&u->view, s->user->store, buf_span(&disk), true, NULL);
	buf_free(&disk);
	return ok;
}

bool
url_open(struct url_part *u, struct imap *s, const struct url *url, struct arena *arena)
{
	*u = (struct url_part){ .left = 0 };
	if (!open_mailbox(u, s, url))
		return false;
	u->is_open = true;
	text_init(&u->text);
	buf_init(&u->made, 2 << 20);
	if ((url->uidvalidity && url->uidvalidity != mailbox_uidvalidity(u->view.mailbox)) || !view_by_uid(&u->view, url->uid)) {
		url_close(u);
		return false;
	}
	text_open(&u->text, u->view.mailbox, url->uid);
	if (!find_section(u, url, arena)) {
		url_close(u);
		return false;
	}
	return true;
}

void
url_close(struct url_part *u)
{
	if (!u->is_open)
		return;
	text_free(&u->text);
	buf_free(&u->made);
	view_close(&u->view);
	u->is_open = false;
}

bool
url_read(struct url_part *u, char *to, size_t n)
{
	size_t have = 0;

	if (u->is_made) {
		memcpy(to, buf_span(&u->made).p + u->at, n);
		have = n;
	}
	while (have < n) {
		ssize_t got = pread(u->text.content.fd, to + have, n - have, (off_t)(u->at + have));

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		have += (size_t)got;
	}
	u->at += n;
	u->left -= n;
	return true;
}
