/* SPDX-License-Identifier: ISC
 *
 * delivery: messages on their way into Maildirs, made durable in company.
 *
 * A batch goes to the worker threads: contents are written into tmp/ and synced
 * side by side, then all are renamed and each directory concerned is synced
 * once.  Nobody is told before that (law 1).  What arrives meanwhile is the next batch, so a single
 * delivery waits for nobody and a thousand share their syncs.
 */
#ifndef STORE_DELIVERY_H
#define STORE_DELIVERY_H

#include "base/list.h"
#include "store/maildir.h"
#include "sys/worker.h"

/* A file in tmp/ that is being written. */
struct temp {
	struct vfs *vfs;
	int fd; /* -1 when there is none */
	char unique[MAILDIR_BASE_MAX];
	uint64_t size, bare; /* octets; LF without CR before it */
	char last;
};

bool temp_create(struct temp *t, struct vfs *v, const char *unique, struct fail *why);
bool temp_write(struct temp *t, struct span s, struct fail *why);
void temp_abandon(struct temp *t);

/* The caller owns this and what it points to until on_done. */
struct delivery {
	struct list node;
	struct vfs *vfs;          /* the Maildir; must outlive on_done */
	struct temp temp;         /* fd >= 0: written already; else: */
	struct span head, body;   /* written one behind the other, then */
	int body_fd;              /* if >= 0: body_n octets of it from body_at */
	uint64_t body_at, body_n;
	bool in_cur;              /* into cur/ with letters, else into new/ */
	uint32_t letters;
	bool lasting;             /* temp's name is durable: that in cur/ need not be before it is told (stock.h) */
	int64_t date;             /* Unix time for the file, 0: now */
	char base[MAILDIR_BASE_MAX]; /* its name: unique when handed in, with sizes when done */
	/* Result */
	uint64_t size;
	bool ok, synced; /* synced: its name is durable */
	struct fail why;
	void (*on_done)(struct delivery *d); /* on the loop */
};

void delivery_init(struct delivery *d, struct vfs *v, void (*on_done)(struct delivery *));

struct deliverer; /* gathers and writes them; one a process */
struct deliverer *deliverer_new(struct loop *loop, struct worker_pool *pool, struct span host);
void deliverer_free(struct deliverer **dr); /* after all its deliveries are done */
struct maildir_namer *deliverer_namer(struct deliverer *dr);
void deliverer_put(struct deliverer *dr, struct delivery *d);
size_t deliverer_busy(const struct deliverer *dr); /* deliveries not told yet */
/* One batch at once and in this thread: for tools and tests; ok and why tell. */
void delivery_write_now(struct list *deliveries);

#endif
