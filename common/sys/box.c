/* SPDX-License-Identifier: ISC
 *
 * Input is kept in two halves in turn: the older one goes as a whole when the other is full,
 * so that each begins with the beginning of a part.  The ruler copies the page before it
 * believes any of it, and the page is sealed: nobody can cut it off while that goes on.
 */
#include "sys/box.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { HEAD = 8, V6_BITS = 8 /* bytes of a /64 */ };

struct box_page {
	struct box_now now;
	uint32_t half, used[2];
	char text[2][BOX_HALF];
};

struct peer {
	struct map_node node;
	struct box_name name;
	enum box_level level;
};

static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

void
box_init(struct box *b)
{
	*b = (struct box){ .page = NULL };
	b->now = &b->idle;
	map_init(&b->peers);
}

static void
free_peer(struct map_node *node, void *arg)
{
	(void)arg;
	free(OWNER_OF(node, struct peer, node));
}

void
box_free(struct box *b)
{
	box_drop(&b->page);
	b->now = &b->idle;
	map_each(&b->peers, free_peer, NULL);
	map_free(&b->peers);
}

struct box_name
box_name(const uint8_t bytes[16])
{
	struct box_name name;

	memcpy(&name, bytes, sizeof(name));
	if (memcmp(bytes, mapped, sizeof(mapped)) != 0)
		memset((uint8_t *)&name + V6_BITS, 0, sizeof(name) - V6_BITS);
	return name;
}

struct span
box_name_text(struct box_name name, char text[BOX_TEXT])
{
	const uint8_t *bytes = (const uint8_t *)&name;
	bool v4 = memcmp(bytes, mapped, sizeof(mapped)) == 0;

	text[0] = '\0';
	(void)inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? bytes + sizeof(mapped) : bytes, text, BOX_TEXT - 4);
	if (!v4)
		strcat(text, "/64"); /* NOLINT: inet_ntop() has left room */
	return span_str(text);
}

bool
box_name_parse(struct span text, struct box_name *name)
{
	char copy[BOX_TEXT];
	uint8_t bytes[16];

	memcpy(bytes, mapped, sizeof(mapped));
	if (text.n > 3 && span_eq(span_from(text, text.n - 3), SPAN("/64")))
		text.n -= 3;
	if (!span_cstr(text, copy, sizeof(copy)) || (inet_pton(AF_INET, copy, bytes + sizeof(mapped)) != 1 && inet_pton(AF_INET6, copy, bytes) != 1))
		return false;
	*name = box_name(bytes);
	return true;
}

static struct span
key_of(const struct box_name *name)
{
	return span_of((const char *)name, sizeof(*name));
}

static struct peer *
find(const struct box *b, const struct box_name *name)
{
	struct map_node *node = b->peers.count ? map_get(&b->peers, key_of(name)) : NULL;

	return node ? OWNER_OF(node, struct peer, node) : NULL;
}

bool
box_set(struct box *b, struct box_name name, enum box_level level)
{
	struct peer *p = find(b, &name);

	if (level == BOX_CLEAR) {
		if (p) {
			map_remove(&b->peers, &p->node);
			free(p);
		}
		return true;
	}
	if (!p) {
		if (b->peers.count >= BOX_PEERS || !(p = calloc(1, sizeof(*p))))
			return false;
		p->name = name;
		if (!map_put(&b->peers, &p->node, key_of(&p->name))) {
			free(p);
			return false;
		}
	}
	p->level = level;
	return true;
}

enum box_level
box_level(const struct box *b, struct box_name name)
{
	const struct peer *p = find(b, &name);

	return p ? p->level : BOX_CLEAR;
}

/* ---- the page ---- */

