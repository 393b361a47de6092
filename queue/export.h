/* SPDX-License-Identifier: ISC
 *
 * export: messages outside the queue, for spoolcheck and mailctl.
 *
 * A directory has for each message ID.eml, the content as it stands in the
 * queue (CRLF), and ID.envelope, text made from record.def, so that every field
 * is there:
 *
 *   pillarpost-envelope 1
 *   id: 4J8...            fields of the envelope; what is missing is empty or 0
 *   sender: a@example.org
 *   [state]               once, if it was tried: attempts, reason, ...
 *   [recipient]           once for each, in order; one is settled that needs nothing more;
 *   address: b@example.net
 *   done: c@example.net   again for each place that has the message already
 *   [result]              failures the sender has not been told of; index counts recipients from 0
 *
 * "name: value" to the line's end; lines that are empty or begin with # say nothing.
 * ID.imported is an ID.envelope whose message another queue has taken over.
 * The other form is a Maildir (new/), with Return-Path and Delivered-To in front and LF line ends.
 */
#ifndef QUEUE_EXPORT_H
#define QUEUE_EXPORT_H

#include "journal/blob.h"
#include "queue/queue.h"

enum {
	EXPORT_VERSION = 1,
	EXPORT_TEXT_MAX = 64 * 1024 * 1024, /* of an ID.envelope */
};

/* Spans point into what it was made from. */
struct export_message {
	struct record_envelope envelope; /* its list: recipients as they stand now */
	struct record_state state;       /* id 0: never tried */
	struct span results;             /* list of record_result */
};

/* What is known of a message. *into and *room (both with caps of at least
 * EXPORT_TEXT_MAX, reset by the caller) hold what x and *content point to;
 * content is empty when it is the file queue_blob_name(). */
bool export_of(struct queue *q, const struct message *m, struct buf *into, struct buf *room, struct export_message *x,
    struct span *content, struct fail *why);
/* The same without the queue, from what was read of a journal. */
bool export_state_of(const struct message *m, struct buf *room, struct export_message *x, struct fail *why);

/* The text of ID.envelope. False: out failed. */
bool export_text(const struct export_message *x, struct buf *out);
/* Back again; *room as above, x also points into text. False: why names the line. */
bool export_parse(struct span text, struct buf *room, struct export_message *x, struct fail *why);

/* Into a queue, running or inspected, as queue_accept() (x->envelope.size and .blob say how the content stands). What was
 * known of it is recorded behind it. */
bool export_insert(struct queue *q, const struct export_message *x, struct content *content,
    void (*on_done)(void *arg, uint64_t id, const struct fail *why), void *arg, struct fail *why);

/* ---- directories ---- */

enum export_form { EXPORT_EML, EXPORT_MAILDIR };

struct export_dir {
	struct vfs *vfs; /* owned */
	enum export_form form;
	/* The message being written: */
	struct blob blob;
	uint64_t id;
	bool skip_cr; /* a CR waits for its LF */
	bool writing;
};

/* make: the directory is made if it is missing. */
bool export_open(struct export_dir *d, const char *path, enum export_form form, bool make, struct fail *why);
void export_close(struct export_dir *d);

/* Begin, write the content, end: whole under its name then, and durable with all others after export_sync(). Begin
 * says false with why->err EEXIST when this message is there already. */
bool export_begin(struct export_dir *d, const struct export_message *x, struct fail *why);
bool export_write(struct export_dir *d, struct span bytes, struct fail *why);
bool export_end(struct export_dir *d, const struct export_message *x, struct fail *why);
/* What was exported, or marked as imported, until now outlasts a power cut. */
bool export_sync(struct export_dir *d, struct fail *why);
void export_abandon(struct export_dir *d); /* no effect when none is being written */

/* Every message there; imported: it was taken over before. Stops when visit says false. */
bool export_each(struct export_dir *d, bool (*visit)(void *arg, uint64_t id, bool imported), void *arg, struct fail *why);
/* Reads ID.envelope into *text and opens ID.eml, *fd, to be closed through d->vfs; checks that
 * it has envelope.size bytes. */
bool export_read(struct export_dir *d, uint64_t id, struct buf *text, struct buf *room, struct export_message *x, int *fd,
    struct fail *why);
/* Another queue has it, durably. */
bool export_imported(struct export_dir *d, uint64_t id, struct fail *why);

#endif
