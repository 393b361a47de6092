/* SPDX-License-Identifier: ISC */
#include "daemons/deliverd/deliverd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemons/deliverd/forward.h"
#include "mail/status.h"

/* A locald; freed when it is gone and the last of its puts is told. */
struct peer {
	struct deliverd *owner;
	struct channel *channel; /* NULL: gone */
	struct map puts;         /* by id */
	size_t nputs;
};

struct put {
	struct map_node node; /* peer.puts */
	struct peer *peer;
	struct home *home;    /* used; NULL before the content */
	struct room room;     /* its account is used, too */
	struct delivery delivery;
	uint64_t id;
	uint8_t conversation; /* enum ipc_state */
	bool again;           /* the Maildir was made anew once already */
	char *bytes;          /* owned: header, then inline content */
	size_t nheader;
	char home_path[B_PATH + 1], folder_name[B_PATH + 1];
	char *address;        /* owned; NULL: the owner's forward file does not count */
	struct forwardlist forwards;
};

/* ---- the end of one ---- */

static void
peer_free_if_done(struct peer *p)
{
	if (p->channel || p->nputs)
		return;
	map_free(&p->puts);
	free(p);
}

static void
let_go(struct put *p)
{
	struct homes *homes = &p->peer->owner->homes;

	if (p->home)
		homes_unuse(homes, p->home);
	if (p->room.account)
		homes_unuse(homes, p->room.account);
	p->home = p->room.account = NULL;
}

static void
put_free(struct put *p)
{
	struct peer *peer = p->peer;

	if (p->delivery.body_fd >= 0)
		(void)close(p->delivery.body_fd);
	let_go(p);
	map_remove(&peer->puts, &p->node);
	forwardlist_free(&p->forwards);
	free(p->address);
	free(p->bytes);
	free(p);
	peer->nputs--;
	peer_free_if_done(peer);
}

static unsigned
status_for(const struct deliverd *d, const struct fail *why)
{
	if (why->status == STATUS_MAILBOX_FULL && !d->service->conf->mailbox_full_reject)
		return STATUS_MAILBOX_FULL_NOW;
	if (why->status)
		return why->status;
	if (why->err == ENOSPC)
		return STATUS_DISK_FULL;
	if (why->err == EDQUOT)
		return STATUS_MAILBOX_FULL_NOW;
	return why->class == FAIL_PERM ? STATUS_MAILBOX_PERM : STATUS_MAILBOX_TEMP;
}

static void
tell(struct put *p, const struct fail *why)
{
	struct ipc_mailbox_result r = { .id = p->id, .ok = why == NULL };
	struct deliverd *d = p->peer->owner;

	if (why) {
		r.status = (uint16_t)status_for(d, why);
		r.text = fail_text(why);
		d->failed++;
		log_put(LOG_mailbox, "home=%s not delivered: %s", p->home_path, why->text);
	} else {
		r.kept = p->forwards.kept;
		r.text = r.kept ? span_str(p->delivery.base) : SPAN_NONE;
		r.forwards = buf_span(&p->forwards.to);
		d->delivered++;
	}
	if (p->peer->channel && channel_step(p->peer->channel, IPC_mailbox_result, &p->conversation))
		(void)ipc_send_mailbox_result(p->peer->channel, &r);
	put_free(p);
	if (d->service->stopping && (!d->deliverer || deliverer_busy(d->deliverer) == 0))
		service_exit(d->service);
}

/* ---- the writing of one ---- */

static void on_delivered(struct delivery *d);

static void
write_it(struct put *p)
{
	struct deliverd *d = p->peer->owner;
	struct delivery kept = p->delivery;

	delivery_init(&p->delivery, p->home->vfs, on_delivered);
	p->delivery.head = kept.head;
	p->delivery.body = kept.body;
	p->delivery.body_fd = kept.body_fd;
	p->delivery.body_at = kept.body_at;
	p->delivery.body_n = kept.body_n;
	deliverer_put(d->deliverer, &p->delivery);
}

static void
on_room(struct room *r, const struct fail *why)
{
	struct put *p = OWNER_OF(r, struct put, room);

	if (why)
		tell(p, why);
	else
		write_it(p);
}

