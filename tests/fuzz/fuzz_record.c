/* SPDX-License-Identifier: ISC
 *
 * fuzz_record: heads of journal records: printed, and replayed into a queue.
 * Input: records as type u8, length u16, bytes.
 */
#include <stdlib.h>

#include "base/cursor.h"
#include "log/log.h"
#include "sim/sim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cursor c = cursor_of(span_of(data, size));
	struct journal_options o = { .dir = "journal", .kind = "queu", .segment_size = 1024 * 1024 };
	struct journal *j;
	struct sim s;
	struct buf text;

	log_set_level(LOG_LEVEL_ERROR + 1);
	sim_init(&s);
	s.segment = 1024 * 1024;
	o.vfs = &s.fs->vfs;
	j = journal_open(&o, NULL);
	(void)journal_replay(j, NULL, NULL, NULL, NULL); /* empty: nothing is called */
	while (!cursor_end(&c) && c.ok) {
		uint8_t type = cursor_u8(&c);
		uint16_t n = cursor_le16(&c);
		struct journal_record r = { .type = type, .head = cursor_bytes(&c, n) };

		if (!c.ok)
			break;
		buf_init(&text, 1 << 20);
		record_print(&r, &text);
		buf_free(&text);
		(void)journal_append(j, &r, 0, NULL, NULL, NULL);
	}
	journal_close(&j);
	sim_open(&s);
	sim_run(&s, s.now + 86400000);
	sim_free(&s);
	return 0;
}
