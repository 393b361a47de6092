/* SPDX-License-Identifier: ISC */
#include "bless.h"

#include <string.h>

#include "journal/segment.h"
#include "store/index.h"
#include "sys/crc32c.h"

/* Octets of a segment's index file, and of a snapshot's head. */
enum { INDEX_SIZE_AT = 28, INDEX_HEAD = 32 };
enum { COUNTS_AT = 68, NAMES_AT = 84, BODY_CRC_AT = 88, NAMES_CRC_AT = 92, HEAD_CRC_AT = 156, SNAPSHOT_HEAD = 160 };

static uint32_t
get(const char *p, size_t at)
{
	uint32_t v;

	memcpy(&v, p + at, sizeof(v));
	return v;
}

static void
put(char *p, size_t at, uint32_t v)
{
	memcpy(p + at, &v, sizeof(v));
}

void
bless_records(char *p, size_t n, uint32_t mark)
{
	for (size_t at = 0; at + SEGMENT_RECORD <= n; at += 8) {
		uint32_t head = get(p, at + 8), body = get(p, at + 12);

		if (get(p, at + 4) != mark || head > n || body > n || at + SEGMENT_RECORD + head + body > n)
			continue;
		put(p, at, crc32c(0, span_of(p + at + 4, SEGMENT_RECORD - 4 + head + body)));
	}
}

void
bless_segment_index(char *p, size_t n)
{
	if (n < INDEX_HEAD)
		return;
	put(p, INDEX_SIZE_AT, (uint32_t)(n - INDEX_HEAD));
	put(p, 0, crc32c(0, span_of(p + 4, n - 4)));
}

void
bless_snapshot(char *p, size_t n)
{
	static const uint64_t sizes[] = { sizeof(struct message), sizeof(struct message), sizeof(struct vanished), 1 }; /* doomed ones are second */
	uint64_t body = 0;

	if (n < SNAPSHOT_HEAD)
		return;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		body += sizes[i] * get(p, COUNTS_AT + 4 * i);
	if (body <= n - SNAPSHOT_HEAD) {
		put(p, NAMES_AT, (uint32_t)(n - SNAPSHOT_HEAD - body));
		put(p, BODY_CRC_AT, crc32c(0, span_of(p + SNAPSHOT_HEAD, body)));
		put(p, NAMES_CRC_AT, crc32c(0, span_of(p + SNAPSHOT_HEAD + body, n - SNAPSHOT_HEAD - body)));
	}
	put(p, HEAD_CRC_AT, crc32c(0, span_of(p, HEAD_CRC_AT)));
}
