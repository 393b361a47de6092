/* SPDX-License-Identifier: ISC */
#include "daemons/dnsd/hosts.h"

#include <arpa/inet.h>

struct host {
	struct map_node node;
	struct hosts_address *addresses;
	size_t count;
};

struct reverse {
	struct map_node node;
	struct span name;
};

static struct span
lower(struct arena *arena, struct span name)
{
	char *copy = arena_alloc(arena, name.n + 1);

	if (!copy)
		return SPAN_NONE;
	for (size_t i = 0; i < name.n; i++)
		copy[i] = ascii_lower(name.p[i]);
	return span_of(copy, name.n);
}

static bool
name_valid(struct span name)
{
	for (size_t i = 0; i < name.n; i++)
		if (!ascii_alnum(name.p[i]) && name.p[i] != '-' && name.p[i] != '_' && name.p[i] != '.')
			return false;
	return name.n > 0 && name.n < 254;
}

static struct host *
host_named(struct hosts *h, struct span name)
{
	struct map_node *node;
	struct host *host;

	name = lower(&h->arena, name);
	if (!name.p)
		return NULL;
	node = map_get(&h->by_name, name);
	if (node)
		return OWNER_OF(node, struct host, node);
	host = ARENA_NEW(&h->arena, struct host);
	return host && map_put(&h->by_name, &host->node, name) ? host : NULL;
}

static void
add(struct hosts *h, struct span bytes, struct span name)
{
	struct host *host = name_valid(name) ? host_named(h, name) : NULL;
	struct hosts_address *a = host ? ARENA_NEW(&h->arena, struct hosts_address) : NULL;
	struct hosts_address **at;

	if (!a || host->count == HOSTS_ADDRESSES)
		return;
	for (at = &host->addresses; *at; at = &(*at)->next)
		if (span_eq((*at)->bytes, bytes))
			return;
	a->bytes = bytes;
	*at = a;
	host->count++;
	if (!map_get(&h->by_address, bytes)) {
		struct reverse *r = ARENA_NEW(&h->arena, struct reverse);

		if (r && map_put(&h->by_address, &r->node, bytes))
			r->name = host->node.key;
	}
}

static void
add_line(struct hosts *h, struct span line)
{
	unsigned char raw[16];
	char cstr[64];
	struct span word, bytes;

	line = span_sub(line, 0, span_chr(line, '#'));
	word = span_word(&line);
	if (!span_cstr(word, cstr, sizeof(cstr)))
		return;
	if (inet_pton(AF_INET, cstr, raw) == 1)
		bytes = span_of(raw, 4);
	else if (inet_pton(AF_INET6, cstr, raw) == 1)
		bytes = span_of(raw, 16);
	else
		return;
	bytes = arena_dup(&h->arena, bytes);
	while (bytes.p && (word = span_trim(span_word(&line))).n)
		add(h, bytes, word);
}

void
hosts_init(struct hosts *h, struct span text)
{
	*h = (struct hosts){ 0 };
	arena_init(&h->arena, (size_t)HOSTS_FILE_MAX * 16);
	map_init(&h->by_name);
	map_init(&h->by_address);
	while (text.n)
		add_line(h, span_cut(&text, '\n'));
	if (!map_get(&h->by_name, SPAN("localhost"))) {
		add_line(h, SPAN("127.0.0.1 localhost"));
		add_line(h, SPAN("::1 localhost"));
	}
}

void
hosts_free(struct hosts *h)
{
	map_free(&h->by_name);
	map_free(&h->by_address);
	arena_free(&h->arena);
}

const struct hosts_address *
hosts_addresses(const struct hosts *h, struct span name)
{
	char text[256];
	struct map_node *node;

	if (name.n >= sizeof(text))
		return NULL;
	for (size_t i = 0; i < name.n; i++)
		text[i] = ascii_lower(name.p[i]);
	node = map_get(&h->by_name, span_of(text, name.n));
	return node ? OWNER_OF(node, struct host, node)->addresses : NULL;
}

struct span
hosts_name(const struct hosts *h, struct span bytes)
{
	struct map_node *node = map_get(&h->by_address, bytes);

	return node ? OWNER_OF(node, struct reverse, node)->name : SPAN_NONE;
}
