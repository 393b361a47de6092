/* SPDX-License-Identifier: ISC
 *
 * conf: the configuration, read once, checked whole, then never changed.
 *
 * Struct, parser, ranges, defaults and documentation come from options.def,
 * listener.def, route.def.  A struct conf and all it points to live in one
 * arena; a reload makes a new one.
 *
 *   name = value                  # comments stand on lines of their own
 *           continued             a line that begins with a blank goes on
 *   listener NAME { option = value; ... }     values with ; { } or blanks at
 *   route PATTERN { option = value; ... }     their ends stand in "quotes"
 *   $name ${name} $(name)         the value of another option; $$ is a $
 */
#ifndef CONF_CONF_H
#define CONF_CONF_H

#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/fail.h"

/* Who may see an option: a set of these. */
#define CONF_DAEMONS(X)                                                                                        \
	X(MAILD, maild) X(USERD, userd) X(SMTPD, smtpd) X(QUEUED, queued) X(ROUTED, routed) X(REMOTED, remoted) \
	X(LOCALD, locald) X(DELIVERD, deliverd) X(DNSD, dnsd) X(AUTHD, authd) X(KEYD, keyd) X(IMAPD, imapd)     \
	X(POP3D, pop3d) X(MAILBOXD, mailboxd) X(STSD, stsd) X(VERIFYD, verifyd) X(TOKEND, tokend)
enum conf_daemon_bit {
#define X(upper, lower) CONF_BIT_##upper,
	CONF_DAEMONS(X)
#undef X
	CONF_BIT_COUNT
};
enum conf_daemon {
#define X(upper, lower) CONF_##upper = 1 << CONF_BIT_##upper,
	CONF_DAEMONS(X)
#undef X
	CONF_ALL = (1 << CONF_BIT_COUNT) - 1
};

/* What a change needs; the greater one wins. */
enum conf_reload { CONF_LIVE, CONF_RESTART, CONF_FIXED };

enum conf_word {
#define WORD(constant, text) constant,
#include "conf/words.def"
	CONF_WORD_COUNT
};

/* Every span in a conf has p != NULL and a NUL behind it: .p is a C string. */
struct conf_list {
	const struct span *items;
	size_t n;
};

struct conf_net {
	uint8_t addr[16]; /* IPv4 as ::ffff:a.b.c.d */
	uint8_t bits;     /* 0..128 */
	bool negate;      /* !network */
};

struct conf_nets {
	const struct conf_net *items;
	size_t n;
};

struct conf_addr {
	struct span text; /* as written */
	bool any;         /* "*": sa is the IPv6 wildcard, to be bound for both families */
	socklen_t len;    /* 0: no address */
	union {
		struct sockaddr_storage sa;
		struct sockaddr_un un;
	};
};

/* kind, C type, what it is called in the manual */
#define CONF_KINDS(X)                                                                          \
	X(BOOL, bool, "yes or no")                                                             \
	X(NUMBER, uint64_t, "number")                                                          \
	X(SIZE, uint64_t, "size in bytes, with k, M, G")                                       \
	X(DURATION, int64_t, "time, with ms, s, m, h, d, w") /* the C value is milliseconds */ \
	X(TEXT, struct span, "text")                                                           \
	X(PATH, struct span, "path")                                                           \
	X(HOST, struct span, "host name")                                                      \
	X(NEXTHOP, struct span, "next hop")                                                    \
	X(IPV4, struct span, "IPv4 address")                                                   \
	X(IPV6, struct span, "IPv6 address")                                                   \
	X(WORD, enum conf_word, "one of")                                                      \
	X(LIST, struct conf_list, "list")                                                      \
	X(DOMAINS, struct conf_list, "list of domains and tables")                             \
	X(TABLES, struct conf_list, "list of tables, type:name")                               \
	X(SITES, struct conf_list, "list of DNS lists, domain=filter*weight")                  \
	X(FILTERS, struct conf_list, "list of filters, inet:address:port or unix:/path")       \
	X(MECHANISMS, struct conf_list, "list of SASL mechanisms")                             \
	X(SERVERS, struct conf_list, "list of name servers, ADDRESS or ADDRESS@PORT")          \
	X(INTERFACES, struct conf_list, "all, loopback-only, or list of addresses")            \
	X(NEARBY, struct conf_list, "list of paths from the mailbox directory, or beside it")           \
	X(NETS, struct conf_nets, "list of networks")                                          \
	X(ADDR, struct conf_addr, "address to listen on")

enum conf_kind {
#define X(kind, type, meaning) CONF_KIND_##kind,
	CONF_KINDS(X)
#undef X
	CONF_KIND_COUNT
};

#define X(kind, type, meaning) typedef type conf_##kind##_type;
CONF_KINDS(X)
#undef X

#define OPTION(name, kind, def, min, max, see, reload, text) conf_##kind##_type name;
struct conf_listener {
	struct span name;
#include "conf/listener.def"
};

#define OPTION(name, kind, def, min, max, see, reload, text) conf_##kind##_type name;
struct conf_route {
	struct span name; /* the pattern */
#include "conf/route.def"
};

#define OPTION(name, kind, def, min, max, see, reload, text) conf_##kind##_type name;
struct conf {
#include "conf/options.def"
	/* The file's blocks; if it has no listener block, the default listeners. */
	const struct conf_listener *listeners;
	size_t nlisteners;
	const struct conf_route *routes;
	size_t nroutes;
	const struct conf_source *source; /* texts of all values, for conf_canonical and conf_diff */
};

