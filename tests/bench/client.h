/* SPDX-License-Identifier: ISC
 *
 * client: what the parts of bench_client share: connections that wait, and
 * the lines of a server's answers.
 */
#ifndef BENCH_CLIENT_H
#define BENCH_CLIENT_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HEAD_MAX = 256, TAIL_MAX = 16 };

struct options {
	unsigned port, lmtp_port, sessions, users;
	unsigned long count;
	size_t size;
	const char *user, *password, *to; /* % in user and to: the number of the user */
	SSL_CTX *tls;                     /* NULL: none */
};

struct conn {
	int fd;
	SSL *ssl;
};

/* Takes answers apart: lines, literals left out. */
struct scan {
	uint64_t literal; /* octets of one still to come */
	size_t nhead, ntail;
	char head[HEAD_MAX], tail[TAIL_MAX]; /* how the line begins and ends */
};

double now(void);
_Noreturn void die(const char *what, const char *detail);
/* text with % replaced; to has room for HEAD_MAX. */
void numbered(char *to, const char *text, unsigned user);

/* All of these end the program when something goes wrong. */
void conn_dial(struct conn *c, unsigned port);
void conn_tls(struct conn *c, SSL_CTX *tls);
void conn_put(struct conn *c, const char *text, size_t n);
void conn_say(struct conn *c, const char *text); /* a line, CRLF is added */
size_t conn_get(struct conn *c, char *to, size_t n); /* waits for something */
void conn_close(struct conn *c);

/* Calls on_line (head, NUL-terminated, without CRLF) for each line in p. */
void scan_feed(struct scan *s, const char *p, size_t n, void (*on_line)(void *arg, const char *head), void *arg);

/* Greeting, STARTTLS where wanted, LOGIN. */
void imap_enter(struct conn *c, const struct options *o, unsigned user);
/* One command to its tagged reply; what it was is in *last. False: NO or BAD. */
struct answer {
	struct scan scan;
	uint64_t bytes;
	bool done, ok;
	unsigned exists;
	char untagged[HEAD_MAX], last[HEAD_MAX];
};
bool imap_ask(struct conn *c, const char *command, struct answer *a);
bool imap_answer(struct conn *c, struct answer *a); /* of a command that was sent */

/* Percentiles of n times in seconds (sorted in place) as members of a JSON object, in microseconds. */
void put_times(double *times, size_t n);

void run_mixed(const struct options *o); /* bench_mixed.c */

#endif
