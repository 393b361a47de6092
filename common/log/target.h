/* SPDX-License-Identifier: ISC
 *
 * log target: what maillog_file names, as a descriptor for log_open().
 */
#ifndef LOG_TARGET_H
#define LOG_TARGET_H

#include "base/fail.h"

/* "syslog", or the path of a file, made with mode 0640 if it is missing; -1 and *why.  Through the file's
 * descriptor nothing that is there can be cut off, whoever holds it (from Linux 6.2 on), or written over by who has no F_SETFL. */
int log_target_open(const char *name, struct fail *why);

#endif
