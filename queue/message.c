/* SPDX-License-Identifier: ISC */
#include "queue/message.h"

#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"

static bool
load_done(struct message *m, uint32_t index, struct span list)
{
	struct cursor c = cursor_of(list);

	while (c.ok && !cursor_end(&c)) {
		uint16_t n = cursor_le16(&c);
		struct span address = cursor_bytes(&c, n);

		if (!c.ok || !message_add_done(m, index, address))
			return false;
	}
	return true;
}

bool
roll_add(struct roll *r, const struct record_recipient *one)
{
	struct recipient to = { .notify = one->notify & 0xfu };

	if (r->n == r->max) {
		uint32_t max = r->max ? r->max * 2 : 128;
		struct recipient *at = realloc(r->at, max * sizeof(*at));

		if (!at)
			return false;
		r->at = at;
		r->max = max;
	}
	if (!text_keep(&to.address, one->address) || !text_keep(&to.orcpt, one->orcpt)) {
		free(to.address);
		return false;
	}
	r->at[r->n++] = to;
	return true;
}

bool
roll_load(struct roll *r, struct span list)
{
	struct record_recipient one;
	bool ok = true;

	while (record_list_next(&list, &record_desc_recipient, &one, &ok))
		if (!roll_add(r, &one))
			return false;
	return ok;
}

static void
free_recipients(struct recipient *at, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		free(at[i].address);
		free(at[i].orcpt);
	}
}

void
roll_free(struct roll *r)
{
	free_recipients(r->at, r->n);
	free(r->at);
	*r = (struct roll){ .at = NULL };
}

bool
roll_free_some(struct roll *r, uint32_t most)
{
	uint32_t n = r->n < most ? r->n : most;

	r->n -= n;
	free_recipients(r->at + r->n, n);
	if (r->n == 0)
		roll_free(r);
	return r->n > 0;
}

static bool
load_recipients(struct message *m, struct span list)
{
	struct record_recipient r;
	uint32_t i = 0;
	bool ok = true;

	while (i < m->nrcpts && record_list_next(&list, &record_desc_recipient, &r, &ok)) {
		struct recipient *to = &m->rcpts[i];

		bool kept = text_keep(&to->address, r.address) && text_keep(&to->orcpt, r.orcpt);

		to->notify = r.notify & 0xfu;
		to->settled = r.settled;
		to->expanded = r.expanded;
		if (!kept || !load_done(m, i, r.done) || (r.owner.n && !message_set_owner(m, i, r.owner)) || (r.via.n && !message_set_via(m, i, r.via)))
			return false;
		m->unsettled += !r.settled;
		i++;
	}
	return ok && i == m->nrcpts && list.n == 0;
}

static bool
take_recipients(struct message *m, const struct record_envelope *e, struct roll *roll)
{
	if (roll && roll->n > 1 && roll->n == e->recipients) {
		m->rcpts = roll->at;
		m->nrcpts = m->unsettled = roll->n;
		*roll = (struct roll){ .at = NULL };
		return true;
	}
	m->rcpts = e->recipients == 1 ? &m->one : calloc(e->recipients, sizeof(*m->rcpts));
	m->nrcpts = m->rcpts ? e->recipients : 0;
	return m->rcpts && load_recipients(m, e->list);
}

struct message *
message_new(const struct record_envelope *e)
{
	return message_new_of(e, NULL);
}

struct message *
message_new_of(const struct record_envelope *e, struct roll *roll)
{
	struct message *m = e->recipients ? calloc(1, sizeof(*m)) : NULL;
	bool kept;

	if (!m)
		return NULL;
	m->by_id.id = e->id;
	/* What does not fit into memory must not pass for empty: for the null sender, say. */
	kept = text_keep(&m->sender, e->sender) && (e->envid.n == 0 || (message_extra(m) && text_keep(&m->extra->envid, e->envid)));
	if (e->release_ms > 0 || e->by_mode) {
		kept = kept && message_extra(m);
		if (kept) {
			m->extra->release_ms = e->release_ms;
			m->extra->by_ms = e->by_ms;
			m->extra->by_mode = e->by_mode;
		}
	}
	m->size = e->size;
	m->ret = e->ret;
	m->priority = e->priority;
	m->flags = (uint16_t)((e->body8 ? MESSAGE_BODY8 : 0) | (e->smtputf8 ? MESSAGE_UTF8 : 0) | (e->blob ? MESSAGE_BLOB : 0) |
	                      (e->report ? MESSAGE_REPORT : 0) | (e->held ? MESSAGE_HELD : 0) | (e->binary ? MESSAGE_BINARY : 0) |
	                      (e->requiretls ? MESSAGE_REQUIRETLS : 0) | (e->tls_optional ? MESSAGE_TLS_OPTIONAL : 0));
	m->first.m = m;
	if (!take_recipients(m, e, roll) || !kept)
		message_free(&m, NULL);
	return m;
}

