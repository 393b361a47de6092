/* SPDX-License-Identifier: ISC
 *
 * priv: who a process is.  The wanted identity is one struct; it is taken
 * on whole, and verified afterwards.  Nothing else in the suite changes
 * identity or capabilities.
 */
#ifndef SYS_PRIV_H
#define SYS_PRIV_H

#include <sys/types.h>

#include "base/fail.h"

/* Capabilities that a process may keep; a set of these. */
enum {
	PRIV_SETUID = 1 << 0, /* CAP_SETUID, CAP_SETGID: become another user */
	PRIV_SETPCAP = 1 << 1,
	PRIV_BIND = 1 << 2,   /* CAP_NET_BIND_SERVICE */
	PRIV_READ = 1 << 3,   /* CAP_DAC_READ_SEARCH: open keys and configuration of any owner */
	PRIV_KILL = 1 << 4,   /* CAP_KILL */
};

struct priv_identity {
	uid_t uid;
	gid_t gid;
	unsigned caps; /* PRIV_*; only uid 0 keeps any */
};

/* By user name; false: no such user. */
bool priv_lookup(const char *user, struct priv_identity *id, struct fail *why);
/* Takes on uid, gid, no supplementary groups, the capabilities and no way to get
 * others (bounding set), and checks that it holds. For a child before exec. */
bool priv_become(const struct priv_identity *id, struct fail *why);
/* Keeps uid 0 but only these capabilities: maild, once all is set up. */
bool priv_keep(unsigned caps, struct fail *why);
/* Of the calling process, for status: the effective set as "cap_setgid,cap_setuid=ep". */
void priv_describe(char *text, size_t size);

#endif