/* The quota is the user's, whatever the folder. */
static bool
open_both(struct put *p, struct fail *why)
{
	struct deliverd *d = p->peer->owner;
	struct home *account;

	if (!d->deliverer)
		return fail_set(why, FAIL_TEMP, STATUS_SYSTEM_LOCAL_TEMP, "deliverd is not ready");
	p->home = homes_use(&d->homes, span_str(p->home_path), span_str(p->folder_name), why);
	if (p->home && !p->folder_name[0])
		account = homes_again(p->home);
	else
		account = p->home ? homes_use(&d->homes, span_str(p->home_path), SPAN_NONE, why) : NULL;
	if (!account)
		return false;
	p->room.account = account;
	if (!quota_limited(&p->room.limit) && !account->unlimited)
		quota_forget(account->vfs);
	account->unlimited = !quota_limited(&p->room.limit);
	return true;
}

static void
start(struct put *p)
{
	struct deliverd *d = p->peer->owner;
	struct fail why = { .text = "" };

	p->room.size = p->delivery.head.n + (p->delivery.body_fd >= 0 ? p->delivery.body_n : p->delivery.body.n);
	p->room.on_answer = on_room;
	p->room.counted = false;
	if (!open_both(p, &why))
		tell(p, &why);
	else if (quota_limited(&p->room.limit))
		room_ask(&p->room, d->pool);
	else
		write_it(p);
}

/* What the owner wants comes first: mail that is not kept needs neither room nor a Maildir. */
static void
begin(struct put *p)
{
	struct deliverd *d = p->peer->owner;
	struct fail why = { .text = "" };

	if (p->address && !forward_read(&d->homes, d->service->conf, span_str(p->home_path), span_str(p->address), &p->forwards, &why))
		tell(p, &why);
	else if (p->forwards.kept)
		start(p);
	else
		tell(p, NULL);
}

static void
on_delivered(struct delivery *delivery)
{
	struct put *p = OWNER_OF(delivery, struct put, delivery);
	struct deliverd *d = p->peer->owner;

	room_done(&p->room, delivery->ok ? delivery->size + delivery->temp.bare : 0);
	if (delivery->ok) {
		tell(p, NULL);
		return;
	}
	/* The mailbox may have been removed and made anew beside us. */
	homes_drop(&d->homes, p->home);
	if (delivery->why.err == ENOENT && !p->again) {
		p->again = true;
		if (p->room.account != p->home)
			homes_drop(&d->homes, p->room.account);
		let_go(p);
		start(p);
		return;
	}
	tell(p, &delivery->why);
}

/* ---- the channel ---- */

static struct put *
put_of(struct channel *c, uint64_t id, unsigned type)
{
	struct peer *peer = channel_owner(c);
	struct map_node *node = map_get_u64(&peer->puts, id);
	struct put *p = node ? OWNER_OF(node, struct put, node) : NULL;

	return p && channel_step(c, type, &p->conversation) ? p : NULL;
}

static bool
on_mailbox_put(struct channel *c, const struct ipc_mailbox_put *m)
{
	struct peer *peer = channel_owner(c);
	struct put *p;

	if (map_get_u64(&peer->puts, m->id) || peer->nputs >= DELIVERD_PUTS || !(p = calloc(1, sizeof(*p))))
		return false;
	p->peer = peer;
	p->id = m->id;
	p->room.limit = (struct quota){ m->quota, m->messages };
	p->conversation = CONV_NONE;
	p->delivery.body_fd = -1;
	p->nheader = m->header.n;
	forwardlist_init(&p->forwards);
	p->bytes = malloc(m->header.n + 1);
	p->address = m->address.n ? malloc(m->address.n + 1) : NULL;
	if (!p->bytes || (m->address.n && (!p->address || !span_cstr(m->address, p->address, m->address.n + 1))) ||
	    !span_cstr(m->home, p->home_path, sizeof(p->home_path)) ||
	    !span_cstr(m->folder, p->folder_name, sizeof(p->folder_name)) || !map_put_u64(&peer->puts, &p->node, m->id)) {
		free(p->address);
		free(p->bytes);
		free(p);
		return false;
	}
	peer->nputs++;
	if (m->header.n)
		memcpy(p->bytes, m->header.p, m->header.n);
	return channel_step(c, IPC_mailbox_put, &p->conversation);
}