void
content_free(struct content *c)
{
	if (!c)
		return;
	list_remove(&c->node);
	buf_free(&c->bytes);
	free(c);
}

void
unit_free(struct unit *u)
{
	free(u->address);
	free(u->home);
	free(u->sender);
	if (u->logins)
		explicit_bzero(u->logins->bytes, u->logins->n);
	free(u->logins);
	free(u);
}

static void
free_entry(struct entry *e)
{
	struct unit *u;

	list_remove(&e->node);
	while ((u = entry_take(e)))
		unit_free(u);
	if (e != &e->m->first)
		free(e); /* NOLINT(clang-analyzer-unix.Malloc): it is none that lies in its message */
}

static void
free_remark(struct map_node *node, void *arg)
{
	struct remark *r = OWNER_OF(node, struct remark, by_recipient);

	(void)arg;
	free(r->text);
	free(r);
}

static void
free_remarks(struct map *of)
{
	map_each(of, free_remark, NULL);
	map_free(of);
}

static void
free_extra(struct extra *x)
{
	struct done *d;

	while ((d = x->done)) {
		x->done = d->next;
		free(d->address);
		free(d);
	}
	map_free(&x->done_by_address);
	free_remarks(&x->owners);
	free_remarks(&x->vias);
	free(x->envid);
	free(x);
}

void
message_free(struct message **at, struct words *words)
{
	struct message *m = *at;

	while (m->first.next) {
		struct entry *e = m->first.next;

		m->first.next = e->next;
		free_entry(e);
	}
	free_entry(&m->first);
	free_recipients(m->rcpts, m->nrcpts);
	if (m->rcpts != &m->one)
		free(m->rcpts);
	message_drop_notes(m);
	content_free(m->content);
	free(m->sender);
	if (m->extra)
		free_extra(m->extra);
	if (words)
		words_put(words, &m->reason);
	list_remove(&m->age);
	free(m);
	*at = NULL;
}

struct roll
message_strip(struct message *m)
{
	struct roll r = { .at = m->rcpts, .n = m->nrcpts, .max = m->nrcpts };

	m->rcpts = &m->one;
	m->nrcpts = 0;
	return r;
}

bool
message_extra(struct message *m)
{
	if (!m->extra)
		m->extra = calloc(1, sizeof(*m->extra));
	return m->extra != NULL;
}

struct entry *
message_entry(struct message *m, struct destination *d)
{
	struct entry *e = &m->first;

	if (e->state != ENTRY_IDLE || e->units) {
		e = calloc(1, sizeof(*e));
		if (!e)
			return NULL;
		e->m = m;
		e->next = m->first.next;
		m->first.next = e;
	}
	e->d = d;
	e->due_ms = 0;
	return e;
}

struct entry *
message_ready_entry(struct message *m, const struct destination *d)
{
	for (struct entry *e = &m->first; e; e = e->next)
		if (e->d == d && e->units && (e->state == ENTRY_IDLE || e->state == ENTRY_READY))
			return e;
	return NULL;
}

struct entry *
message_waiting_entry(struct message *m, const struct destination *d)
{
	for (struct entry *e = &m->first; e; e = e->next)
		if (e->d == d && e->state == ENTRY_WAITING)
			return e;
	return NULL;
}

void
entry_done(struct entry *e)
{
	struct entry **at = &e->m->first.next;

	list_remove(&e->node);
	e->state = ENTRY_IDLE;
	e->d = NULL;
	if (e == &e->m->first)
		return;
	while (*at != e)
		at = &(*at)->next;
	*at = e->next;
	free(e);
}

void
entry_chain(struct entry *e, uint32_t recipient)
{
	e->m->rcpts[recipient].next = 0;
	if (e->tail)
		e->m->rcpts[e->tail - 1].next = recipient + 1;
	else
		e->head = recipient + 1;
	e->tail = recipient + 1;
	e->count++;
}

bool
entry_unchain(struct entry *e, uint32_t *recipient)
{
	if (!e->head)
		return false;
	*recipient = e->head - 1;
	e->head = e->m->rcpts[*recipient].next;
	if (!e->head)
		e->tail = 0;
	e->count--;
	return true;
}

void
entry_add(struct entry *e, struct unit *u)
{
	u->next = NULL;
	if (e->units)
		e->last->next = u;
	else
		e->units = u;
	e->last = u;
	e->count++;
}

struct unit *
entry_take(struct entry *e)
{
	struct unit *u = e->units;

	if (!u)
		return NULL;
	e->units = u->next;
	u->next = NULL;
	e->count--;
	return u;
}

