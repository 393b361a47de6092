/* SPDX-License-Identifier: ISC
 *
 * mailbox: what a session sees of one user's mailboxes.
 *
 * struct store is one user: the base directory descriptor everything is opened
 * beneath (law 4).  struct mailbox is one folder, shared by all sessions that
 * have it open: the messages in UID order.  struct view is one session's
 * position in it: its sequence numbers, and what it has not been told yet.
 *
 * The index is the truth for UIDs and flags; file names follow lazily.  UIDs are
 * durable before anybody can see them.  Everything runs on the loop's thread;
 * what waits for the disk ends in a callback.
 *
 * Names of folders here are the names on disk without the leading dot: modified
 * UTF-7, hierarchy by '.', "INBOX" for the base itself (store/name.h maps).
 */
#ifndef STORE_MAILBOX_H
#define STORE_MAILBOX_H

#include "base/arena.h"
#include "base/fail.h"
#include "base/list.h"
#include "store/quota.h"
#include "store/uidset.h"
#include "sys/worker.h"

struct store;
struct mailbox;

enum {
	STORE_FOLDERS_MAX = 10000,
	STORE_NAME_MAX = 240,  /* octets of a folder's name */
	MAILBOX_KEYWORDS_MAX = 64,
	MAILBOX_KEYWORD_LEN = 64,
};

struct store_config {
	struct loop *loop;
	struct worker_pool *pool; /* for syncs and bulk file work */
	int base;                 /* the user's Maildir; the store takes it over */
	struct span host;         /* for file names */
	bool locked;              /* the caller has look_lock() (look.h) */
};

struct store *store_new(const struct store_config *config, struct fail *why); /* creates the INBOX if missing */
void store_free(struct store **store); /* after every view is closed; waits for what is being written */

/* ---- folders ---- */

/* A descriptor of the caller's that becomes readable when a file of an open folder changes, also when
 * this process has ended; from now on the store itself does not look any more.  -1: that cannot
 * be had, or something is still being written. */
int store_rest(struct store *store);
void store_rouse(struct store *store); /* looks again */

struct folder {
	struct span name;
	bool selectable;  /* false: only the parent of one, or only subscribed */
	bool subscribed, children;
};

/* INBOX first, then by name; each() may not change folders. */
bool store_list(struct store *store, void (*each)(void *arg, const struct folder *), void *arg, struct fail *why);
/* FAIL_PERM for a name that is malformed, exists already, or does not exist. */
bool store_create(struct store *store, struct span name, struct fail *why);
bool store_delete(struct store *store, struct span name, struct fail *why);
/* With its inferiors; renaming INBOX moves its messages (RFC 3501 6.3.5). */
bool store_rename(struct store *store, struct span from, struct span to, struct fail *why);
/* What it would be refused for, and nothing is renamed. */
bool store_may_rename(struct store *store, struct span from, struct span to, struct fail *why);
bool store_subscribe(struct store *store, struct span name, bool on, struct fail *why); /* need not exist */
bool store_exists(struct store *store, struct span name);

struct mailbox_status {
	uint32_t messages, recent, unseen, deleted, uidnext, uidvalidity;
	uint64_t highest_modseq, size;
	uint64_t deleted_size; /* of those with \Deleted (RFC 9208 4.3) */
	uint64_t objectid; /* of the folder, the same under any name; 0: it could not be given one */
};
bool store_status(struct store *store, struct span name, struct mailbox_status *out, struct fail *why);

/* ---- quota: of all folders together (quota.h; RFC 9208) ---- */

void store_set_quota(struct store *store, const struct quota *limit); /* at any time; none before */
struct quota store_quota(const struct store *store);                  /* the limits */
/* What is there, where there is a limit (0 without one). May read the names of all files. */
bool store_used(struct store *store, struct quota *used, struct fail *why);
/* Whether so much more has room. FAIL_LIMIT with STATUS_MAILBOX_FULL (mail/status.h)
 * if not: [OVERQUOTA]; append_begin(), append_commit() and mailbox_copy() fail so by themselves. */
