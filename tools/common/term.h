/* SPDX-License-Identifier: ISC
 *
 * term: what tools print for people.  Text that came from outside shows no
 * control characters; on a terminal a line keeps to its width.
 */
#ifndef TOOLS_TERM_H
#define TOOLS_TERM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"

/* Columns of the terminal behind this stream; 0: it is none, and lines are not cut. */
unsigned term_width(FILE *f);
/* Appends s with every control byte as '?'. */
void term_put(struct buf *out, struct span s);
/* Prints one line, cut to width columns with "..." (0: whole), and its end. */
void term_line(FILE *f, struct span line, unsigned width);
/* A line of standard input without its end; from a terminal behind a prompt, unseen. False: it does not fit, or somebody gave up (^C). */
bool term_secret(const char *prompt, char *line, size_t size, size_t *n);

/* A line on standard error about what takes longer than two seconds, if that is a terminal. */
struct term_progress {
	int64_t begun_ms, told_ms; /* told_ms 0: no line stands there */
};
void term_progress_begin(struct term_progress *p);
/* True: it is time for "\r...\033[K". */
bool term_progress_due(struct term_progress *p);
void term_progress_end(struct term_progress *p);

/* "950", "4.1k", "12M"; "90s", "5m", "3h", "2d": at most 5 columns. */
const char *term_size(uint64_t bytes, char text[16]);
const char *term_age(uint64_t seconds, char text[16]);

#endif
