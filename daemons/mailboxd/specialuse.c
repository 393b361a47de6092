/* SPDX-License-Identifier: ISC */
#include "daemons/mailboxd/specialuse.h"

static const struct {
	struct span name, use;
} usual[SPECIALUSES] = {
	{ SPAN_INIT("Drafts"), SPAN_INIT("\\Drafts") },
	{ SPAN_INIT("Sent"), SPAN_INIT("\\Sent") },
	{ SPAN_INIT("Junk"), SPAN_INIT("\\Junk") },
	{ SPAN_INIT("Trash"), SPAN_INIT("\\Trash") },
	{ SPAN_INIT("Archive"), SPAN_INIT("\\Archive") },
	{ SPAN_INIT(""), SPAN_INIT("\\Important") }, /* never by its name */
};

static unsigned
bit_of(struct span use)
{
	for (unsigned i = 0; i < SPECIALUSES; i++)
		if (span_caseeq(usual[i].use, use))
			return 1u << i;
	return 0;
}

bool
specialuse_known(struct span use)
{
	return bit_of(use) != 0;
}

bool
specialuse_valid(struct span uses)
{
	while (uses.n)
		if (!specialuse_known(span_cut(&uses, ' ')))
			return false;
	return true;
}

static void
each(void *arg, struct span folder, struct span entry, struct span value)
{
	struct specialuse *u = arg;

	if (!span_eq(entry, SPAN(METADATA_SPECIALUSE)) || u->n == sizeof u->said / sizeof *u->said)
		return;
	u->said[u->n].folder = arena_dup(u->arena, folder);
	u->said[u->n++].uses = arena_dup(u->arena, value);
	while (value.n)
		u->taken |= bit_of(span_cut(&value, ' '));
}

void
specialuse_load(struct specialuse *u, struct store *store, struct arena *arena)
{
	u->arena = arena;
	u->n = 0;
	u->taken = 0;
	(void)metadata_each(store, SPAN_NONE, true, each, u, NULL);
}

struct span
specialuse_of(const struct specialuse *u, struct span folder)
{
	for (size_t i = 0; i < u->n; i++)
		if (span_eq(u->said[i].folder, folder))
			return u->said[i].uses;
	for (unsigned i = 0; i < SPECIALUSES; i++)
		if (usual[i].name.n && span_eq(usual[i].name, folder) && !(u->taken & 1u << i))
			return usual[i].use;
	return SPAN_NONE;
}
