/* SPDX-License-Identifier: ISC
 *
 * log: lines to the log that maild opened, through an inherited descriptor.
 *
 *   log_put(LOG_reject, "client=%s ...", ...)
 *
 * Events and their levels are rows of events.def.  Control bytes and whatever
 * is not printable ASCII or UTF-8 in a value become '?', so no peer can forge a line.
 * Lines are gathered for 5 ms, warnings and errors to the end of the turn; what the log does not take
 * is lost, and the next line says so.  The logger is the one process-wide object of the suite (as stderr is).
 */
#ifndef LOG_LOG_H
#define LOG_LOG_H

#include "base/fail.h"
#include "sys/loop.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_NOTICE, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };

enum log_event {
#define EVENT(name, level, doc) LOG_##name,
#include "log/events.def"
	LOG_EVENT_COUNT
};

/* fd: a file opened for appending, a terminal, or a connected syslog datagram
 * socket (told apart by its type); not closed here.  loop NULL: every line is written at once. */
void log_open(const char *tag, int fd, struct loop *loop);
void log_set_level(enum log_level least);
bool log_enabled(enum log_event event);
void log_put(enum log_event event, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void log_flush(void);

const char *log_event_name(enum log_event event);
const char *log_event_doc(enum log_event event);
enum log_level log_event_level(enum log_event event);
const char *log_level_name(enum log_level level);

#endif
