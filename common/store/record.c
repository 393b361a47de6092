/* SPDX-License-Identifier: ISC */
#include "store/record.h"

#include "base/cursor.h"

#define RECORD(rec, doc)                                       \
	static const struct desc_field fields_##rec[] = {
#define FIELD(rec, kind, field, bound, doc) { #field, DESC_##kind, bound, offsetof(struct record_##rec, field), doc },
#define END(rec) };
#include "store/record.def"

static const struct desc descs[RECORD_COUNT] = {
#define RECORD(rec, doc) \
	[RECORD_##rec] = { #rec, fields_##rec, sizeof(fields_##rec) / sizeof(*fields_##rec), sizeof(struct record_##rec), doc },
#define FIELD(rec, kind, field, bound, doc)
#define END(rec)
#include "store/record.def"
};

const struct desc *
record_table(unsigned type)
{
	return type > RECORD_none && type < RECORD_COUNT ? &descs[type] : NULL;
}

bool
record_decode(unsigned type, struct span body, union record *out)
{
	const struct desc *d = record_table(type);

	return d && desc_decode(d, body, out, NULL);
}

void
record_put_uids(struct buf *out, const struct uid_range *ranges, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		buf_le32(out, ranges[i].lo);
		buf_le32(out, ranges[i].hi);
	}
}

bool
record_take_uids(struct span bytes, struct uidset *out)
{
	struct cursor c = cursor_of(bytes);
	uint32_t last = 0;

	while (!cursor_end(&c)) {
		uint32_t lo = cursor_le32(&c), hi = cursor_le32(&c);

		if (!c.ok || lo <= last || hi < lo)
			return false;
		uidset_add(out, lo, hi);
		last = hi;
	}
	return !out->failed;
}
