/* SPDX-License-Identifier: ISC
 *
 * record: the records of the queue's journal as structs, made from record.def.
 * Law 8: what is written is the envelope and what happened, never a decision
 * about routing; the destination in `state` is a hint for scheduling.
 */
#ifndef QUEUE_RECORD_H
#define QUEUE_RECORD_H

#include "base/list.h"
#include "desc/desc.h"
#include "journal/journal.h"

#define RECORD(record, number, doc) struct record_##record {
#define FIELD(record, kind, name, bound, doc) desc_##kind##_type name;
#define END(record) };
#include "queue/record.def"
#undef RECORD
#undef FIELD
#undef END

enum record_type {
#define RECORD(record, number, doc) RECORD_##record = number,
#define FIELD(record, kind, name, bound, doc)
#define END(record)
#include "queue/record.def"
#undef RECORD
#undef FIELD
#undef END
};

#define RECORD(record, number, doc) extern const struct desc record_desc_##record;
#define FIELD(record, kind, name, bound, doc)
#define END(record)
#include "queue/record.def"
#undef RECORD
#undef FIELD
#undef END

enum { RECORD_HEAD_MAX = 9 * 1024 * 1024 };

/* The table of a journal record's type; NULL: not ours. */
const struct desc *record_desc(unsigned type);
/* False: the head is not a valid record of that kind. */
bool record_get(const struct desc *d, const struct journal_record *r, void *out);

/* Lists inside a record: length u32 and the encoded part, again and again. */
bool record_list_put(struct buf *list, const struct desc *d, const void *part);
/* The next part; false at the end or when it is broken (then *ok = false). */
bool record_list_next(struct span *list, const struct desc *d, void *part, bool *ok);

/* Records `part` that were read and whose envelope may follow: those of one segment. */
struct record_parts {
	struct list held;
};
void record_parts_init(struct record_parts *p);
void record_parts_drop(struct record_parts *p);
bool record_parts_keep(struct record_parts *p, const struct journal_record *r); /* false: it is none, or no memory */
/* What those hold that e names, with the rest of its own list behind it, in *list, and as e->list. False: one is
 * missing, or no memory. */
bool record_parts_join(struct record_parts *p, struct record_envelope *e, struct buf *list);

/* One line of text for people, parts of lists included on lines of their own. */
void record_print(const struct journal_record *r, struct buf *out);

#endif
