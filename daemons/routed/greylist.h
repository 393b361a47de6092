/* SPDX-License-Identifier: ISC
 *
 * greylist: strangers come again.  What a network (/24, /64), sender and
 * recipient have been told is kept in Berkeley DB; a second of it may be lost
 * in a crash, which costs a client one more attempt.
 *
 * Keys: "T" network NUL sender NUL recipient, "N" network.  Value: version
 * byte 1, first and last Unix second (u64), number that came through (u32),
 * little-endian.
 */
#ifndef ROUTED_GREYLIST_H
#define ROUTED_GREYLIST_H

#include "conf/conf.h"
#include "memo.h"

struct greylist {
	struct memo memo; /* while it is not open nobody is put off */
	const struct conf *conf;
};

enum greylist_verdict {
	GREYLIST_WAIT,    /* come again */
	GREYLIST_PASSED,  /* now came through; *waited_s says after how long */
	GREYLIST_KNOWN,   /* had come through before */
	GREYLIST_NETWORK, /* its network is trusted by now */
	GREYLIST_UNABLE,  /* the database fails: mail goes on */
};

/* g->conf is the owner's to change at a reload, g->memo to open and close. */
void greylist_init(struct greylist *g, struct loop *loop, const struct conf *conf);

enum greylist_verdict greylist_check(struct greylist *g, struct span client_addr, struct span sender, struct span recipient,
    int64_t now_s, int64_t *waited_s, struct fail *why);

#endif