enum conf_table { CONF_TABLE_OPTIONS, CONF_TABLE_LISTENER, CONF_TABLE_ROUTE };

/* Every error of a file, in order of position. */
struct conf_error {
	unsigned line, column; /* from 1; 0: the file as a whole */
	char text[240];
};
enum { CONF_ERRORS_MAX = 100 };
struct conf_errors {
	struct conf_error items[CONF_ERRORS_MAX];
	size_t n;    /* of items */
	size_t more; /* that found no room */
};
/* Line i, from 0, of what is wrong: "FILE:LINE:COLUMN: text", at last how many found no room.
 * false: there is none; errors may be NULL. */
bool conf_errors_line(const struct conf_errors *errors, size_t i, const char *file, char *line, size_t size);
/* All of these lines; where there are none, "FILE: " and why it could not be read. */
void conf_errors_print(const struct conf_errors *errors, const char *file, const struct fail *why, FILE *to);

enum { CONF_LISTENER_NAME_MAX = 63, CONF_FILE_MAX = 4 * 1024 * 1024, CONF_ARENA_MAX = 64 * 1024 * 1024 };

/* Parses a whole file.  NULL: there are errors (errors->n > 0), all of them
 * in *errors.  The text need not outlive the call. */
const struct conf *conf_parse(struct span text, struct arena *arena, struct conf_errors *errors);
/* What an empty file means; NULL: no memory. */
const struct conf *conf_default(struct arena *arena);
/* Reads fd from its start (a file, or the sealed memfd from maild) and parses
 * it.  false with *why for what could not be read, *out NULL; of a file with errors *why is
 * the first of them, *out what can be read all the same, the rest of it at its default.
 * All errors are in *errors (may be NULL). */
bool conf_load_fd(int fd, struct arena *arena, const struct conf **out, struct conf_errors *errors, struct fail *why);
/* As conf_load_fd, for a suite that runs: what only its next start can change (CONF_FIXED) stays as it is. */
struct conf_running {
	const struct conf *conf;
	struct buf *later; /* the names of such options that have another value in the file, comma-separated */
};
bool conf_reload_fd(int fd, const struct conf_running *running, struct arena *arena, const struct conf **out,
    struct conf_errors *errors, struct fail *why);
bool conf_load(const char *path, struct arena *arena, const struct conf **out, struct conf_errors *errors,
    struct fail *why);
/* For a tool: NULL for whatever is wrong, and all of it goes to `to`. */
const struct conf *conf_load_or_tell(const char *path, struct arena *arena, FILE *to);
/* For a tool that only asks the running suite, and is wanted while somebody edits the file, too: of one with errors
 * what can be read is taken, and `to` hears that there are some.  Where they may be about run_directory, or any directory: as above. */
const struct conf *conf_load_to_ask(const char *path, struct arena *arena, FILE *to);

/* The file that parses to the same values, with only the options that the
 * daemons in `see` may see and no default left implicit. */
void conf_canonical(const struct conf *conf, unsigned see, struct buf *out);
/* Compares what `see` may see: false if nothing differs; *reload is what the
 * change needs, and the changed names go to names (may be NULL), comma-separated. */
bool conf_diff(const struct conf *from, const struct conf *to, unsigned see, enum conf_reload *reload,
    struct buf *names);
/* The commented example file with every option at its default. */
void conf_example(struct buf *out);

/* One option's value as text, for "mailctl"; false: no such option. */
bool conf_value(const struct conf *conf, struct span name, struct span *out);
/* Where in its file an option's value stands, of a block by its place among the listeners or routes; false: at its default. */
bool conf_where(const struct conf *conf, enum conf_table table, size_t block, const char *name, unsigned *line, unsigned *column);
/* By the block's name; NULL if none. */
const struct conf_listener *conf_listener_find(const struct conf *conf, struct span name);
/* The block for an address: by user@domain, domain, .parents, *; NULL if none.
 * The address has its domain in lower case. */
const struct conf_route *conf_route_match(const struct conf *conf, struct span address);
/* The block whose limits hold for a next hop as routed gives it: the one that
 * names this next hop, else one without a nexthop whose pattern has the domain; NULL if none. */
const struct conf_route *conf_route_for_hop(const struct conf *conf, struct span nexthop);
/* TLS on the way to a next hop: the strictest of the blocks that name it, for a connection serves them all. */
enum conf_word conf_tls_for_hop(const struct conf *conf, struct span nexthop);
struct span conf_word_text(enum conf_word word);
/* Whether the 16-byte address (IPv4 mapped) is in one of the networks; the first that matches decides. */
bool conf_nets_match(const struct conf_nets *nets, const uint8_t addr[16]);
/* 16-byte form of a socket address; false for a family other than IP. */
bool conf_addr_bytes(const struct sockaddr *sa, uint8_t out[16]);
/* The bit of a daemon by its name, 0 if unknown. */
unsigned conf_daemon_by_name(struct span name);

/* One row of a table, for documentation and tests. */
struct conf_option {
	const char *name;
	enum conf_kind kind;
	const char *def;
	uint64_t min, max;
	unsigned see;
	enum conf_reload reload;
	const char *text;
	size_t offset;
};
const struct conf_option *conf_options(enum conf_table table, size_t *n);
const char *conf_kind_name(enum conf_kind kind);
/* The title of the section that begins with this option, or NULL. */
const char *conf_section(const struct conf_option *option);

#endif