struct unit *
unit_new(uint32_t recipient)
{
	struct unit *u = calloc(1, sizeof(*u));

	if (u)
		u->recipient = recipient;
	return u;
}

static struct done *
done_at(const struct message *m, struct span address)
{
	struct map_node *node = m->extra && m->extra->done ? map_get(&m->extra->done_by_address, address) : NULL;

	return node ? OWNER_OF(node, struct done, by_address) : NULL;
}

bool
message_is_done(const struct message *m, uint32_t recipient, struct span address)
{
	for (const struct done *d = done_at(m, address); d; d = d->same)
		if (d->recipient == recipient)
			return true;
	return false;
}

bool
message_add_done(struct message *m, uint32_t recipient, struct span address)
{
	struct done *first = done_at(m, address), *d;

	if (message_is_done(m, recipient, address))
		return true;
	if (!message_extra(m) || !(d = calloc(1, sizeof(*d))))
		return false;
	if (!m->extra->done)
		map_init(&m->extra->done_by_address);
	d->recipient = recipient;
	d->next = m->extra->done;
	m->extra->done = d;
	if (!text_keep(&d->address, address))
		return false;
	if (!first)
		return map_put(&m->extra->done_by_address, &d->by_address, text_span(d->address));
	d->same = first->same;
	first->same = d;
	return true;
}

static struct remark *
remark_at(const struct map *of, uint32_t recipient)
{
	struct map_node *node = map_get_u64(of, recipient);

	return node ? OWNER_OF(node, struct remark, by_recipient) : NULL;
}

static bool
put_remark(struct map *to, uint32_t recipient, struct span text)
{
	struct remark *r = remark_at(to, recipient);

	if (r)
		return text_keep(&r->text, text);
	if (!(r = calloc(1, sizeof(*r))))
		return false;
	if (text_keep(&r->text, text) && map_put_u64(to, &r->by_recipient, recipient))
		return true;
	free_remark(&r->by_recipient, NULL);
	return false;
}

static struct span
remark_of(const struct map *of, uint32_t recipient)
{
	const struct remark *r = remark_at(of, recipient);

	return r ? text_span(r->text) : SPAN_NONE;
}

struct span
message_owner(const struct message *m, uint32_t recipient)
{
	return m->extra ? remark_of(&m->extra->owners, recipient) : SPAN_NONE;
}

bool
message_set_owner(struct message *m, uint32_t recipient, struct span address)
{
	if (message_owner(m, recipient).n)
		return true;
	return message_extra(m) && put_remark(&m->extra->owners, recipient, address);
}

struct span
message_via(const struct message *m, uint32_t recipient)
{
	return m->extra ? remark_of(&m->extra->vias, recipient) : SPAN_NONE;
}

bool
message_set_via(struct message *m, uint32_t recipient, struct span via)
{
	return message_extra(m) && put_remark(&m->extra->vias, recipient, via);
}

enum { ROOM = 128 };

bool
message_extend(struct message *m, uint32_t n)
{
	uint32_t room = (n + ROOM - 1) / ROOM * ROOM;
	struct recipient *at = m->rcpts;

	if (n <= m->nrcpts)
		return true;
	if (n > MESSAGE_RECIPIENTS || n - m->nrcpts > MESSAGE_AHEAD || !message_extra(m))
		return false;
	if (n > m->extra->room) {
		at = realloc(at == &m->one ? NULL : at, room * sizeof(*at));
		if (!at)
			return false;
		if (m->rcpts == &m->one)
			*at = m->one;
		m->rcpts = at;
		m->extra->room = room;
	}
	while (m->nrcpts < n)
		at[m->nrcpts++] = (struct recipient){ .settled = true, .absent = true };
	return true;
}

enum { SUCCESS = 1, NEVER = 8 };

uint8_t
notify_without_success(uint8_t notify)
{
	if (!(notify & SUCCESS))
		return notify;
	return notify == SUCCESS ? NEVER : (uint8_t)(notify & ~SUCCESS);
}

uint8_t
unit_notify(const struct message *m, const struct unit *u)
{
	const struct recipient *r = &m->rcpts[u->recipient];

	if (u->sender)
		return 0;
	return r->expanded ? notify_without_success(r->notify) : r->notify;
}

struct note *
message_add_note(struct message *m)
{
	struct note *n = message_extra(m) ? calloc(1, sizeof(*n)) : NULL;

	if (!n)
		return NULL;
	*(m->extra->notes ? &m->extra->last->next : &m->extra->notes) = n;
	m->extra->last = n;
	return n;
}

void
message_drop_notes(struct message *m)
{
	while (message_notes(m)) {
		struct note *n = m->extra->notes;

		m->extra->notes = n->next;
		free(n->code);
		free(n->peer);
		free(n->reply);
		free(n->to);
		free(n);
	}
}
