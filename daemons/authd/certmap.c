/* SPDX-License-Identifier: ISC */
#include "daemons/authd/certmap.h"

#include "net/fingerprint.h"

bool
certmap_open(struct certmap *map, const struct conf_list *specs, void (*on_event)(void *arg, const char *text))
{
	struct table_options options = { .syntax = TABLE_MAP, .on_event = on_event };
	struct fail why;

	*map = (struct certmap){ .n = 0 };
	for (size_t i = 0; i < specs->n && map->n < CERTMAP_TABLES; i++) {
		struct table **to = &map->tables[map->n];

		if (!table_open(specs->items[i], &options, to, &why)) {
			on_event(NULL, why.text);
			*to = table_open_broken(specs->items[i], &why);
		}
		if (!*to)
			return false;
		map->n++;
	}
	return true;
}

void
certmap_close(struct certmap *map)
{
	while (map->n)
		table_close(&map->tables[--map->n]);
}

size_t
certmap_paths(const struct certmap *map, const char **paths, size_t max, struct arena *arena)
{
	size_t n = 0;

	for (size_t i = 0; i < map->n && n < max; i++) {
		struct span path = span_str(table_path(map->tables[i]));
		size_t slash = span_rchr(path, '/');

		if (!path.n)
			continue;
		paths[n] = arena_printf(arena, "%.*s", SPAN_ARG(slash == SIZE_MAX || slash == 0 ? SPAN("/") : span_sub(path, 0, slash))).p;
		n += paths[n] != NULL;
	}
	return n;
}

static enum table_found
look(struct certmap *map, struct span key, struct arena *arena, struct span *logins, struct fail *why)
{
	enum table_found found = TABLE_NONE;

	for (size_t i = 0; found == TABLE_NONE && i < map->n; i++)
		found = table_lookup(map->tables[i], key, arena, logins, why);
	return found;
}

/* By what the authority has vouched for. */
static enum table_found
look_by_name(struct certmap *map, const struct ipc_auth_certificate *m, struct arena *arena, struct span *logins, struct fail *why)
{
	enum table_found found = TABLE_NONE;
	struct span rest = m->emails, email;

	while (found == TABLE_NONE && (email = span_word(&rest)).n)
		found = look(map, arena_printf(arena, "email:%.*s", SPAN_ARG(email)), arena, logins, why);
	if (found == TABLE_NONE && m->subject.n)
		found = look(map, arena_printf(arena, "cn:%.*s", SPAN_ARG(m->subject)), arena, logins, why);
	return found;
}

enum table_found
certmap_find(struct certmap *map, const struct ipc_auth_certificate *m, int64_t now_ms, struct arena *arena, struct span *logins, struct fail *why)
{
	enum table_found found = TABLE_NONE;
	struct span prints[] = { m->fingerprint, m->key };
	char text[FINGERPRINT_TEXT];

	for (size_t i = 0; i < map->n; i++)
		table_refresh(map->tables[i], now_ms);
	for (size_t i = 0; found == TABLE_NONE && i < sizeof(prints) / sizeof(*prints); i++)
		if (prints[i].n == B_KEY)
			found = look(map, fingerprint_text((const uint8_t *)prints[i].p, text), arena, logins, why);
	return found == TABLE_NONE && m->trusted ? look_by_name(map, m, arena, logins, why) : found;
}
