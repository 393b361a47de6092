/* SPDX-License-Identifier: ISC
 *
 * What was prepared is prepared: a second time changes nothing.
 */
#include <stdlib.h>

#include "base/saslprep.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct buf one, two;

	buf_init(&one, 65536);
	buf_init(&two, 65536);
	if (saslprep(span_of(data, n), &one) && buf_len(&one) <= SASLPREP_MAX && saslprep(buf_span(&one), &two) &&
	    !span_eq(buf_span(&one), buf_span(&two)))
		abort();
	buf_free(&one);
	buf_free(&two);
	return 0;
}
