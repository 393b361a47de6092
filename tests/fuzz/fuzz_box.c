/* SPDX-License-Identifier: ISC
 *
 * fuzz_box: what a process that was taken over leaves in its page, any bytes as parts of
 * kept input, and any session on a tape, cut anywhere.
 */
#include <stdlib.h>
#include <unistd.h>

#include "sys/box.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
within(void *arg, uint32_t session, struct span bytes)
{
	const struct span *all = arg;

	(void)session;
	if (bytes.p < all->p || bytes.p + bytes.n > all->p + all->n)
		abort();
}

static void
read_page(const struct box_page *page)
{
	struct buf input;
	struct span all;

	buf_init(&input, BOX_INPUT);
	(void)box_read(page, &input);
	all = buf_span(&input);
	if (!buf_ok(&input) || !box_each(all, within, &all)) /* what the ruler copies is in order, whatever lies there */
		abort();
	buf_free(&input);
}

/* Both halves begin with the same bytes. */
static void
any_page(struct span bytes)
{
	enum { HEAD = sizeof(struct box_now) + 3 * sizeof(uint32_t) };
	int fd;
	struct box_page *page = box_make(&fd);

	if (!page)
		return;
	if (pwrite(fd, bytes.p, bytes.n, 0) >= 0 && bytes.n > HEAD && pwrite(fd, bytes.p + HEAD, bytes.n - HEAD, HEAD + BOX_HALF) >= 0)
		read_page(page);
	(void)close(fd);
	box_drop(&page);
}

static void
any_session(struct span bytes, bool sticky)
{
	struct box_page *page;
	struct box_tape *t;
	struct box box;
	int fd;

	box_init(&box);
	page = box_make(&fd);
	if (page && box_take(&box, fd) && (t = box_tape_new(&box, sticky))) {
		while (bytes.n) {
			size_t n = (uint8_t)bytes.p[0] % 64 + 1U;

			box_tape_note(t, span_sub(bytes, 0, n));
			bytes = span_from(bytes, n < bytes.n ? n : bytes.n);
		}
		box_tape_open(t);
		free(t);
		read_page(page);
	}
	box_free(&box);
	box_drop(&page);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span bytes = span_of(data, size);

	if (bytes.n == 0)
		return 0;
	bytes = span_from(bytes, 1);
	switch (data[0] % 4) {
	case 0:
		any_page(bytes);
		break;
	case 1:
		(void)box_each(bytes, within, &bytes);
		break;
	default:
		any_session(bytes, data[0] % 4 == 2);
		break;
	}
	return 0;
}
