/* SPDX-License-Identifier: ISC
 *
 * state: a user's open mailboxes as the modules behind mailbox.h share them;
 * nobody else includes this.
 *
 *   folder.c  folders on disk          open.c    opening, sharing, closing
 *   view.c    one session's numbers    change.c  flags, expunge, arrivals becoming visible
 *   scan.c    what others did to the Maildir          takeover.c  first contact
 *   found.c   files in the order in which they become messages          validity.c  a folder's UIDVALIDITY
 *   listing.c a large directory's names, read on threads
 *   notice.c  hearing of it at once    follow.c  file names after the flags
 *   append.c, copy.c, content.c  limits.c  the quota     linking.c  COPY after its answer
 *   stock.c   names for appends, made ahead
 *   signing.c  the search index       making.c  facts on threads
 */
#ifndef STORE_STATE_H
#define STORE_STATE_H

#include "base/map.h"
#include "store/delivery.h"
#include "store/facts.h"
#include "store/indexfile.h"
#include "store/linking.h"
#include "store/mailbox.h"
#include "store/metadata.h"
#include "store/reading.h"
#include "store/searchfile.h"

struct store {
	struct loop *loop;
	struct worker_pool *pool;
	int base;               /* owned */
	struct vfs *vfs;        /* of the base; shares base's directory */
	struct deliverer *deliverer;
	struct list mailboxes;  /* open ones */
	bool unsettled;         /* one of them has begun (indexfile.h) and not more */
	struct watch notice;    /* inotify; fd -1: none to be had */
	struct timer poll;      /* in place of it */
	struct timer calm;      /* until it is read again */
	unsigned bulk;          /* jobs that name or remove many files */
	bool resting;           /* store_rest(): what is watched stays so */
	struct metadata *metadata; /* owned; NULL: not read yet */
	struct quota limit;
	bool limit_known;          /* store_set_quota() was called */
	struct quota_file quota;
	int64_t keep_s;            /* expunged mail, 0: not */
	struct timer purge;        /* of what was kept long enough */
	struct purge_job *purging; /* owned; NULL: none under way */
	struct linking *linking;   /* owned; NULL: no promise is to be kept */
	size_t promise_min;        /* messages: a COPY of fewer makes its links at once */
	struct store_search search;
	struct store_facts parse;
};

/* Facts of a folder's messages on their way. */
struct making {
	struct reading reading;
	struct timer timer;   /* when to look for what has none */
	int64_t since;        /* when that was set first */
	struct list waits;    /* struct facts_wait */
	struct uidset failed; /* that cannot be made ahead */
	size_t unkept;        /* made since where they lie was last written */
	bool wanted;          /* made for what arrives */
};

/* A folder's search index. */
struct signing {
	struct searchfile file; /* not open: there is none, or nobody needed it yet */
	struct timer timer;     /* when to look for what has no signature */
	struct sign_job *job;   /* owned; NULL: none under way */
	bool wanted;            /* it is made if there is none */
	bool absent;            /* there was none */
	bool given_up;          /* it cannot be written: not tried again while the folder is open */
};

/* Waits until a UID may be told. */
struct waiter {
	struct list node;
	uint32_t uid;
	void (*on_visible)(struct waiter *w, const struct fail *why); /* why NULL: it is durable */
};

/* A name of ours that is in the directory but has no UID yet. */
struct incoming {
	struct list node;
	char base[MAILDIR_BASE_MAX];
};

struct mailbox {
	struct list node; /* the store's */
	struct store *store;
	char name[STORE_NAME_MAX + 1];
	struct vfs *vfs; /* the folder's */
	struct indexfile file;
	struct facts_file facts;
	struct signing signing;
	struct making making;
	struct list views;
	unsigned users;       /* views and operations */
	struct timer linger;  /* closes it when nobody came back */
	uint32_t visible;     /* highest UID that may be told: durable */
	uint32_t syncing;     /* the UID that the ticket is about, 0: none */
	struct journal_ticket ticket;
	struct list waiters, incoming;
	struct index_names names; /* slots NULL: not built */
	int watch_new, watch_cur; /* inotify, -1: none */
	uint64_t *own;        /* hashes of names that leave by our own doing */
	size_t nown, own_size;
	bool dirty;           /* to be scanned */
	struct timer follow;
	struct follow_job *job; /* files being renamed and removed */
	struct stock *stock;  /* owned; NULL: nothing is appended in a row */
	int64_t appended_ms;  /* when an append began last */
	unsigned holds;         /* who needs the names to stay: no new job while > 0 */
	struct mailbox_memo *memo; /* owned */
	uint32_t lag_lo, lag_hi; /* where names may lag; lo 0: nowhere */
	bool opening;           /* nobody has named a file since it was opened: one that is missing may be where a crash left it */
	bool failed;
};