static struct box_page *
map_page(int fd)
{
	void *p = mmap(NULL, sizeof(struct box_page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

struct box_page *
box_make(int *fd)
{
	struct box_page *page = NULL;

	*fd = memfd_create("box", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (*fd >= 0 && pwrite(*fd, "", 1, sizeof(struct box_page) - 1) == 1 && fcntl(*fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) == 0)
		page = map_page(*fd);
	if (!page && *fd >= 0)
		(void)close(*fd);
	return page;
}

void
box_drop(struct box_page **page)
{
	if (*page)
		(void)munmap(*page, sizeof(**page));
	*page = NULL;
}

bool
box_take(struct box *b, int fd)
{
	struct box_page *page = lseek(fd, 0, SEEK_END) == (off_t)sizeof(*page) ? map_page(fd) : NULL;

	(void)close(fd);
	if (!page)
		return false;
	box_drop(&b->page);
	b->page = page;
	page->now = *b->now;
	b->now = &page->now;
	return true;
}

static void
put_part(struct box_page *p, uint32_t session, struct span bytes)
{
	uint32_t head[2] = { session, (uint32_t)bytes.n };
	char *to;

	if (p->used[p->half] + HEAD + bytes.n > BOX_HALF) {
		p->half ^= 1;
		p->used[p->half] = 0;
	}
	to = p->text[p->half] + p->used[p->half];
	memcpy(to, head, HEAD);
	memcpy(to + HEAD, bytes.p, bytes.n);
	p->used[p->half] += HEAD + (uint32_t)bytes.n;
}

/* Copies what of a half makes sense. */
static void
read_half(const struct box_page *copy, unsigned half, struct buf *input)
{
	uint32_t at = 0, used = copy->used[half] <= BOX_HALF ? copy->used[half] : BOX_HALF, n;

	while (used - at > HEAD) {
		memcpy(&n, copy->text[half] + at + sizeof(n), sizeof(n));
		if (n > used - at - HEAD)
			return;
		buf_put(input, span_of(copy->text[half] + at, HEAD + n));
		at += HEAD + n;
	}
}

struct box_now
box_read(const struct box_page *page, struct buf *input)
{
	struct box_page *copy = malloc(sizeof(*copy));
	struct box_now now = { .about = 0 };

	if (!copy)
		return now;
	memcpy(copy, page, sizeof(*copy));
	read_half(copy, !(copy->half & 1), input);
	read_half(copy, copy->half & 1, input);
	now = copy->now;
	free(copy);
	return now;
}

bool
box_each(struct span input, void (*visit)(void *arg, uint32_t session, struct span bytes), void *arg)
{
	while (input.n) {
		uint32_t head[2];

		if (input.n < HEAD)
			return false;
		memcpy(head, input.p, HEAD);
		if (head[1] > input.n - HEAD)
			return false;
		visit(arg, head[0], span_sub(input, HEAD, head[1]));
		input = span_from(input, HEAD + head[1]);
	}
	return true;
}

/* ---- tapes ---- */

struct box_tape *
box_tape_new(struct box *b, bool sticky)
{
	struct box_tape *t = b->page ? calloc(1, sizeof(*t)) : NULL;

	if (t)
		*t = (struct box_tape){ .box = b, .session = ++b->sessions, .sticky = sticky };
	return t;
}

/* The first word of a line (SMTP, POP3) or its second (IMAP) begins a login. */
static bool
begins_login(const struct box_tape *t)
{
	static const char *const words[] = { "AUTH", "PASS", "APOP", "LOGIN", "AUTHENTICATE" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (span_caseeq(span_of(t->text, t->n), span_str(words[i])))
			return true;
	return false;
}

/* One octet as it is kept. */
static char
keep(struct box_tape *t, char c)
{
	bool space = c == ' ' || c == '\t' || c == '\r' || c == '\n';

	if (t->secret)
		return space ? c : 'x';
	if (space && t->n && t->word < 2 && begins_login(t))
		t->secret = true;
	else if (!space && t->n < sizeof(t->text))
		t->text[t->n++] = c;
	if (space && t->n && t->word < 2)
		t->word++;
	if (space)
		t->n = 0;
	if (c == '\n')
		t->word = 0;
	return c;
}

void
box_tape_note(struct box_tape *t, struct span bytes)
{
	char kept[BOX_HALF / 4];

	while (bytes.n) {
		size_t n = bytes.n < sizeof(kept) ? bytes.n : sizeof(kept);

		for (size_t i = 0; i < n; i++)
			kept[i] = keep(t, bytes.p[i]);
		put_part(t->box->page, t->session, span_of(kept, n));
		bytes = span_from(bytes, n);
	}
	if (t->secret && !t->sticky) {
		t->secret = false;
		t->n = t->word = 0;
	}
}
