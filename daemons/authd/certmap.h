/* SPDX-License-Identifier: ISC
 *
 * certmap: the tables that say whose login a client's certificate is
 * (auth_certificate_maps).
 */
#ifndef AUTHD_CERTMAP_H
#define AUTHD_CERTMAP_H

#include "conf/conf.h"
#include "ipc/messages.h"
#include "table/table.h"

enum { CERTMAP_TABLES = 20 };

struct certmap {
	struct table *tables[CERTMAP_TABLES]; /* owned */
	size_t n;
};

/* A table that cannot be fails its lookups. False: no memory. */
bool certmap_open(struct certmap *map, const struct conf_list *specs, void (*on_event)(void *arg, const char *text));
void certmap_close(struct certmap *map);
/* Where they are read from, for the sandbox: directories, as files are replaced; the strings stay the map's. */
size_t certmap_paths(const struct certmap *map, const char **paths, size_t max, struct arena *arena);
/* The logins, with commas or blanks between, by the first key that a table has: fingerprint, public key,
 * then, of a trusted certificate, addresses and common name. */
enum table_found certmap_find(struct certmap *map, const struct ipc_auth_certificate *m, int64_t now_ms, struct arena *arena, struct span *logins,
    struct fail *why);

#endif
