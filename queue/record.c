/* SPDX-License-Identifier: ISC */
#include "queue/record.h"

#include <inttypes.h>
#include <stddef.h>

#include "base/cursor.h"

#define RECORD(record, number, doc) static const struct desc_field fields_##record[] = {
#define FIELD(record, kind, name, bound, doc) { #name, DESC_##kind, bound, offsetof(struct record_##record, name), doc },
#define END(record) };
#include "queue/record.def"
#undef RECORD
#undef FIELD
#undef END

#define RECORD(record, number, doc)                                                                              \
	const struct desc record_desc_##record = { #record, fields_##record,                                     \
		sizeof(fields_##record) / sizeof(*fields_##record), sizeof(struct record_##record), doc };
#define FIELD(record, kind, name, bound, doc)
#define END(record)
#include "queue/record.def"
#undef RECORD
#undef FIELD
#undef END

const struct desc *
record_desc(unsigned type)
{
	static const struct {
		unsigned type;
		const struct desc *desc;
	} all[] = {
#define RECORD(record, number, doc) { number, &record_desc_##record },
#define FIELD(record, kind, name, bound, doc)
#define END(record)
#include "queue/record.def"
#undef RECORD
#undef FIELD
#undef END
	};

	for (size_t i = 0; type > 0 && i < sizeof(all) / sizeof(*all); i++)
		if (all[i].type == type)
			return all[i].desc;
	return NULL;
}

bool
record_get(const struct desc *d, const struct journal_record *r, void *out)
{
	return record_desc(r->type) == d && desc_decode_older(d, r->head, out, NULL);
}

bool
record_list_put(struct buf *list, const struct desc *d, const void *part)
{
	size_t at = buf_len(list), n;
	bool whole = buf_ok(list);
	char *p;

	buf_le32(list, 0);
	if (!desc_encode(d, part, list)) { /* half of it would spoil those before it */
		list->failed = !whole;
		buf_cut(list, at);
		return false;
	}
	n = buf_len(list) - at - 4;
	p = list->mem + list->at + at;
	for (int i = 0; i < 4; i++, n >>= 8)
		p[i] = (char)(n & 0xff);
	return true;
}

bool
record_list_next(struct span *list, const struct desc *d, void *part, bool *ok)
{
	struct cursor c = cursor_of(*list);
	uint32_t n = cursor_le32(&c);
	struct span one = cursor_bytes(&c, n);

	if (list->n == 0)
		return false;
	if (!c.ok || !desc_decode_older(d, one, part, NULL)) {
		*ok = false;
		return false;
	}
	*list = cursor_rest(&c);
	return true;
}

static void
print_list(struct span list, const struct desc *d, struct buf *out)
{
	union {
		struct record_recipient recipient;
		struct record_result result;
	} part;
	bool ok = true;

	while (record_list_next(&list, d, &part, &ok)) {
		buf_printf(out, "\n    %s ", d->name);
		desc_text(d, &part, out);
	}
	if (!ok)
		buf_puts(out, "\n    (broken list)");
}

void
record_print(const struct journal_record *r, struct buf *out)
{
	const struct desc *d = record_desc(r->type);
	union {
		struct record_envelope envelope;
		struct record_part part;
		struct record_outcome outcome;
		struct record_state state;
		struct record_destination destination;
	} u;
	struct span list = SPAN_NONE;

	buf_printf(out, "%" PRIu64 "+%zu ", journal_segment(r->pos), (size_t)(r->pos & 0xffffff) * 8);
	if (!d || !record_get(d, r, &u)) {
		buf_printf(out, "type %u: not understood", r->type);
		return;
	}
	if (r->type == RECORD_envelope) {
		list = u.envelope.list;
		u.envelope.list = SPAN_NONE;
	} else if (r->type == RECORD_part) {
		list = u.part.list;
		u.part.list = SPAN_NONE;
	} else if (r->type == RECORD_outcome) {
		list = u.outcome.list;
		u.outcome.list = SPAN_NONE;
	}
	buf_printf(out, "%s ", d->name);
	desc_text(d, &u, out);
	if (r->type == RECORD_envelope || r->type == RECORD_part)
		print_list(list, &record_desc_recipient, out);
	else if (r->type == RECORD_outcome)
		print_list(list, &record_desc_result, out);
}
