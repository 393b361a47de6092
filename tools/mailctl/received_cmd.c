/* SPDX-License-Identifier: ISC
 *
 * trace --received: the way a message came, from its Received lines.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "mail/received.h"
#include "tools/mailctl/trace.h"

enum { TRACE_MAX = 4 * 1024 * 1024, TRACE_ARENA = 8 * 1024 * 1024 };

static void
print_trace(struct span message, struct arena *arena)
{
	static const char *const verdicts[] = {
		[RECEIVED_FINE] = "No host was passed twice.",
		[RECEIVED_REINJECTED] = "A host was passed more than once, by way of a filter on it or of a list: no loop.",
		[RECEIVED_LOOP] = "This message went in a circle.",
	};
	struct received_trail trail;
	struct buf text;

	buf_init(&text, TRACE_ARENA);
	if (received_trail(&trail, message, arena) && trail.count) {
		received_trail_text(&trail, &text);
		(void)printf("%.*s%s\n", SPAN_ARG(buf_span(&text)), verdicts[received_judge(&trail, message, 0, SPAN_NONE)]);
	} else {
		(void)printf("no Received lines\n");
	}
	buf_free(&text);
}

int
trace_received(struct mailctl *m)
{
	const char *path = m->nargs ? m->args[0] : "-";
	FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	struct arena arena;
	struct buf in;
	char *room;

	if (!f)
		return mailctl_fail(EX_FAILED, "%s: %s", path, strerror(errno));
	buf_init(&in, TRACE_MAX); /* a header is shorter; of the body nothing is needed */
	while ((room = buf_room(&in, buf_space(&in) < 65536 ? buf_space(&in) : 65536)) && buf_space(&in)) {
		size_t n = fread(room, 1, buf_space(&in) < 65536 ? buf_space(&in) : 65536, f);

		if (n == 0)
			break;
		buf_added(&in, n);
	}
	if (f != stdin)
		(void)fclose(f);
	arena_init(&arena, TRACE_ARENA);
	print_trace(buf_span(&in), &arena);
	arena_free(&arena);
	buf_free(&in);
	return 0;
}