static bool
on_mailbox_content(struct channel *c, const struct ipc_mailbox_content *m)
{
	struct put *p = put_of(c, m->id, IPC_mailbox_content);
	char *all;

	if (!p || !(all = realloc(p->bytes, p->nheader + m->bytes.n + 1)))
		return false;
	p->bytes = all;
	if (m->bytes.n)
		memcpy(all + p->nheader, m->bytes.p, m->bytes.n);
	p->delivery.head = span_of(all, p->nheader);
	p->delivery.body = span_of(all + p->nheader, m->bytes.n);
	begin(p);
	return true;
}

static bool
on_mailbox_content_fd(struct channel *c, const struct ipc_mailbox_content_fd *m, int fd)
{
	struct put *p = put_of(c, m->id, IPC_mailbox_content_fd);

	if (!p || m->offset > INT64_MAX / 2 || m->size > INT64_MAX / 2) {
		(void)close(fd);
		return false;
	}
	p->delivery.head = span_of(p->bytes, p->nheader);
	p->delivery.body_fd = fd;
	p->delivery.body_at = m->offset;
	p->delivery.body_n = m->size;
	begin(p);
	return true;
}

#define DISPATCH_DEF "ipc/mailbox.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"

/* A put whose content has not come never will. */
static void
drop_waiting(struct map_node *node, void *arg)
{
	struct put *p = OWNER_OF(node, struct put, node);

	(void)arg;
	if (p->conversation == CONV_OPEN)
		put_free(p);
}

static void
on_mailbox_closed(struct channel *c, const struct fail *why)
{
	struct peer *peer = channel_owner(c);
	struct deliverd *d = peer->owner;

	if (why->class == FAIL_PEER)
		log_put(LOG_channel, "locald: %s", why->text);
	peer->nputs++; /* holds it while its puts go */
	map_each(&peer->puts, drop_waiting, NULL);
	peer->nputs--;
	peer->channel = NULL;
	channel_free(&c);
	if (--d->peers == 0)
		(void)ipc_send_ctl_idle(d->service->ruler, &(struct ipc_ctl_idle){ .given = d->given });
	peer_free_if_done(peer);
}

static const struct channel_ops mailbox_ops = { dispatch_mailbox, on_mailbox_closed, NULL };

static void
on_mailbox_open(struct service *s, struct channel *c, struct span name, unsigned instance)
{
	struct peer *peer = calloc(1, sizeof(*peer));

	(void)name, (void)instance;
	if (!peer) {
		log_put(LOG_failure, "no memory for a channel");
		channel_give_up(&c);
		return;
	}
	peer->owner = s->state;
	peer->owner->given++;
	peer->owner->peers++;
	peer->channel = c;
	map_init(&peer->puts);
	channel_set_owner(c, peer);
}

/* ---- life ---- */

static bool
on_boot(struct service *s, struct fail *why)
{
	struct deliverd *d = calloc(1, sizeof(*d));

	if (!d)
		return fail_set(why, FAIL_TEMP, 0, "no memory");
	d->service = s;
	s->state = d;
	homes_init(&d->homes);
	return homes_open(&d->homes, s->conf->virtual_mailbox_base, why);
}

/* The threads come after the walls: a thread that is there already stays outside. */
static bool
on_start(struct service *s, struct fail *why)
{
	struct deliverd *d = s->state;

	if (d->deliverer)
		return true;
	d->pool = worker_pool_new(s->loop, DELIVERD_THREADS);
	d->deliverer = d->pool ? deliverer_new(s->loop, d->pool, s->conf->myhostname) : NULL;
	return d->deliverer || fail_set(why, FAIL_TEMP, 0, "no memory or threads");
}

static void
on_stop(struct service *s)
{
	struct deliverd *d = s->state;

	if (!d->deliverer || deliverer_busy(d->deliverer) == 0)
		service_exit(s);
}

static void
on_state(struct service *s, struct buf *out)
{
	const struct deliverd *d = s->state;

	buf_printf(out, "busy=%zu delivered=%llu failed=%llu", d->deliverer ? deliverer_busy(d->deliverer) : 0, (unsigned long long)d->delivered,
	    (unsigned long long)d->failed);
}

static const struct service_channel channels[] = {
	{ &ipc_channel_mailbox, CHANNEL_SERVER, &mailbox_ops, on_mailbox_open },
};

const struct service_ops deliverd_ops = {
	.name = "deliverd",
	.see = CONF_DELIVERD,
	.channels = channels,
	.nchannels = sizeof(channels) / sizeof(*channels),
	.on_boot = on_boot,
	.on_start = on_start,
	.on_stop = on_stop,
	.on_state = on_state,
};
