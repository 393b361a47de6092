/* SPDX-License-Identifier: ISC
 *
 * post: postqueue, postsuper and postcat: the queue with the options and the
 * output that administrators of Postfix know. What they ask is mailctl's.
 */
#ifndef SENDMAIL_POST_H
#define SENDMAIL_POST_H

#include <sysexits.h>

#include "conf/conf.h"
#include "ipc/channel_sync.h"
#include "ipc/messages.h"

enum { POST_ANSWER_MS = 60000 };

/* The whole program; its exit status. */
int postqueue_main(int argc, char **argv);
int postsuper_main(int argc, char **argv);
int postcat_main(int argc, char **argv);

/* "PROGRAM: fatal: text"; returns status. */
int post_fatal(const char *program, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The configuration of -c (a file, or its directory), $PILLARPOST_CONFIG or the built-in path; NULL: said so. */
const struct conf *post_conf(const char *config, struct arena *arena);
struct channel_sync *post_connect(const struct conf *conf, const struct ipc_channel *type, struct fail *why);

/* A listing over queue_view, as mailq prints it or as JSON. */
int post_list(const char *program, const struct conf *conf, bool json);
int post_flush(const char *program, const struct conf *conf, const struct ipc_queue_view_flush *what);

#endif
