/* SPDX-License-Identifier: ISC
 *
 * imap: one IMAP session after login (RFC 3501), and the command it is at.
 *
 * One command at a time.  While it runs no input is read, so the spans of its
 * arguments stay where they are in the receive buffer; a command that takes
 * input itself (IDLE, APPEND) has its arguments copied first.
 */
#ifndef MAILBOXD_IMAP_H
#define MAILBOXD_IMAP_H

#include "daemons/mailboxd/acl.h"
#include "daemons/mailboxd/user.h"
#include "net/imapsyntax.h"

enum { STATE_AUTH = 1, STATE_SELECTED = 2, STATE_AWAY = 4 /* a mailbox of another user is selected (abroad.h) */ };

enum { /* of a row of commands.def */
	CMD_UID = 1,
	CMD_UIDONLY = 2,
	CMD_KEEP = 4,
	CMD_QUIET = 8,
	CMD_WRITE = 16,
	CMD_STREAM = 32,
	CMD_TELL = 64,
	CMD_NUMBERS = 128,
	CMD_GUEST = 256,
};

enum cmd_result {
	CMD_DONE, /* the reply is set */
	CMD_MORE, /* call again: when the output has room, or at once if it has */
	CMD_WAIT, /* call again after session_wake(), or with new input where cmd.input is set */
};

enum cmd_status { CMD_OK, CMD_NO, CMD_BAD };

struct cmd;
struct imap;

struct command {
	struct span name;
	unsigned states;
	const char *shape;
	unsigned flags;
	enum cmd_result (*handler)(struct cmd *c);
	const char *section;
};

enum { CMD_ARGS = 3, CMD_TEXT = 480 };

struct cmd {
	struct imap *s;
	const struct command *def; /* NULL: no command runs */
	struct span tag;
	bool uid;                  /* UID in front of it */
	struct arena *arena;       /* of this command */
	struct imap_parse parse;   /* stands behind the arguments of the shape */
	struct span arg[CMD_ARGS]; /* m, p, a: the text; s: the set as written */
	struct uidset seqs;        /* of the shape's s: sequence numbers in this view */
	struct imap_literal literal; /* STREAM: what the text ended with; size counts down */

	enum cmd_result (*step)(struct cmd *c);  /* called until CMD_DONE */
	void (*release)(struct cmd *c);          /* gives back what state holds; also when the session ends */
	void *state;                             /* in the arena */
	bool input;                              /* step takes input */
	int64_t spoke_ms;                        /* when it last said how far it is; 0: never, or began */
	bool detached;                           /* its text is no longer in the receive buffer */

	struct mailbox_op confirm; /* cmd_durable() waits for it, */
	bool confirmed;            /* and no longer */

	enum cmd_status status;
	struct span code;    /* "[...] " in front of the text, in the arena: of any length */
	char text[CMD_TEXT]; /* of the tagged response */
};

enum { ENABLED_CONDSTORE = 1, ENABLED_QRESYNC = 2, ENABLED_UTF8 = 4, ENABLED_REV2 = 8, ENABLED_METADATA = 16,
	ENABLED_UIDONLY = 32 };

struct notify;
struct aside;
struct guest;
struct abroad;

struct imap {
	struct session base;
	struct user *user;
	struct arena arena;
	struct imap_reader reader;
	struct cmd cmd;
	struct view view; /* open while state is STATE_SELECTED */
	unsigned state;
	unsigned enabled;
	unsigned rights;  /* in the selected mailbox: ACL_ALL, or what a guest had when the command began */
	struct guest *guest;   /* owned; NULL: this is the owner (guest.h) */
	struct abroad *abroad; /* owned; NULL: never been there (abroad.h) */
	unsigned bad;     /* errors in a row */
	uint64_t skip;    /* octets of a refused literal still to come */
	bool refusing;    /* the rest of the present command is thrown away */
	bool compressing; /* what comes behind the present command's reply is compressed */
	bool idling;
	bool unauthenticating; /* behind the present command's reply */
	int64_t silent_ms; /* since the client last said something */
	struct uidset saved;    /* UIDs that "$" stands for (RFC 5182) */
	struct uidset vanished; /* expunged, being told (RFC 7162 3.2.10) */
	bool untold;            /* one of those found no memory: the client counts other messages than there are */
	struct buf notes; /* of other sessions' doings, to be said when next something is */
	struct notify *notify; /* owned; NULL: told as RFC 3501 has it (notify.h) */
	struct aside *aside;   /* owned; NULL: never needed (aside.h) */
	struct list contexts;  /* searches that are kept up to date (context.h) */
	bool dead;        /* the client is gone */
	char refused[64]; /* the tag to refuse it with */
};

/* NULL: no memory.  tag: of the command that logged in; its OK is the first
 * thing said.  Empty: PREAUTH greeting instead.  may_leave: UNAUTHENTICATE is possible. */
struct session *imap_new(struct user *user, struct span tag, bool may_leave);

/* One that rested (session_ops.rest), some time ago. NULL: no memory. Where its folder is not
 * what it was, it says goodbye. */
