/* SPDX-License-Identifier: ISC
 *
 * A log in which others have had their say, read by whoever looks for a message: first
 * line what is asked for, then the log; its last part comes while it is followed.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tools/mailctl/trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
on_event(void *arg, struct trace_story *s, const struct trace_event *e)
{
	(void)s;
	if (e->line.id.n > e->line.message_id.n + *(size_t *)arg)
		abort();
}

static void
look(const struct trace *t)
{
	for (const struct trace_story *s = t->first; s; s = s->next) {
		struct trace_event **events;
		size_t n;

		events = trace_events(s, &n);
		for (size_t i = 1; events && i < n; i++)
			if (events[i - 1]->line.time_ms > events[i]->line.time_ms)
				abort();
		free(events);
	}
	(void)trace_is_over(t);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct logfiles files;
	struct span rest = span_of(data, size), query = span_cut(&rest, '\n'), later = span_from(rest, rest.n - rest.n / 4);
	char text[200];
	struct trace t;
	struct fail why;
	int fd = memfd_create("log", MFD_CLOEXEC);

	if (fd < 0 || !query.n || !span_cstr(query, text, sizeof(text)) || write(fd, rest.p, rest.n - later.n) != (ssize_t)(rest.n - later.n)) {
		(void)close(fd);
		return 0;
	}
	files.n = 1;
	files.end = rest.n - later.n;
	(void)snprintf(files.files[0].path, sizeof(files.files[0].path), "/proc/self/fd/%d", fd);
	trace_init(&t, text, 10);
	if (trace_read(&t, &files, 0, &why))
		while (later.n)
			trace_add(&t, span_cut(&later, '\n'), on_event, &size);
	look(&t);
	trace_free(&t);
	(void)close(fd);
	return 0;
}