bool store_fits(struct store *store, uint64_t size, uint64_t messages, struct fail *why);

/* How long expunged messages and deleted folders are kept (kept.h); 0: not at all,
 * which is how it begins. Once called, what is older goes by and by. */
void store_set_keep(struct store *store, int64_t seconds);

/* ---- messages ---- */

enum { /* system flags */
	FLAG_ANSWERED = 1 << 0,
	FLAG_FLAGGED = 1 << 1,
	FLAG_DELETED = 1 << 2,
	FLAG_SEEN = 1 << 3,
	FLAG_DRAFT = 1 << 4,
};

struct message {
	uint32_t uid;
	uint32_t size;     /* about; mailbox_size() gives RFC822.SIZE */
	uint64_t modseq;
	uint64_t keywords; /* bit i: mailbox_keyword(mb, i) */
	uint32_t date;     /* internal date, Unix time; mailbox_date() asks the file where it is 0 */
	uint32_t saved;    /* when it came into this folder */
	uint32_t name;     /* the rest is the index's own */
	uint32_t letters;
	uint32_t facts;
	uint8_t name_len, odd_len;
	uint8_t flags;     /* FLAG_* */
	uint8_t bits;
};

/* ---- views: one session in one mailbox ---- */

struct view {
	struct list node;       /* the mailbox's */
	struct mailbox *mailbox;
	bool readonly;          /* EXAMINE: takes no \Recent, changes refused by the session */
	uint32_t told;          /* highest UID this session knows */
	uint32_t ntold;         /* messages this session knows */
	uint32_t ngone;         /* members of gone */
	uint32_t held;          /* of them, noticed before but not to be told then */
	struct uidset gone;     /* expunged, but not told */
	struct uidset changed;  /* flags changed by others, not told */
	struct uidset recent;   /* \Recent here */
	bool pending;           /* something can be told: on_pending was called */
	bool lost;              /* the folder cannot be gone on with as this session knows it: it looks empty, and is to be
	                         * closed; on_pending was called */
	void (*on_pending)(struct view *v); /* NULL allowed; call view_sync() later, not from within */
	void *owner;            /* the session's */
};

/* Opens the folder (shared with whoever has it open) and makes v a view of its
 * present state.  on_pending and owner are set by the caller before. */
bool view_open(struct view *v, struct store *store, struct span name, bool readonly, struct fail *why);
/* What a session knows of a folder while nobody serves it. */
struct view_rest {
	uint32_t uidvalidity, told, ntold;
	uint64_t modseq;
	bool readonly;
	struct uidset recent; /* UIDs; the caller's */
};
/* False: it has not been told everything, so it cannot be left.  recent is added to. */
bool view_rest(const struct view *v, struct view_rest *out);
/* As view_open() for an answer that tells no UID but UIDNEXT: of a folder without an index no more is durable yet.
 * store_settle() before anything else is said of it. */
bool view_select(struct view *v, struct store *store, struct span name, bool readonly, struct fail *why);
bool store_unsettled(const struct store *store);
void store_settle(struct store *store); /* a view that cannot be told of any more is lost */
/* As view_open() for a session that knows the folder as it was then: what has changed since
 * is pending.  FAIL_PERM: that cannot be said any more. */
bool view_resume(struct view *v, struct store *store, struct span name, const struct view_rest *was, struct fail *why);
void view_close(struct view *v);

static inline uint32_t view_count(const struct view *v) { return v->ntold; }
uint32_t view_uid(const struct view *v, uint32_t seq);  /* 0: no such number */
uint32_t view_seq(const struct view *v, uint32_t uid);  /* 0: not known here */
/* The first sequence number whose UID is >= uid; view_count() + 1 if none. */
uint32_t view_seq_from(const struct view *v, uint32_t uid);
/* The message, NULL if unknown here or expunged meanwhile (valid until the
 * loop's next turn or the next call that changes the mailbox). */
