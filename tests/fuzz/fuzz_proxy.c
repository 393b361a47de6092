/* SPDX-License-Identifier: ISC
 *
 * PROXY headers: whole and byte by byte give the same, and nothing behind one is taken.
 */
#include <stdlib.h>
#include <string.h>

#include "net/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum proxy_step
run(struct proxy *p, struct span in, size_t piece, size_t *taken)
{
	enum proxy_step step = PROXY_MORE;

	*taken = 0;
	while (step == PROXY_MORE && *taken < in.n) {
		size_t use = 0;

		step = proxy_next(p, span_sub(in, *taken, piece), &use);
		if (use > piece || (use == 0 && step == PROXY_MORE))
			abort();
		*taken += use;
	}
	return step;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct proxy whole, bytes;
	struct span in = { (const char *)data, size };
	size_t a, b;
	enum proxy_step one, other;

	memset(&whole, 0, sizeof(whole));
	memset(&bytes, 0, sizeof(bytes));
	one = run(&whole, in, size ? size : 1, &a);
	other = run(&bytes, in, 1, &b);
	if (one != other || (one == PROXY_DONE && (a != b || memcmp(&whole.peer, &bytes.peer, sizeof(whole.peer)) != 0)))
		abort();
	return 0;
}
