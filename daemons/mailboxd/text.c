/* SPDX-License-Identifier: ISC */
#include "daemons/mailboxd/text.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/digest.h"
#include "daemons/mailboxd/keptfield.h"
#include "daemons/mailboxd/preview.h"
#include "daemons/mailboxd/structure.h"
#include "daemons/mailboxd/subject.h"
#include "mail/date.h"
#include "mail/header.h"
#include "mail/msgid.h"

enum {
	FACTS_VERSION = 3, /* 2: subjects folded in another way */
	MAKE_MAX = 256 << 10,   /* a longer message is not read whole for the facts when only fields are asked for */
	FRONT = 8 << 10,        /* most headers end within */
	MAP_MIN = 256 << 10,    /* shorter ones are read: cheaper, and safe against truncation by others */
	PARSE_CAP = 64 << 20,   /* memory of one message's structure */
	FACTS_CAP = 2 << 20,
	MOST_FACTS = 1024,      /* octets: room for those of most messages at once */
	REFERENCES_MAX = 200,
};

static const struct desc_field fact_fields[] = {
#define FACT(kind, name, bound, meaning) { #name, DESC_##kind, bound, offsetof(struct facts, name), meaning },
	FACTS(FACT)
#undef FACT
};

static const struct desc fact_desc = {
	"facts", fact_fields, sizeof fact_fields / sizeof *fact_fields, sizeof(struct facts), "what is kept of a parsed message",
};

void
text_init(struct text *t)
{
	*t = (struct text){ 0 };
	arena_init(&t->arena, PARSE_CAP);
}

void
text_open(struct text *t, struct mailbox *mb, uint32_t uid)
{
	text_close(t);
	t->mailbox = mb;
	t->uid = uid;
}

void
text_close(struct text *t)
{
	if (t->map)
		munmap(t->map, t->map_n);
	free(t->mem);
	if (t->open)
		content_close(&t->content);
	if (t->parsed || t->known)
		arena_reset(&t->arena);
	t->map = NULL;
	t->mem = NULL;
	t->front = SPAN_NONE;
	t->root = NULL;
	t->open = t->whole = t->parsed = t->known = false;
}

void
text_free(struct text *t)
{
	text_close(t);
	arena_free(&t->arena);
}

bool
text_content(struct text *t)
{
	if (!t->open)
		t->open = mailbox_content(t->mailbox, t->uid, &t->content, NULL);
	return t->open;
}

/* The first n octets into memory. */
static bool
load(struct text *t, size_t n)
{
	char *mem = realloc(t->mem, n ? n : 1);
	size_t have = t->front.n;

	if (!mem)
		return false;
	t->mem = mem;
	while (have < n) {
		ssize_t got = pread(t->content.fd, mem + have, n - have, (off_t)have);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		have += (size_t)got;
	}
	t->front = span_of(mem, n);
	t->whole = n == t->content.size;
	return true;
}

bool
text_all(struct text *t, struct span *out)
{
	if (!t->whole) {
		if (!text_content(t))
			return false;
		if (t->content.size < MAP_MIN) {
			if (!load(t, (size_t)t->content.size))
				return false;
		} else {
			t->map_n = (size_t)t->content.size;
			t->map = mmap(NULL, t->map_n, PROT_READ, MAP_PRIVATE, t->content.fd, 0);
			if (t->map == MAP_FAILED) {
				t->map = NULL;
				return false;
			}
			t->front = span_of(t->map, t->map_n);
			t->whole = true;
		}
	}
	*out = t->front;
	return true;
}

bool
text_header(struct text *t, struct span *out)
{
	size_t n;

	if (!t->front.n) {
		if (!text_content(t) || !load(t, t->content.size < FRONT ? (size_t)t->content.size : FRONT))
			return false;
	}
	n = header_size(t->front, NULL);
	if (n == t->front.n && !t->whole) { /* it may go on */
		if (!text_all(t, out))
			return false;
		n = header_size(t->front, NULL);
	}
	*out = span_sub(t->front, 0, n);
	return true;
}

bool
text_root(struct text *t, struct mime_part **out)
{
	struct span all;

	if (!t->parsed) {
		if (!text_all(t, &all))
			return false;
		t->root = mime_parse(all, &t->arena);
		t->parsed = true;
	}
	*out = t->root;
	return t->root != NULL;
}

static void
sent_date(struct facts *f, const struct envelope *e)
{
	struct date d;

	f->sent_day = INT64_MIN;
	if (!e->date.p || !date_parse(&d, e->date))
		return;
	f->sent = d.time;
	/* RFC 3501 6.4.4 SENTON: disregarding time and zone, so the day as it is written */
	f->sent_day = d.time + (int64_t)d.zone * 60;
	f->sent_day = f->sent_day >= 0 ? f->sent_day / 86400 : -((86399 - f->sent_day) / 86400);
}

/* RFC 5256 3 (1): References, or the first id of In-Reply-To where it has none. */
static void
put_ids(struct text *t, const struct envelope *e, struct span header, struct buf *out)
{
	struct header_field f;
	struct span rest = e->message_id;
	size_t before;

	(void)msgid_next(&rest, out);
	buf_putc(out, '\n');
	before = buf_len(out);
	if (header_find(header, SPAN("References"), &f)) {
		rest = header_unfold(f.value, &t->arena);
		for (unsigned n = 0; n < REFERENCES_MAX && msgid_next(&rest, out); n++)
			buf_putc(out, '\n');
	}
	rest = e->in_reply_to;
	if (buf_len(out) == before && msgid_next(&rest, out))
		buf_putc(out, '\n');
}

