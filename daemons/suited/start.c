/* SPDX-License-Identifier: ISC
 *
 * start: whoever waits for the start is not left waiting for a daemon that
 * ends at each try, or never says that it serves: he is told which, how, and its last word.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemons/suited/suite.h"
#include "log/log.h"

enum { TRIES = 5, LIMIT_MS = 5 * 60 * 1000, TAIL = 16 << 10, LINE_MOST = 600 };

/* The last line of the log that has a word in it, without its head, that does not only say that the program stops; n == 0: there
 * is none, or the log cannot be read. */
static struct span
last_line(struct span all, struct span word)
{
	struct span found = SPAN_NONE;

	while (all.n) {
		struct span line = span_cut(&all, '\n');
		size_t at = span_find(line, word);

		if (at != SIZE_MAX && span_find(line, SPAN("]: stop ")) == SIZE_MAX)
			found = span_sub(span_from(line, at), 0, LINE_MOST);
	}
	return found;
}

static void
give_up(struct process *p, const char *what, struct span how)
{
	struct suite *s = p->suite;
	struct fail why = { .text = "" };
	off_t end;
	struct span line = SPAN_NONE;
	char tail[TAIL], word[96], text[B_REPLY];
	int fd = ask_file(s, s->conf->maillog_file, false, &why);
	ssize_t n = 0;

	log_flush();
	if (fd >= 0 && (end = lseek(fd, 0, SEEK_END)) > 0) /* not fstat(), which is a call on names to the C library */
		n = pread(fd, tail, sizeof(tail), end > TAIL ? end - TAIL : 0);
	if (fd >= 0)
		(void)close(fd);
	(void)snprintf(word, sizeof(word), " %s[", p->row->name);
	if (n > 0)
		line = last_line(span_of(tail, (size_t)n), span_str(word));
	(void)snprintf(text, sizeof(text), "%s %s %s%.*s%s%.*s", p->row->name, p->label, what, SPAN_ARG(how), line.n ? "; the last it said:" : fd < 0 ? "; the log cannot be read: " : "; it said nothing in the log", SPAN_ARG(fd < 0 ? span_str(why.text) : line));
	suite_fail(s, EXIT_FAILURE, text);
}

static void
on_limit(struct timer *t)
{
	struct suite *s = OWNER_OF(t, struct suite, start_limit);

	for (unsigned i = 0; i < s->nprocesses && !s->serving; i++)
		if (!s->processes[i].ready) {
			give_up(&s->processes[i], "does not say that it serves", SPAN_NONE);
			return;
		}
}

void
start_begin(struct suite *s)
{
	timer_init(&s->start_limit, s->loop, on_limit);
	(void)timer_set(&s->start_limit, LIMIT_MS);
}

bool
start_lost(struct process *p, struct span how)
{
	if (p->suite->serving || p->suite->stopping || p->restarts + 1 < TRIES)
		return false;
	give_up(p, "ends at each start: ", how);
	return true;
}