const struct message *view_message(const struct view *v, uint32_t seq);
const struct message *view_by_uid(const struct view *v, uint32_t uid);
bool view_recent(const struct view *v, uint32_t uid);
/* The same set as UIDs; numbers that do not exist are left out. */
bool view_uids(const struct view *v, const struct uidset *seqs, struct uidset *uids);
/* Only those UIDs that this session knows, with "*" as the highest one. */
bool view_known(const struct view *v, const struct uidset *uids, struct uidset *known);

struct view_events {
	/* In this order.  Expunges descend by sequence number at the time of telling. */
	void (*on_expunge)(struct view *v, uint32_t seq, uint32_t uid);
	void (*on_exists)(struct view *v, uint32_t count, uint32_t recent);
	void (*on_flags)(struct view *v, uint32_t seq, const struct message *m);
};
/* Tells what is pending and takes it into the view; expunges only where the
 * protocol allows them now (not during FETCH, STORE, SEARCH: RFC 3501 7.4.1). */
void view_sync(struct view *v, const struct view_events *events, bool expunges);

/* ---- facts of the open mailbox ---- */

struct span mailbox_name(const struct mailbox *mb);
uint64_t mailbox_objectid(const struct mailbox *mb);
uint32_t mailbox_uidvalidity(const struct mailbox *mb);
uint32_t mailbox_uidnext(const struct mailbox *mb);
uint64_t mailbox_modseq(const struct mailbox *mb);  /* HIGHESTMODSEQ */
void mailbox_counts(const struct mailbox *mb, struct mailbox_status *out);
struct span mailbox_keyword(const struct mailbox *mb, unsigned i); /* empty: unused */
/* The keyword's bit; with make added if there is room; -1 otherwise. */
int mailbox_keyword_find(struct mailbox *mb, struct span name, bool make);
/* UIDs expunged after modseq, of the given ones if not NULL; false if that is
 * no longer known (then: all of them that are missing). */
bool mailbox_vanished_of(const struct mailbox *mb, uint64_t modseq, const struct uidset *uids, struct uidset *out);
/* The POP3 UIDL: "<uidvalidity-hex><uid-hex>", or what a taken-over uid list gave. */
void mailbox_uidl(const struct mailbox *mb, const struct message *m, struct buf *out);
int64_t mailbox_date(struct mailbox *mb, uint32_t uid); /* INTERNALDATE; 0: the message is gone */

/* ---- content ---- */

/* A message's octets with CRLF line ends, whatever the file has. */
struct content {
	int fd;        /* owned; read with pread */
	uint64_t size; /* RFC822.SIZE */
	bool own;      /* a converted copy of a file with bare LF */
};
/* FAIL_PERM: expunged or deleted by others meanwhile. */
bool mailbox_content(struct mailbox *mb, uint32_t uid, struct content *out, struct fail *why);
void content_close(struct content *c);
/* RFC822.SIZE without reading the message where that is known; false: gone. */
bool mailbox_size(struct mailbox *mb, uint32_t uid, uint64_t *size);

/* ---- parsed facts (store/cache.h): a blob per message that its producer defines ---- */

struct span mailbox_facts(struct mailbox *mb, uint32_t uid); /* empty: none yet; valid until the next put or turn */
void mailbox_facts_put(struct mailbox *mb, uint32_t uid, struct span facts);

struct store_facts {
	/* Appends the facts of a message, on a thread.  False: there are none. NULL: they are only made by who asks. */
	bool (*make)(struct span message, struct arena *arena, struct buf *out);
};
void store_set_facts(struct store *store, const struct store_facts *facts);
/* The facts of what is new and of what arrives from now on are made in the background. */
void mailbox_facts_later(struct mailbox *mb);
/* Those of uid, and of the messages up to hi that have none, are made on threads.  False: nothing to wait for.
 * True: on_facts() will be called once while the folder is open, and w is the store's until then. */