struct session *imap_resume(struct user *user, struct span state, int64_t elapsed_ms);
bool imap_rest(const struct session *base, struct buf *state); /* rest.c */

/* ---- for handlers ---- */

static inline struct buf *cmd_out(struct cmd *c) { return &c->s->base.out.mem; }
static inline bool cmd_room(struct cmd *c) { return outq_room(&c->s->base.out); }
static inline struct view *cmd_view(struct cmd *c) { return &c->s->view; }
static inline struct store *cmd_home(struct cmd *c) { return c->s->user->store; }

/* Each sets the tagged reply and returns CMD_DONE; a code in brackets may
 * stand in front of the text. */
enum cmd_result cmd_ok(struct cmd *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
enum cmd_result cmd_no(struct cmd *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
enum cmd_result cmd_bad(struct cmd *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
enum cmd_result cmd_completed(struct cmd *c);                         /* OK NAME completed. */
enum cmd_result cmd_failed(struct cmd *c, const struct fail *why);    /* NO with a code for the class */
/* As cmd_completed(), once what has been done to the selected mailbox is durable; as cmd_failed() where it never will be.
 * The mailbox may be left at once. */
enum cmd_result cmd_durable(struct cmd *c);
/* Fails the walk: a number where UIDONLY (RFC 9586 3) allows UIDs alone. */
bool imap_uid_required(struct cmd *c);
enum cmd_result cmd_syntax(struct cmd *c);                            /* BAD with what the parser expected */
/* Goes on in step, at once. */
enum cmd_result cmd_go(struct cmd *c, enum cmd_result (*step)(struct cmd *));
/* Goes on in step at the session's next run: where there may be many of them,
 * none of which stands on the stack of the one before. */
enum cmd_result cmd_later(struct cmd *c, enum cmd_result (*step)(struct cmd *));
/* Waits for the store; the op's callback calls cmd_wake(). */
enum cmd_result cmd_wait(struct cmd *c, enum cmd_result (*then)(struct cmd *));
void cmd_wake(struct cmd *c);
/* Before CMD_MORE, from time to time "* OK [INPROGRESS ...]" (RFC 9585 4). */
void cmd_progress(struct cmd *c, uint64_t done, uint64_t goal);
/* From now on step reads the input itself; the arguments must have been taken. */
void cmd_take_input(struct cmd *c);
/* The command has its reply; `left` octets that the client still sends of it are thrown away. */
enum cmd_result cmd_give_up(struct cmd *c, uint64_t left);

/* Untagged responses for what others changed; expunges: they may be told. */
void imap_sync(struct imap *s, bool expunges);
/* Other sessions of the user that asked for it learn that an annotation changed (RFC 5464 4.4.2). */
void imap_tell_metadata(struct imap *from, struct span folder, struct span entry);
void imap_unselect(struct imap *s); /* gives up the view */
/* "* seq FETCH (", or with UIDONLY "* uid UIDFETCH (" (RFC 9586 3.3). */
void imap_put_fetch(const struct imap *s, struct buf *out, uint32_t seq, uint32_t uid);
/* "* VANISHED [(EARLIER) ]uids"; nothing for none. */
void imap_put_vanished(struct imap *s, const struct uidset *uids, bool earlier);
/* The session ends; without a word where that would come to stand in the middle of a response. */
void imap_bye(struct imap *s, const char *text);
void imap_put_capability(const struct imap *s, struct buf *out);
/* Folder names travel in UTF-8 where that is enabled (RFC 6855, RFC 9051 5.1). */
void imap_put_mailbox(const struct imap *s, struct buf *out, struct span name);
/* A folder's name as the client reads and writes it: LIST patterns are matched with this. */
void imap_outward_name(const struct imap *s, struct buf *out, struct span name);
/* A name as the client wrote it to the form on disk, in the arena; empty: none that could be. */
struct span imap_mailbox_name(struct imap *s, struct span name);
/* Likewise, but a guest's keeps what leads to whose it is. */
struct span imap_disk_name(struct imap *s, struct span name);
void imap_put_flags(struct imap *s, struct buf *out, const struct message *m); /* "(\Seen ...)" */

/* ---- command.c ---- */

/* The row for a name, UID prefix included; NULL: none. */
const struct command *command_find(struct span name, bool uid);
/* Walks the row's shape.  False: the syntax reply is set in the parse. */
bool command_args(struct cmd *c);
/* c->seqs from text, in UIDs or sequence numbers as the command has it. */
bool command_set(struct cmd *c, struct span text);
/* Whether so many messages may be named at once (RFC 9738); false: the reply says that they may not. */
bool command_may(struct cmd *c);
enum cmd_result command_too_many(struct cmd *c); /* says so */
/* Leaves as many as may be, the last ones, and notes in c->code that it did.  False: no memory. */
bool command_cut(struct cmd *c);

#define COMMAND(name, states, shape, flags, handler, section) enum cmd_result handler(struct cmd *c);
#include "daemons/mailboxd/commands.def"
#undef COMMAND

#endif
