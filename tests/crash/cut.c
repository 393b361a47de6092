/* SPDX-License-Identifier: ISC */
#include "crash/cut.h"

#include <stdlib.h>
#include <string.h>

#include "base/owner.h"

enum { SECTOR = 512 };

static bool
in_dir(const char *name, const char *dir)
{
	size_t n = strlen(dir);

	return n == 0 ? !strchr(name, '/') : strncmp(name, dir, n) == 0 && name[n] == '/';
}

static bool
makes_durable(const struct memfs_op *op, const struct memfs_op *later)
{
	switch (op->kind) {
	case MEMFS_WRITE:
	case MEMFS_SIZE:
		return later->kind == MEMFS_SYNC && later->inode == op->inode;
	case MEMFS_RENAME:
		return later->kind == MEMFS_SYNC_DIR && in_dir(op->to, later->name);
	case MEMFS_MKDIR: /* a directory whose contents were synced is there */
		return later->kind == MEMFS_SYNC_DIR && strcmp(op->name, later->name) == 0;
	default:
		return later->kind == MEMFS_SYNC_DIR && in_dir(op->name, later->name);
	}
}

static size_t
units_of(const struct memfs_op *op)
{
	return op->kind == MEMFS_WRITE && op->n ? (size_t)((op->at + op->n - 1) / SECTOR - op->at / SECTOR + 1) : 1;
}

/* reached: NULL: all of it. */
static void
apply_write(struct memfs_inode *i, const struct memfs_op *op, const unsigned char *reached)
{
	uint64_t at = op->at, end = op->at + op->n;

	if (!reached)
		memfs_put(i, op->bytes, op->n, op->at);
	while (reached && at < end) {
		uint64_t next = (at / SECTOR + 1) * SECTOR;

		if (next > end)
			next = end;
		if (*reached++)
			memfs_put(i, op->bytes + (at - op->at), next - at, at);
		at = next;
	}
}

static void
apply(struct memfs *out, const struct memfs_op *op, const unsigned char *reached)
{
	struct memfs_inode *i = memfs_inode(out, op->inode, op->kind != MEMFS_SYNC_DIR); /* contents are there with or without a name */
	struct memfs_name *n;

	if (op->kind == MEMFS_WRITE) {
		apply_write(i, op, reached);
		return;
	}
	if (reached && !*reached)
		return;
	switch (op->kind) {
	case MEMFS_CREATE:
	case MEMFS_MKDIR:
		i->dir = op->kind == MEMFS_MKDIR;
		memfs_link(out, op->name, i);
		break;
	case MEMFS_LINK: /* of a name that stays; the contents are another's */
		memfs_link(out, op->name, i);
		break;
	case MEMFS_SIZE:
		memfs_resize(i, op->n);
		break;
	case MEMFS_RENAME: /* also when the creation was lost */
		n = memfs_find(out, op->name);
		if (n && n->inode->number == op->inode)
			memfs_unlink(out, op->name);
		memfs_link(out, op->to, i);
		break;
	case MEMFS_UNLINK:
		n = memfs_find(out, op->name);
		if (n && n->inode->number == op->inode)
			memfs_unlink(out, op->name);
		break;
	default:
		break;
	}
}

void
cut_init(struct cut *c, const struct memfs *fs, const struct memfs *base)
{
	*c = (struct cut){ .fs = fs, .sure = base ? memfs_clone(base) : memfs_new() };
	c->open = malloc((fs->nops + 1) * sizeof(*c->open));
}

void
cut_free(struct cut *c)
{
	memfs_free(&c->sure);
	free(c->open);
}

/* An operation that is durable belongs to another file or directory than any that is not and was
 * before it: their order does not matter. */
bool
cut_forward(struct cut *c)
{
	const struct memfs_op *op;
	size_t kept = 0;

	if (c->n == c->fs->nops)
		return false;
	op = &c->fs->ops[c->n];
	if (op->kind != MEMFS_SYNC && op->kind != MEMFS_SYNC_DIR) {
		c->open[c->nopen++] = c->n++;
		c->units += units_of(op);
		return true;
	}
	for (size_t i = 0; i < c->nopen; i++) {
		const struct memfs_op *earlier = &c->fs->ops[c->open[i]];

		if (makes_durable(earlier, op)) {
			apply(c->sure, earlier, NULL);
			c->units -= units_of(earlier);
		} else {
			c->open[kept++] = c->open[i];
		}
	}
	c->nopen = kept;
	c->n++;
	return true;
}

struct memfs *
cut_make(const struct cut *c, const unsigned char *reached)
{
	struct memfs *out = memfs_clone(c->sure);

	for (size_t i = 0; i < c->nopen; i++) {
		const struct memfs_op *op = &c->fs->ops[c->open[i]];

		apply(out, op, reached);
		reached += units_of(op);
	}
	return out;
}

static uint64_t
draw(uint64_t *seed) /* xorshift64* */
{
	*seed ^= *seed >> 12;
	*seed ^= *seed << 25;
	*seed ^= *seed >> 27;
	return (*seed * 0x2545f4914f6cdd1du) >> 33;
}

void
cut_choose(const struct cut *c, unsigned char *reached, uint64_t i, uint64_t count, uint64_t seed)
{
	uint64_t state = (seed + 1) * 0x9e3779b97f4a7c15u + i, dense;
	size_t k = c->units, which = k ? (size_t)(i / 4 % k) : 0;

	(void)draw(&state);
	dense = draw(&state) % 15 + 1;
	for (size_t u = 0; u < k; u++)
		if (k < 30 && 1u << k <= count)
			reached[u] = i >> u & 1;
		else if (i < 2)
			reached[u] = i == 0;
		else if (i % 4 == 0)
			reached[u] = u != which;
		else if (i % 4 == 1)
			reached[u] = u < which;
		else
			reached[u] = draw(&state) % 16 < dense;
}

struct memfs *
memfs_crash(const struct memfs *fs, size_t n, enum memfs_loss loss, uint64_t seed)
{
	unsigned char *reached;
	struct memfs *out;
	struct cut c;

	cut_init(&c, fs, NULL);
	while (c.n < n && cut_forward(&c))
		;
	reached = malloc(c.units + 1);
	memset(reached, loss != MEMFS_DROP_ALL, c.units + 1);
	seed = (seed + 1) * 0x9e3779b97f4a7c15u;
	if (loss == MEMFS_DROP_ONE && c.units)
		reached[draw(&seed) % c.units] = 0;
	else if (loss == MEMFS_RANDOM)
		for (size_t u = 0; u < c.units; u++)
			reached[u] = draw(&seed) & 1;
	out = cut_make(&c, reached);
	free(reached);
	cut_free(&c);
	return out;
}
