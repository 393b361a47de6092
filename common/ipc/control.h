/* SPDX-License-Identifier: ISC
 *
 * control: the named sockets through which tools reach a daemon:
 * run_directory/CHANNEL; mode 0600 where only root's tools may.
 */
#ifndef IPC_CONTROL_H
#define IPC_CONTROL_H

#include <sys/types.h>

#include "base/fail.h"
#include "ipc/bounds.h"

/* The socket's path into path (size B_PATH); returns it. */
const char *control_path(char *path, struct span run_directory, const char *channel);
/* A listening socket of that mode in place of any stale one; -1 and *why. */
int control_listen(const char *path, mode_t mode, struct fail *why);

#endif
