/* SPDX-License-Identifier: ISC
 *
 * dialog: runs conversations written as files against a protocol core that
 * does no I/O.  README says how a file looks; this header is what a core's
 * runner (run_smtpd.c, ...) gives and gets.
 *
 * Each file is run twice with fresh cores: every packet whole, then byte by
 * byte, since a parser must not care how its input was cut.
 */
#ifndef DIALOG_DIALOG_H
#define DIALOG_DIALOG_H

#include "base/buf.h"

struct dialog; /* one run of one file */

/* What a core's runner supplies.  `core` is what open() returned. */
struct dialog_core {
	const char *name; /* the folder below tests/dialog that holds its files */
	bool client;      /* the core is the client: S: lines go in, C: lines are what it says */
	/* A fresh core with default settings; nothing has happened yet. */
	void *(*open)(struct dialog *d);
	/* The client connects: called once, before the first C: or S: line. */
	void (*start)(void *core);
	/* Client bytes; returns how many were taken.  The rest is given again,
	 * with what came behind it, as a stream's buffer would be. */
	size_t (*input)(void *core, struct span bytes);
	/* Lets one thing happen that is due (deliver one scripted answer); false when nothing is. */
	bool (*turn)(void *core);
	/* The client is gone. */
	void (*eof)(void *core);
	/* Time passes: fire what falls due within ms. */
	void (*advance)(void *core, int64_t ms);
	bool (*closed)(const void *core); /* the server has ended the connection */
	/* A line the runner does not know: `word` and the rest of the line.
	 * False: unknown or malformed, which fails the file. */
	bool (*directive)(void *core, struct span word, struct span rest);
	void (*free)(void *core);
};

/* For the core's runner to say what its core did. */
void dialog_output(struct dialog *d, struct span bytes);   /* bytes for the client */
void dialog_action(struct dialog *d, const char *fmt, ...) /* one line for A: */
    __attribute__((format(printf, 2, 3)));
void dialog_content(struct dialog *d, struct span content); /* a whole delivered message, for `content` */

/* {*} any run, {?} one byte, {#} a run of digits, all else literal. */
bool dialog_match(struct span pattern, struct span text);

/* Runs the files named in argv, or all of $srcdir/tests/dialog/NAME/ in order:
 * TAP on stdout, each failure with file, line, what was expected and what
 * came.  Returns the exit status. */
int dialog_main(const struct dialog_core *core, int argc, char **argv);

#endif
