/* SPDX-License-Identifier: ISC */
#include "daemons/mailboxd/guest.h"

#include <stdlib.h>
#include <string.h>

#include "store/name.h"

static const struct span nowhere = SPAN_INIT("&"); /* what no folder is called */

bool
guest_prefix(struct buf *out, struct span owner, struct span guest)
{
	struct buf disk;
	bool ok;

	buf_init(&disk, (size_t)ACL_IDENTIFIER * 4);
	ok = name_from_utf8(acl_short(owner, guest), &disk) && span_chr(buf_span(&disk), '/') == SIZE_MAX;
	buf_put(out, SPAN(OTHERS "/"));
	buf_put(out, buf_span(&disk));
	buf_putc(out, '/');
	buf_free(&disk);
	return ok && buf_ok(out);
}

struct session *
imap_new_guest(struct user *user, struct span name)
{
	struct guest *g = calloc(1, sizeof *g);
	struct session *base;
	struct imap *s;

	if (!g)
		return NULL;
	buf_init(&g->prefix, (size_t)ACL_IDENTIFIER * 4 + sizeof OTHERS + 2);
	base = span_cstr(name, g->name, sizeof g->name) && guest_prefix(&g->prefix, user->name, name) ? imap_new(user, SPAN(""), false) : NULL;
	if (!base) {
		guest_free(&g);
		return NULL;
	}
	s = OWNER_OF(base, struct imap, base);
	s->guest = g;
	s->rights = 0;
	base->idle_ms = GUEST_IDLE_MS;
	return base;
}

void
guest_free(struct guest **at)
{
	if (!*at)
		return;
	buf_free(&(*at)->prefix);
	free(*at);
	*at = NULL;
}

unsigned
guest_count(const struct user *user, struct span guest, unsigned *same)
{
	unsigned all = 0;

	*same = 0;
	LIST_EACH(&user->sessions, node) {
		const struct session *base = OWNER_OF(node, struct session, node);
		const struct imap *s = OWNER_OF(base, struct imap, base);

		if (strcmp(base->ops->service, "imap") != 0 || !s->guest)
			continue;
		all++;
		*same += span_eq(span_str(s->guest->name), guest);
	}
	return all;
}

void
guest_evict(const struct imap *from, struct span folder)
{
	LIST_EACH(&from->user->sessions, node) {
		struct session *base = OWNER_OF(node, struct session, node);
		struct imap *s = OWNER_OF(base, struct imap, base);
		struct span name;

		if (base->ops != from->base.ops || s == from || !s->guest || s->state != STATE_SELECTED || (s->cmd.def && !s->idling))
			continue;
		name = mailbox_name(s->view.mailbox);
		if (!span_starts(name, folder) || (name.n > folder.n && name.p[folder.n] != '.'))
			continue;
		imap_bye(s, "The mailbox is no longer there.");
		imap_unselect(s);
		session_wake(base);
	}
}

/* ---- names ---- */

/* The rest behind "Other Users/bob/", or behind "Other Users/bob@example.test/". */
static bool
strip(const struct imap *s, struct span *name)
{
	struct span prefix = buf_span(&s->guest->prefix);
	struct buf full;
	bool ok = span_starts(*name, prefix);

	if (!ok) {
		buf_init(&full, prefix.n + (size_t)ACL_IDENTIFIER * 4);
		ok = guest_prefix(&full, s->user->name, SPAN("")) && span_starts(*name, buf_span(&full));
		prefix.n = buf_len(&full);
		buf_free(&full);
	}
	*name = span_from(*name, ok ? prefix.n : 0);
	return ok;
}

struct span
guest_inward(struct imap *s, struct span name)
{
	char *disk;

	if (!strip(s, &name) || !name.n || span_chr(name, '.') != SIZE_MAX || !(disk = arena_alloc(&s->arena, name.n)))
		return nowhere;
	for (size_t i = 0; i < name.n; i++)
		disk[i] = name.p[i] == '/' ? '.' : name.p[i];
	return name_fold(span_of(disk, name.n));
}

void
guest_outward(const struct imap *s, struct buf *out, struct span name)
{
	buf_put(out, buf_span(&s->guest->prefix));
	if (!name.n) /* the root of them all */
		buf_cut(out, buf_len(out) - 1);
	for (size_t i = 0; i < name.n; i++)
		buf_putc(out, name.p[i] == '.' ? '/' : name.p[i]);
}

/* ---- rights ---- */

unsigned
imap_rights(const struct imap *s, struct span folder)
{
	if (!s->guest)
		return ACL_ALL;
	return store_exists(s->user->store, folder) ? acl_rights(s->user->store, folder, span_str(s->guest->name)) : 0;
}

bool
imap_permits(struct cmd *c, struct span folder, unsigned needed)
{
	unsigned has = imap_rights(c->s, folder);

	if ((has & needed) == needed)
		return true;
	if (has & ACL_LOOKUP)
		(void)cmd_no(c, "[NOPERM] Permission denied.");
	else /* RFC 4314 6: nobody learns so what there is */
		(void)cmd_no(c, "[NONEXISTENT] Mailbox doesn't exist.");
	return false;
}

bool
guest_allows(struct cmd *c)
{
	struct imap *s = c->s;
	bool leaving = c->def->handler == cmd_close;

	if (!(c->def->flags & CMD_GUEST)) {
		(void)cmd_no(c, "[NOPERM] Not in another user's mailboxes.");
		return false;
	}
	s->rights = s->state == STATE_SELECTED ? imap_rights(s, mailbox_name(s->view.mailbox)) : 0;
	if ((c->def->states & STATE_AUTH) || leaving || (s->rights & ACL_READ))
		return true;
	(void)cmd_no(c, "[NOPERM] This mailbox may no longer be read.");
	return false;
}
