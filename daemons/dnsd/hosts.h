/* SPDX-License-Identifier: ISC
 *
 * hosts: names and addresses of the hosts file (hosts(5)), which come before
 * the DNS as they do for the system's own resolver.  localhost is always known.
 */
#ifndef DNSD_HOSTS_H
#define DNSD_HOSTS_H

#include "base/arena.h"
#include "base/map.h"

enum { HOSTS_FILE_MAX = 4 * 1024 * 1024, HOSTS_ADDRESSES = 32 /* of one name */ };

struct hosts_address {
	struct hosts_address *next;
	struct span bytes; /* 4 or 16 */
};

struct hosts {
	struct arena arena;
	struct map by_name;    /* lower case -> addresses */
	struct map by_address; /* bytes -> first name */
};

/* text: the file's content; lines that make no sense are skipped. */
void hosts_init(struct hosts *h, struct span text);
void hosts_free(struct hosts *h);
const struct hosts_address *hosts_addresses(const struct hosts *h, struct span name); /* NULL: not known */
struct span hosts_name(const struct hosts *h, struct span bytes); /* empty: not known */

#endif