struct facts_wait {
	struct list node;
	uint32_t uid;
	void (*on_facts)(struct facts_wait *w);
};
bool mailbox_facts_wait(struct mailbox *mb, uint32_t uid, uint32_t hi, struct facts_wait *w);

/* What a program keeps in memory beside an open folder, NULL at first; freed when the folder is closed. */
struct mailbox_memo {
	void (*free)(struct mailbox_memo *memo);
};
struct mailbox_memo **mailbox_memo(struct mailbox *mb);

/* ---- the search index: which messages need not be read for a text (signature.h) ---- */

struct signature_maker;
struct signature_query;

struct store_search {
	/* Puts all text of a message that a search looks into in, on a thread; takes c
	 * over. False: it cannot be read. NULL: no index is kept or used. */
	bool (*sign)(struct content *c, struct signature_maker *into);
	unsigned share; /* percent of a message's size that its signature takes at most; 0: as with sign NULL, and those there are go */
};
void store_set_search(struct store *store, const struct store_search *search);
/* False: the message has not got the needle. A folder's index is made in the background
 * once this was asked of it, and kept up with what arrives. */
bool mailbox_may_have(struct mailbox *mb, const struct message *m, const struct signature_query *needle);

/* ---- changes ---- */

enum flag_op { FLAGS_ADD, FLAGS_REMOVE, FLAGS_SET };

struct flag_change {
	enum flag_op op;
	uint8_t flags;
	uint64_t keywords;
	uint64_t unchanged_since; /* modseq; UINT64_MAX for any */
};
/* At once in memory and seen by every other view; written soon.  uids are those
 * of the view.  modified (may be NULL) gets what unchanged_since kept out. */
bool mailbox_flags(struct view *v, const struct uidset *uids, const struct flag_change *change, struct uidset *modified,
    struct fail *why);
/* Expunges those with \Deleted, within uids if not NULL.  v itself is told at
 * its next view_sync() as everybody is.  Durable soon, or when mailbox_confirm() says so. */
bool mailbox_expunge(struct view *v, const struct uidset *uids, struct fail *why);
/* Removes these whatever their flags (POP3's QUIT). */
bool mailbox_remove(struct view *v, const struct uidset *uids, struct fail *why);

/* An operation that waits for the disk; embedded in its owner. */
struct mailbox_op {
	void (*on_done)(struct mailbox_op *op); /* once, on the loop; may free the owner */
	bool ok;
	struct fail why;
	uint32_t uidvalidity;    /* of the folder that got messages */
	struct uidset from, to;  /* COPYUID: the nth of one is the nth of the other; APPENDUID: to.  Freed by the store after on_done */
};

/* on_done when all that has been done to the view's folder until now is durable; at once, where it is already. The view
 * may be closed meanwhile. */
void mailbox_confirm(struct view *v, struct mailbox_op *op);

/* Streams a message into a folder. */
struct append;
struct append_to {
	struct span folder;
	uint8_t flags;
	const struct span *keywords;
	size_t nkeywords;
	int64_t date; /* 0: now */
	uint64_t size; /* announced, 0 unknown: what has no room is refused before it comes */
};
struct append *append_begin(struct store *store, const struct append_to *to, struct fail *why); /* NULL: no such folder, ... */
bool append_write(struct append *a, struct span bytes, struct fail *why);
/* All or none (MULTIAPPEND: the same folder); the appends are taken over. on_done
 * after file, name and UID are durable. */
void append_commit(struct append **all, size_t n, struct mailbox_op *op);
void append_abort(struct append **a);

/* COPY and MOVE: hard links where possible; uids are the view's. */
void mailbox_copy(struct view *v, const struct uidset *uids, struct span to, bool move, struct mailbox_op *op);
/* From how many messages on the links are promised, durably, and made after the answer. */
void store_set_promise(struct store *store, size_t messages);

#endif
