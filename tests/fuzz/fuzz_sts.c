/* SPDX-License-Identifier: ISC
 *
 * What a domain publishes for MTA-STS, and what is read back from the disk.
 * First byte: 0 record, 1 policy, else stored value.
 */
#include <stdlib.h>

#include "daemons/stsd/store.h"

static void
check(bool ok)
{
	if (!ok)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char id[POLICY_ID + 1];
	struct buf patterns, again;
	struct entry e;
	struct policy p;
	struct fail why;
	struct span in = span_of(data + 1, size ? size - 1 : 0);

	if (size == 0)
		return 0;
	buf_init(&patterns, POLICY_PATTERNS_MAX);
	buf_init(&again, POLICY_PATTERNS_MAX + 100);
	if (data[0] == 0 && policy_record(in, id)) {
		check(span_str(id).n > 0 && span_str(id).n <= POLICY_ID);
	} else if (data[0] == 1 && policy_parse(in, &p, &patterns, &why)) {
		check(p.max_age_s >= 0 && p.max_age_s <= POLICY_AGE_MAX && (p.mode == POLICY_NONE || buf_len(&patterns) > 0));
		for (size_t i = 0; i < buf_len(&patterns); i++)
			check(ascii_print(buf_span(&patterns).p[i]));
	} else if (data[0] > 1 && store_decode(in, &e)) {
		store_encode(&again, &e);
		check(!buf_ok(&again) || buf_len(&again) <= in.n);
	}
	buf_free(&patterns);
	buf_free(&again);
	return 0;
}
