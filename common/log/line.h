/* SPDX-License-Identifier: ISC
 *
 * log line: what log_put() wrote, taken apart again; in a file of ours or as
 * any syslog daemon stored it.
 */
#ifndef LOG_LINE_H
#define LOG_LINE_H

#include "base/span.h"

/* The fields by which lines belong together. Values hold strangers' words: the first of a name counts, and nothing
 * behind " (" is looked at, which is where replies stand. */
#define LOG_LINE_KEYS(X) X(id) X(report) X(session) X(from) X(to) X(orig_to) X(as) X(message_id) X(client)

struct log_line {
	int64_t time_ms;  /* Unix time; -1: the stamp is not understood */
	struct span stamp, tag, pid, event, rest;
#define X(key) struct span key;
	LOG_LINE_KEYS(X)
#undef X
};

/* text without its line end. False: no line of ours. Spans point into text. */
bool log_line_parse(struct span text, struct log_line *l);
/* A stranger's words as a value behind which there are other fields: one word, whatever would end it as '?'. Returns room. */
enum { LOG_VALUE = 400 };
const char *log_line_value(struct span text, char room[LOG_VALUE]);

/* "2026-11-21T15:23:12.407Z", with a zone or in UTC without; -1: something else. */
int64_t log_time_parse(struct span s);

#endif
