/* SPDX-License-Identifier: ISC
 *
 * trace: which log lines tell the story of which messages.
 *
 * The log is read two or three times in bounded memory: what an address or a
 * Message-ID is about, then which sessions and reports belong to it, then the
 * lines.
 */
#ifndef MAILCTL_TRACE_H
#define MAILCTL_TRACE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/map.h"
#include "base/queueid.h"
#include "log/line.h"
#include "tools/mailctl/logfile.h"
#include "tools/mailctl/mailctl.h"

enum {
	TRACE_STORIES = 100,                 /* unless --limit says more */
	TRACE_MEMORY = 256 * 1024 * 1024,    /* of lines */
};

struct trace_event {
	struct trace_event *next;
	struct log_line line;
	uint64_t number; /* in the log: keeps the order of what has one time */
};

/* A message, or a session: by their id. */
struct trace_story {
	struct map_node by_id;
	struct trace_story *next;  /* in the order they were found */
	struct trace_story *about; /* of a report: what it reports */
	struct trace_story *session;
	struct trace_event *events, **tail;
	struct span id, from;
	bool is_session, refused; /* refused: a session that the question is about */
	bool asked, removed, found;
};

struct trace {
	struct span query;
	char id_text[QUEUEID_TEXT + 1];
	bool by_address, by_message_id, by_client; /* else by id */
	size_t limit;
	struct arena arena;
	struct map ids; /* of stories */
	struct trace_story *first, **tail;
	size_t nstories;
	uint64_t nlines;
	bool seeding;
	struct buf recent; /* lines lately followed */
	bool cut; /* there was more than the limit, or than memory */
};

void trace_init(struct trace *t, const char *query, size_t limit);
void trace_free(struct trace *t);
/* Reads it all. False: why. */
bool trace_read(struct trace *t, const struct logfiles *files, int64_t since_ms, struct fail *why);
/* One more line, which came meanwhile: on_event is told of it if it belongs to a story, and of what came shortly before
 * if that is a new one. */
void trace_add(struct trace *t, struct span text, void (*on_event)(void *arg, struct trace_story *s, const struct trace_event *e), void *arg);
/* The events of a story and of the session it came by, in order of time; NULL: no memory. For free(). */
struct trace_event **trace_events(const struct trace_story *s, size_t *n);
/* No message asked about is still under way. */
bool trace_is_over(const struct trace *t);

/* trace_cmd.c, received_cmd.c */
bool trace_is_received(const struct mailctl *m); /* a message file is meant, no configuration is needed */
int trace_received(struct mailctl *m);

#endif
