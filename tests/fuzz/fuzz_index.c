/* SPDX-License-Identifier: ISC
 *
 * First byte even: a run of records: type, length le16, body; odd: a snapshot file, with bit 1 one whose checksums are right.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "bless.h"
#include "store/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
look(struct index *ix)
{
	struct index_names names;
	struct buf again;
	char path[300];

	for (size_t i = 0; i < ix->n; i++) {
		const struct message *m = &ix->messages[i];

		if (i > 0 && ix->messages[i - 1].uid >= m->uid)
			abort();
		(void)index_path(ix, m, path);
		(void)index_uidl(ix, m);
		(void)index_lags(m);
	}
	if (index_names_build(&names, ix, false) && ix->n)
		(void)index_names_find(&names, ix, index_base(ix, &ix->messages[0]));
	index_names_free(&names);
	buf_init(&again, 1 << 24);
	(void)snapshot_encode(ix, 1, &again);
	buf_free(&again);
}

static void
replay(struct index *ix, struct span in)
{
	struct cursor c = cursor_of(in);

	while (!cursor_end(&c) && c.ok) {
		uint8_t type = cursor_u8(&c);
		struct span body = cursor_bytes(&c, cursor_le16(&c));
		union record r;

		if (c.ok && record_decode(type, body, &r))
			(void)index_apply(ix, type, &r);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct index ix;
	uint64_t upto;
	char *copy;

	if (size == 0 || !(copy = malloc(size)))
		return 0;
	memcpy(copy, data + 1, size - 1);
	index_init(&ix);
	if (!(data[0] & 1))
		replay(&ix, span_of(copy, size - 1));
	else if (data[0] & 2)
		bless_snapshot(copy, size - 1);
	if (!(data[0] & 1) || snapshot_load(&ix, copy, size - 1, &upto))
		look(&ix);
	index_free(&ix);
	free(copy);
	return 0;
}
