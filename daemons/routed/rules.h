/* SPDX-License-Identifier: ISC
 *
 * rules: the configuration's routing options made ready: tables open, domain
 * lists indexed.  Blocks only for reading tables.
 */
#ifndef ROUTED_RULES_H
#define ROUTED_RULES_H

#include "conf/conf.h"
#include "table/table.h"

/* Where addresses are looked up: RULES_MAP(name, option, syntax) */
#define RULES_MAPS(X)                                                \
	X(ALIASES, alias_maps, TABLE_ALIASES)                        \
	X(VIRTUAL, virtual_alias_maps, TABLE_MAP)                    \
	X(TRANSPORT, transport_maps, TABLE_MAP)                      \
	X(RELAY_RECIPIENTS, relay_recipient_maps, TABLE_MAP)         \
	X(LOCAL_RECIPIENTS, local_recipient_maps, TABLE_MAP)         \
	X(VIRTUAL_MAILBOXES, virtual_mailbox_maps, TABLE_MAP)        \
	X(SASL_PASSWORDS, smtp_sasl_password_maps, TABLE_MAP)        \
	X(TLS_POLICY, smtp_tls_policy_maps, TABLE_MAP)               \
	X(SENDER_RELAY, sender_dependent_relayhost_maps, TABLE_MAP)  \
	X(SENDER_LOGIN, smtpd_sender_login_maps, TABLE_MAP)          \
	X(RELAY_CERTS, relay_clientcerts, TABLE_MAP)                 \
	X(ACCESS_CLIENT, smtpd_client_access_maps, TABLE_MAP)        \
	X(ACCESS_HELO, smtpd_helo_access_maps, TABLE_MAP)            \
	X(ACCESS_LOGIN, smtpd_login_access_maps, TABLE_MAP)          \
	X(ACCESS_SENDER, smtpd_sender_access_maps, TABLE_MAP)        \
	X(ACCESS_RECIPIENT, smtpd_recipient_access_maps, TABLE_MAP)
enum rules_map {
#define X(name, option, syntax) RULES_##name,
	RULES_MAPS(X)
#undef X
	RULES_MAP_COUNT
};

/* What a domain is to this host, in the order in which it is asked: X(name, option, words) */
#define RULES_CLASSES(X)                                                \
	X(LOCAL, mydestination, "a local domain")                       \
	X(VIRTUAL_ALIAS, virtual_alias_domains, "a virtual alias domain") \
	X(VIRTUAL_MAILBOX, virtual_mailbox_domains, "a virtual mailbox domain") \
	X(RELAY, relay_domains, "a relay domain")
enum rules_class {
#define X(name, option, words) CLASS_##name,
	RULES_CLASSES(X)
#undef X
	CLASS_REMOTE,
	CLASS_COUNT = CLASS_REMOTE
};

struct rules;

/* The conf must outlive the rules.  Events as for struct table_options.  A
 * table that cannot be is an event and fails its lookups. NULL: no memory. */
struct rules *rules_new(const struct conf *conf, const char *cache_dir, void (*on_event)(void *arg, const char *text),
    void *arg, struct fail *why);
void rules_free(struct rules **rules);
const struct conf *rules_conf(const struct rules *rules);
/* user+detail@domain without its extension, in the arena; empty when it has none. */
struct span rules_without_extension(const struct rules *rules, struct span address, struct arena *arena);

/* Looks after changed sources; cheap. */
void rules_refresh(struct rules *rules, int64_t now_ms);
/* Reads and rebuilds all alias tables now (newaliases). */
bool rules_rebuild(struct rules *rules, struct fail *why);

bool rules_has_map(const struct rules *rules, enum rules_map map);
const char *rules_map_name(enum rules_map map);
const char *rules_class_option(enum rules_class class);
const char *rules_class_words(enum rules_class class);

/* What a table is asked for: an address or a name, or a part of one (the user without extension, @domain, .parent),
 * about which patterns are not asked. */
struct rules_key {
	struct span text; /* empty: nothing */
	bool part;
};
static inline struct rules_key rules_whole(struct span text) { return (struct rules_key){ text, false }; }
static inline struct rules_key rules_part(struct span text) { return (struct rules_key){ text, true }; }

/* The first table of the option that has the key; *which is that table (or the one that failed). */
enum table_found rules_lookup(struct rules *rules, enum rules_map map, struct rules_key key, struct arena *arena,
    struct span *value,
    struct span *which, struct fail *why);
/* The class of a domain in lower case; false: a table failed. */
bool rules_class(struct rules *rules, struct span domain, struct arena *arena, enum rules_class *class,
    struct span *which, struct fail *why);

/* Files and directories that tables and include files may be read from, for
 * the sandbox: at most max paths, parents before what is below them. */
size_t rules_paths(const struct rules *rules, struct arena *arena, const char **paths, size_t max);
/* Whether the path is dir or below it. */
bool rules_path_covers(const char *dir, const char *path);

#endif
