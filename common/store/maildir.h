/* SPDX-License-Identifier: ISC
 *
 * maildir: one Maildir on disk: its names and its delivery writer.
 *
 * A message file is written once, made durable, then named (a blob).  Many
 * messages at once share their syncs: all contents are written and their
 * write-out started, then made durable, then all are renamed out of tmp/, then
 * the directory is made durable once.  Nobody is told before that (law 1).
 *
 * Everything is opened beneath a directory descriptor without following
 * symbolic links (law 4).  Nothing here knows UIDs.
 */
#ifndef STORE_MAILDIR_H
#define STORE_MAILDIR_H

#include "base/fail.h"
#include "base/list.h"
#include "sys/worker.h"

enum { MAILDIR_NAME_MAX = 255 };

/* The letters behind ":2," as bits: IMAP flags first, 'P' kept but without
 * meaning here, Dovecot's keyword letters a to z from bit 8 on. */
enum {
	NAME_ANSWERED = 1 << 0, /* R */
	NAME_FLAGGED = 1 << 1,  /* F */
	NAME_DELETED = 1 << 2,  /* T */
	NAME_SEEN = 1 << 3,     /* S */
	NAME_DRAFT = 1 << 4,    /* D */
	NAME_PASSED = 1 << 5,   /* P */
	NAME_KEYWORD_SHIFT = 6, /* 'a' + i is bit 6 + i: 26 letters end at bit 31 */
};

struct maildir_name {
	struct span base;     /* the unique part, before ':' */
	uint32_t letters;     /* NAME_* */
	bool canonical;       /* maildir_name_text() gives back exactly these bytes */
	uint64_t size, vsize; /* from ,S= and ,W= ; 0 where absent */
};

/* False: not the name of a message (hidden, empty, too long). */
bool maildir_name_parse(struct span file, struct maildir_name *out);
/* base, ":2," and the letters in ASCII order, NUL-terminated; for new/ the
 * base alone.  False: does not fit in MAILDIR_NAME_MAX. */
bool maildir_name_text(char out[MAILDIR_NAME_MAX + 1], struct span base, uint32_t letters, bool in_new);

struct maildir {
	int dir, tmp, new, cur; /* owned descriptors; -1 when closed */
};

/* Opens (with make: creates, 0700) the Maildir at path beneath base; the empty
 * path is base itself. */
bool maildir_open(struct maildir *md, int base, struct span path, bool make, struct fail *why);
void maildir_close(struct maildir *md);
/* Opens beneath dir, never through a symbolic link or out of dir. -1 and errno. */
int maildir_openat(int dir, const char *path, int flags, unsigned mode);

/* A message on its way into a Maildir.  The caller owns the struct and what it
 * points to until on_done. */
struct delivery {
	struct list node;
	const struct maildir *dir; /* stays open until on_done */
	struct span head, body; /* written one behind the other */
	int body_fd;            /* -1, or body comes from this descriptor: */
	uint64_t body_at, body_n; /* these bytes of it */
	bool in_cur;            /* into cur/ with letters, else into new/ */
	uint32_t letters;
	int64_t date;           /* Unix time for the file's mtime, 0 for now */
	/* Result, valid in on_done */
	char name[MAILDIR_NAME_MAX + 1]; /* the file's */
	uint64_t size;
	bool ok;
	struct fail why;
	void (*on_done)(struct delivery *d); /* on the loop, after all is durable */
};

/* Gathers deliveries and writes them in batches on a worker thread. */
struct maildir_writer;

struct maildir_writer *maildir_writer_new(struct loop *loop, struct worker_pool *pool, struct span host);
void maildir_writer_free(struct maildir_writer **w); /* after its deliveries are done */
void maildir_deliver(struct maildir_writer *w, struct delivery *d);

#endif