/* What is kept for sorting, threads and previews. */
static bool
more_facts(struct text *t, const struct mime_part *root)
{
	struct facts *f = &t->facts;
	struct buf b;
	bool ok;

	buf_init(&b, 1 << 16);
	(void)buf_room(&b, MOST_FACTS);
	f->reply = subject_base(root->envelope->subject, &b);
	f->subject = arena_dup(&t->arena, buf_span(&b));
	ok = buf_ok(&b);
	buf_reset(&b);
	put_ids(t, root->envelope, mime_span(t->front, &root->header), &b);
	f->ids = arena_dup(&t->arena, buf_span(&b));
	ok = ok && buf_ok(&b);
	buf_reset(&b);
	preview_put(t->front, root, &b);
	f->preview = arena_dup(&t->arena, buf_span(&b));
	ok = ok && buf_ok(&b) && (f->subject.p || !f->subject.n) && f->ids.p;
	buf_reset(&b);
	f->kept = keptfield_take(mime_span(t->front, &root->header), &b) ? FACTS_KEPT : FACTS_TOO_LONG;
	f->fields = f->kept == FACTS_KEPT ? arena_dup(&t->arena, buf_span(&b)) : SPAN_NONE;
	ok = ok && (f->fields.p || f->kept != FACTS_KEPT || !buf_len(&b));
	buf_free(&b);
	return ok;
}

static bool
make_digest(struct text *t)
{
	int64_t date = mailbox_date(t->mailbox, t->uid);
	uint8_t digest[DIGEST_SHA256];
	struct span all;
	char text[8];

	if (!text_all(t, &all))
		return false;
	for (unsigned i = 0; i < sizeof text; i++)
		text[i] = (char)((uint64_t)date >> (8 * i));
	digest_parts((const struct span[]){ span_of(text, sizeof text), all }, 2, digest);
	t->facts.digest = arena_dup(&t->arena, span_of(digest, sizeof digest));
	return t->facts.digest.p != NULL;
}

/* Into t->facts, and packed as they are kept. */
static bool
build_facts(struct text *t, struct buf *packed)
{
	struct mime_part *root;
	struct buf text;
	size_t envelope_n;
	bool ok;

	if (!text_root(t, &root) || !root->envelope)
		return false;
	buf_init(&text, FACTS_CAP);
	(void)buf_room(&text, MOST_FACTS);
	t->facts = (struct facts){ .version = FACTS_VERSION, .header_n = (uint32_t)root->header.n };
	sent_date(&t->facts, root->envelope);
	structure_envelope(&text, root->envelope);
	envelope_n = buf_len(&text);
	structure_body(&text, root, true);
	t->facts.envelope = arena_dup(&t->arena, span_sub(buf_span(&text), 0, envelope_n));
	t->facts.structure = arena_dup(&t->arena, span_from(buf_span(&text), envelope_n));
	ok = buf_ok(&text) && t->facts.envelope.p && t->facts.structure.p && more_facts(t, root);
	ok = ok && (!t->hashing || make_digest(t));
	if (ok && !desc_encode(&fact_desc, &t->facts, packed))
		buf_reset(packed); /* they are too long to be kept */
	buf_free(&text);
	return ok;
}

static bool
make_facts(struct text *t)
{
	struct buf packed;
	bool ok;

	buf_init(&packed, FACTS_CAP);
	ok = build_facts(t, &packed);
	if (ok && buf_len(&packed))
		mailbox_facts_put(t->mailbox, t->uid, buf_span(&packed));
	buf_free(&packed);
	return ok;
}

bool
text_make_facts(struct span message, struct arena *arena, struct buf *out)
{
	struct text t = { .arena = *arena, .front = message, .whole = true };
	struct buf packed;
	bool ok;

	buf_init(&packed, FACTS_CAP);
	(void)buf_room(&packed, MOST_FACTS);
	ok = build_facts(&t, &packed) && buf_len(&packed);
	*arena = t.arena;
	buf_put(out, buf_span(&packed));
	buf_free(&packed);
	return ok;
}

bool
text_read_facts(struct span packed, struct facts *out)
{
	return packed.n > 0 && desc_decode_older(&fact_desc, packed, out, NULL) && out->version == FACTS_VERSION;
}

/* What is kept was made before there was more, or without it. */
static bool
lacks(const struct text *t)
{
	return (t->hashing && t->facts.digest.n != DIGEST_SHA256) || (t->keeping && !t->facts.kept);
}

bool
text_facts_kept(struct text *t, const struct facts **out)
{
	if (!t->known) {
		struct span packed = mailbox_facts(t->mailbox, t->uid);

		if (!text_read_facts(packed, &t->facts))
			return false;
		t->known = true;
	}
	*out = &t->facts;
	return !lacks(t);
}

bool
text_facts(struct text *t, const struct facts **out)
{
	if (text_facts_kept(t, out))
		return true;
	if (!make_facts(t))
		return false;
	t->known = true;
	*out = &t->facts;
	return true;
}

bool
text_fields(struct text *t, uint64_t size, uint64_t bits, struct buf *out)
{
	const struct facts *f;
	bool known;

	t->keeping = true;
	known = size <= MAKE_MAX ? text_facts(t, &f) : text_facts_kept(t, &f);
	if (!known || f->kept != FACTS_KEPT)
		return false;
	buf_reset(out);
	keptfield_put(f->fields, bits, out);
	return buf_ok(out);
}

bool
text_digest(struct text *t, struct span *out)
{
	const struct facts *f;

	t->hashing = true;
	if (!text_facts(t, &f))
		return false;
	*out = f->digest;
	return true;
}
