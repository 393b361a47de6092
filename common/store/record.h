/* SPDX-License-Identifier: ISC
 *
 * record: the index journal's records as structs and tables, from record.def.
 */
#ifndef STORE_RECORD_H
#define STORE_RECORD_H

#include "desc/desc.h"
#include "store/uidset.h"

#define RECORD(name, doc) struct record_##name {
#define FIELD(record, kind, name, bound, doc) desc_##kind##_type name;
#define END(name) };
#include "store/record.def"

enum record_type {
	RECORD_none,
#define RECORD(name, doc) RECORD_##name,
#define FIELD(record, kind, name, bound, doc)
#define END(name)
#include "store/record.def"
	RECORD_COUNT
};

union record {
#define RECORD(name, doc) struct record_##name name;
#define FIELD(record, kind, name, bound, doc)
#define END(name)
#include "store/record.def"
};

enum { RECORD_UIDS_MAX = 4096 };      /* ranges in one record */

const struct desc *record_table(unsigned type); /* NULL: no such type */
/* False: not a valid record of that type. Its spans point into body. */
bool record_decode(unsigned type, struct span body, union record *out);
void record_put_uids(struct buf *out, const struct uid_range *ranges, size_t n);
/* False: not ascending ranges. */
bool record_take_uids(struct span bytes, struct uidset *out);

#endif