static inline struct index *mailbox_index(struct mailbox *mb) { return &mb->file.ix; }

/* limits.c */
void store_added(struct store *store, int64_t size, int64_t messages); /* negative: gone */
void store_recount(struct store *store);
void store_stop_purge(struct store *store);

/* open.c */
struct mailbox *mailbox_use(struct store *store, struct span name, struct fail *why); /* counts a user */
struct mailbox *mailbox_use_soon(struct store *store, struct span name, struct fail *why); /* the same for view_select() */
void mailbox_unuse(struct mailbox *mb);
struct mailbox *mailbox_find(struct store *store, struct span name); /* open already, or NULL */
bool mailbox_forget(struct store *store, struct span name, struct fail *why); /* closes it now; false: in use */
uint64_t objectid_new(void); /* for a folder; 0: the kernel gave no random number */
void folder_dir(struct span name, char out[STORE_NAME_MAX + 2]); /* "" or ".name" */

/* change.c */
bool change_put(struct mailbox *mb, unsigned type, union record *r, struct fail *why);
bool change_arrive(struct mailbox *mb, struct record_message *r, struct fail *why); /* uid 0: the next one, then set */
void change_tidy(struct mailbox *mb);                   /* a snapshot if it is time for one */
/* False: not all of them; uids is what is gone. */
bool change_expunge(struct mailbox *mb, struct uidset *uids, struct fail *why);
/* Arrivals that nobody was told of, whose files are gone again.  Where the index takes no more, a scan will find that. */
void change_take_back(struct mailbox *mb, struct uidset *uids);
void change_show(struct mailbox *mb);                   /* starts making arrivals visible */
bool change_show_now(struct mailbox *mb, struct fail *why); /* blocks */
void change_wait(struct mailbox *mb, struct waiter *w); /* w->uid set */
int change_keyword(struct mailbox *mb, struct span name); /* -1: no room */
void change_pending(struct mailbox *mb, const struct view *but); /* tells views that something is pending */
void view_lose(struct view *v); /* it cannot be kept up to date any more: it is emptied, and its owner told (mailbox.h: lost) */

/* content.c: what reading a message's file has taught.  bare: LF without CR in it */
void content_learn_size(struct mailbox *mb, uint32_t uid, uint64_t size, uint64_t bare);
void content_learn_date(struct mailbox *mb, uint32_t uid, int64_t mtime); /* INTERNALDATE if there is none yet */

/* takeover.c */
bool takeover(struct mailbox *mb, enum indexfile_found found, struct fail *why); /* fills an empty index */
/* A message's record for a file that was found. */
void takeover_record(struct vfs *v, const struct maildir_name *name, bool in_new, struct record_message *out);

/* scan.c */
bool scan_all(struct mailbox *mb, struct fail *why);     /* reads both directories whole */
bool scan_most(struct mailbox *mb, struct fail *why);    /* true also where the index has no room for all: dirty, but nobody is kept from deleting */
bool scan_arrival(struct mailbox *mb, struct span file, bool in_new); /* one file that appeared; false: it is scan_all()'s, now or when there is room */
bool scan_names(struct mailbox *mb);                     /* mb->names is there, false: no memory for it */
void scan_stamp(struct mailbox *mb);                     /* before closing: what the directories' times are */
bool scan_stale(struct mailbox *mb);                     /* the directories' times are not those of the stamps */

/* notice.c */
bool notice_start(struct store *store);
void notice_stop(struct store *store);
void notice_watch(struct mailbox *mb);
void notice_unwatch(struct mailbox *mb);
void notice_read(struct store *store);  /* what has been reported by now */
void notice_bulk(struct store *store, bool begins); /* a thread names or removes many files: not every one wakes the loop */
void notice_forget(struct mailbox *mb);   /* all that notice_own() said */
void notice_own(struct mailbox *mb, const char *path); /* that this name leaves the directory will be our own doing */

/* signing.c */
void signing_init(struct mailbox *mb);
void signing_later(struct mailbox *mb); /* opened, or messages have become visible */
void signing_stop(struct mailbox *mb);  /* waits for what is under way; before the folder closes */
void signing_drop(struct mailbox *mb);  /* nothing is left of it */

/* making.c */
void making_init(struct mailbox *mb);
void making_later(struct mailbox *mb); /* messages have become visible */
void making_stop(struct mailbox *mb);  /* waits for what is under way; before the index closes */

/* follow.c */
void follow_later(struct mailbox *mb, uint32_t lo, uint32_t hi);
void follow_hold(struct mailbox *mb);
void follow_release(struct mailbox *mb);
bool follow_busy(const struct mailbox *mb);
bool follow_renaming(const struct mailbox *mb, uint32_t uid, char path[MAILDIR_NAME_MAX + 5]); /* where it is being renamed to */

#endif
