/* SPDX-License-Identifier: ISC
 *
 * passrights: the socket option of Linux 6.16 that says whether a UNIX socket takes descriptors (SCM_RIGHTS). What is
 * for everybody takes none: such as connections that whoever drops them waits for (SO_LINGER).
 */
#ifndef SYS_PASSRIGHTS_H
#define SYS_PASSRIGHTS_H

#include <sys/socket.h>

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83
#endif

#endif
