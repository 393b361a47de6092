/* SPDX-License-Identifier: ISC
 *
 * dialog_file: the file side of dialogs: finding and reading them, the syntax
 * of their lines, patterns.
 */
#ifndef DIALOG_DIALOG_FILE_H
#define DIALOG_DIALOG_FILE_H

#include "base/buf.h"

struct dialog_files {
	char **paths;
	size_t n;
};

/* All of $srcdir/tests/dialog/NAME/ ending in .dlg, sorted; false when there are none. */
bool dialog_find_files(const char *name, struct dialog_files *files);
void dialog_free_files(struct dialog_files *files);
bool dialog_read_file(const char *path, struct buf *text);
/* For client cores: C lines become S lines and the reverse. */
void dialog_swap_sides(struct buf *text);
const char *dialog_base_name(const char *path);

/* A line that is exactly this word. */
bool dialog_has_line(struct span text, struct span word);
/* line begins with tag, or is exactly bare (when given): *rest is what follows. */
bool dialog_tag(struct span line, struct span tag, struct span bare, struct span *rest);
/* A client line (C:, C>, C*N:) appended to packet, which fails on a bad
 * escape; false when line is none. */
bool dialog_client_line(struct span line, struct buf *packet, uint64_t *times);
/* 10ms, 300s, 5m, 2h. */
bool dialog_time(struct span s, uint64_t *ms);
/* What {=a} to {=z} stood for, and {$a} to {$z} stand for. */
enum { DIALOG_VARIABLE = 128 };
struct dialog_variables {
	char value[26][DIALOG_VARIABLE];
};
bool dialog_capture(struct span pattern, struct span text, struct dialog_variables *vars);
/* The line with its variables put in; false: it has none. */
bool dialog_substitute(struct span line, const struct dialog_variables *vars, struct buf *out);
/* POSIX extended expression over the whole line. */
bool dialog_regex(struct span pattern, struct span text);

#endif
