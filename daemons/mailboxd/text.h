/* SPDX-License-Identifier: ISC
 *
 * text: one message while a command works on it: its octets, its header, its
 * structure, and the facts kept of it, each fetched on first need only.
 */
#ifndef MAILBOXD_TEXT_H
#define MAILBOXD_TEXT_H

#include "desc/desc.h"
#include "mail/mime.h"
#include "store/mailbox.h"

/* What is kept of every message that was ever parsed (store's cache).
 * FACT(kind, name, bound, meaning) */
#define FACTS(FACT)                                                                       \
	FACT(U8, version, 0, "of this table")                                             \
	FACT(U32, header_n, 0, "octets of the header with its empty line")                \
	FACT(I64, sent, 0, "the Date field, Unix time")                                   \
	FACT(I64, sent_day, 0, "its day as written, since 1970; INT64_MIN: no date")      \
	FACT(U8, reply, 0, "its subject is one of a reply or a forward (RFC 5256 2.1)")   \
	FACT(BYTES, envelope, 1 << 20, "ENVELOPE as it is sent")                          \
	FACT(BYTES, structure, 1 << 20, "BODYSTRUCTURE as it is sent")                    \
	FACT(BYTES, subject, 1 << 16, "base subject, folded (subject.h)")                 \
	FACT(BYTES, ids, 1 << 16, "for threads (thread.h): Message-ID and references")    \
	FACT(BYTES, preview, 2048, "of the text (RFC 8970)")                              \
	FACT(BYTES, digest, 32, "SHA-256 of internal date and content; empty: not asked for yet") \
	FACT(U8, kept, 0, "0: by an older release, without fields; 1: fields has all of keptfield.def; 2: they were too long") \
	FACT(BYTES, fields, 8192, "header fields as they stand (keptfield.h)")

enum { FACTS_KEPT = 1, FACTS_TOO_LONG = 2 }; /* facts.kept */

struct facts {
#define FACT(kind, name, bound, meaning) desc_##kind##_type name;
	FACTS(FACT)
#undef FACT
};

struct text {
	struct mailbox *mailbox;
	uint32_t uid;
	bool open, whole, parsed, known; /* content, all, root, facts are there */
	bool hashing;            /* facts shall have the digest; stays for the next message */
	bool keeping;            /* ... the header fields */
	struct content content;
	struct span front;       /* the first octets; all of them when whole */
	void *map;               /* when mapped instead of read */
	size_t map_n;
	char *mem;               /* owned, when read */
	struct arena arena;      /* of root and facts */
	struct mime_part *root;
	struct facts facts;
};

/* Nothing is read yet.  A text may be used for one message after another. */
void text_init(struct text *t);
void text_open(struct text *t, struct mailbox *mb, uint32_t uid);
void text_close(struct text *t);
void text_free(struct text *t);

/* Each false: the message is gone or cannot be read. */
bool text_content(struct text *t);                        /* t->content is open */
bool text_all(struct text *t, struct span *out);
bool text_header(struct text *t, struct span *out);       /* with its empty line */
bool text_root(struct text *t, struct mime_part **out);
bool text_facts(struct text *t, const struct facts **out); /* cached, else made and cached */
bool text_facts_kept(struct text *t, const struct facts **out); /* only if they are cached */
/* Of the header fields that are kept (keptfield.def) those with these bits, as they stand, of a message of so many
 * octets.  False: they are to be looked for in the message, which would be long to read for its facts, or has too many. */
bool text_fields(struct text *t, uint64_t size, uint64_t bits, struct buf *out);
bool text_digest(struct text *t, struct span *out);       /* that of the facts */

/* On any thread: appends what the store keeps of a message (struct store_facts). */
bool text_make_facts(struct span message, struct arena *arena, struct buf *out);
/* And read again; spans point into packed.  False: by another release, or no facts at all. */
bool text_read_facts(struct span packed, struct facts *out);

#endif
