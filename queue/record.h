/* SPDX-License-Identifier: ISC
 *
 * record: the records of the queue's journal as structs, made from record.def.
 * Law 8: what is written is the envelope and what happened, never a decision
 * about routing; the destination in `state` is a hint for scheduling.
 */
#ifndef QUEUE_RECORD_H
#define QUEUE_RECORD_H

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

/* One line of text for people, parts of lists included on lines of their own. */
void record_print(const struct journal_record *r, struct buf *out);

#endif
