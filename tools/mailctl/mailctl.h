/* SPDX-License-Identifier: ISC
 *
 * mailctl: one program for all administration; each group of commands is a
 * file, each command a row of commands.def.
 */
#ifndef MAILCTL_MAILCTL_H
#define MAILCTL_MAILCTL_H

#include "base/arena.h"
#include "conf/conf.h"
#include "ipc/channel_sync.h"
#include "ipc/messages.h"

enum { EX_OK_ = 0, EX_FAILED = 1, EX_USAGE_ = 64, EX_NOUSER_ = 67, EX_UNAVAILABLE_ = 69, EX_CONFIG_ = 78 };
enum { ANSWER_MS = 60000, PATIENT_MS = 2000 /* silently */ };

struct mailctl;

/* A row of commands.def. */
enum mailctl_needs { NOTHING, SUITE, CONFIG };

struct mailctl_command {
	const char *group, *verb;
	int (*run)(struct mailctl *m);
	enum mailctl_needs needs;
	const char *arguments, *doc;
};

struct mailctl {
	const char *program, *config_path;
	const struct mailctl_command *command;
	char **args; /* behind the verb, options taken out */
	int nargs;
	bool json, dry_run, password_stdin, sandbox, counters, widen;
	bool follow, received;
	bool quiet, by_sender, rule, hold, maildir, envelope, content;
	const char *sort, *sender, *filter, *comment, *to, *since, *log, *size, *messages, *uids, *imap, *login, *owner, *mailbox;
	uint64_t limit;
	struct arena arena;
	/* NULL: `user list` prints a user */
	void (*on_user)(struct mailctl *m, const struct ipc_user_admin_user *u);
	const char *user;  /* whom on_user is about */
	unsigned nusers;   /* rows that there were */
	bool taken;        /* one of them has what a new user is to have */
	char home[B_PATH]; /* the mailbox that `mailbox` is about */
	uint32_t owner_uid, owner_gid; /* 0: the common mailbox user */
	uint64_t quota, quota_messages; /* its limits, 0 for none */
	const struct conf *conf; /* NULL only for check, which reads it itself, and trace --received */
};

#define COMMAND(group, verb, function, needs, arguments, doc) int function(struct mailctl *m);
#include "tools/mailctl/commands.def"

/* A service, started by `doctor`: maild's walls, tried from within. */
int doctor_in_place_of_maild(int argc, char **argv);
/* `user list` of this one; with on_user. There may be none: m->nusers. */
int user_ask(struct mailctl *m, const char *user);
/* Connects to a control socket in run_directory; NULL with the reason printed. */
struct channel_sync *mailctl_connect(const struct mailctl *m, const struct ipc_channel *type);
/* Prints that it could not be connected to, and why; EX_UNAVAILABLE_. */
int mailctl_unreached(const char *server, const struct fail *why);
/* A time as the log has it, or so long ago: 90s, 10m, 2h, 3d; NULL: 0. */
bool mailctl_since(const char *text, int64_t *ms);
/* Prints how the command is used; EX_USAGE_. */
int mailctl_usage(const struct mailctl *m);
/* Prints what it was; EX_NOUSER_ for STATUS_BAD_MAILBOX, else EX_FAILED. */
int mailctl_failed(const struct fail *why);
/* Prints "mailctl: text" and returns status. */
int mailctl_fail(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The next message of an answer; false with the reason printed, and its errno (EPROTONOSUPPORT: another build). */
bool mailctl_recv(struct channel_sync *c, unsigned *type, const void **m);
/* suite_admin's answer: each row of that type is printed; done is the exit status. */
int suite_rows(const struct mailctl *m, struct channel_sync *c, unsigned row, void (*print)(const struct mailctl *m, const void *row));
/* Sends a request; false with the reason printed. */
bool mailctl_send(struct channel_sync *c, unsigned type, const void *request);

#endif
