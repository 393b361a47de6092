/* SPDX-License-Identifier: ISC */
#include "spool.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

void
spool_init(struct spool *s)
{
	*s = (struct spool){ .fd = -1 };
	buf_init(&s->memory, SPOOL_MEMORY);
}

void
spool_free(struct spool *s)
{
	buf_free(&s->memory);
	if (s->fd >= 0)
		(void)close(s->fd);
	spool_init(s);
}

static bool
write_at(struct spool *s, uint64_t at, struct span bytes, struct fail *why)
{
	while (bytes.n) {
		ssize_t n = pwrite(s->fd, bytes.p, bytes.n, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return fail_errno(why, 0, "writing what filters are to see");
		bytes = span_from(bytes, (size_t)n);
		at += (uint64_t)n;
	}
	return true;
}

bool
spool_put(struct spool *s, const char *directory, struct span bytes, struct fail *why)
{
	if (s->fd < 0 && bytes.n <= buf_space(&s->memory)) {
		buf_put(&s->memory, bytes);
		if (!buf_ok(&s->memory))
			return fail_set(why, FAIL_TEMP, 0, "no memory");
		s->size += bytes.n;
		return true;
	}
	if (s->fd < 0) {
		s->fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		if (s->fd < 0)
			return fail_errno(why, 0, "a file in %s", directory);
		if (!write_at(s, 0, buf_span(&s->memory), why))
			return false;
		buf_free(&s->memory);
	}
	if (!write_at(s, s->size, bytes, why))
		return false;
	s->size += bytes.n;
	return true;
}

bool
spool_read(const struct spool *s, uint64_t at, char *room, size_t n, struct span *out, struct fail *why)
{
	size_t got = 0;

	if (at > s->size)
		at = s->size;
	if (n > s->size - at)
		n = (size_t)(s->size - at);
	if (s->fd < 0) {
		*out = span_sub(buf_span(&s->memory), (size_t)at, n);
		return true;
	}
	while (got < n) {
		ssize_t r = pread(s->fd, room + got, n - got, (off_t)(at + got));

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return fail_errno(why, 0, "reading what filters are to see");
		got += (size_t)r;
	}
	*out = span_of(room, n);
	return true;
}
