/* SPDX-License-Identifier: ISC
 *
 * peers: the channels to routed, authd, queued, dnsd and keyd. An answer for a
 * session that has gone is no fault of theirs and is dropped.
 */
#include <stdlib.h>
#include <string.h>

#include "base/queueid.h"
#include "smtpd.h"

/* Whose question an answer is to. False: nothing was ever asked under this id; *c is NULL if it has gone meanwhile. */
static bool
asked(struct channel *ch, uint64_t id, struct client **c)
{
	struct smtpd *d = channel_owner(ch);

	*c = client_of_id(d, id);
	return client_id_given(d, id);
}

/* What a sibling's end means for every session. */
struct loss {
	enum session_peer_daemon who;
};

static void
tell_loss(struct client *c, void *arg)
{
	const struct loss *loss = arg;

	if (loss->who == PEER_QUEUED && c->hands_over) {
		map_remove(&c->door->smtpd->messages, &c->message);
		c->hands_over = false;
	}
	session_on_peer_lost(&c->session, loss->who);
	client_pump(c);
}

static void
lost(struct channel *c, struct channel **at, enum session_peer_daemon who, const struct fail *why)
{
	struct smtpd *d = channel_owner(c);
	struct loss loss = { who };

	if (!d->service->stopping)
		log_put(LOG_channel, "%s: %s", channel_type(c)->server, why->text);
	if (*at == c)
		*at = NULL;
	channel_free(&c);
	clients_each(d, tell_loss, &loss);
}

static void
join(struct service *s, struct channel *c, struct channel **at, enum session_peer_daemon who)
{
	struct smtpd *d = s->state;
	struct loss loss = { who };

	channel_set_owner(c, d);
	if (*at) {
		/* The new end came before the news of the old one's death. */
		channel_free(at);
		clients_each(d, tell_loss, &loss);
	}
	*at = c;
}

/* rcpt: routed */

static bool
on_rcpt_answer(struct channel *ch, const struct ipc_rcpt_answer *m)
{
	struct client *c;

	if (!asked(ch, m->id, &c))
		return false;
	if (!c)
		return true;
	session_on_rcpt(&c->session, m);
	client_pump(c);
	return true;
}

static void
on_rcpt_closed(struct channel *c, const struct fail *why)
{
	lost(c, &((struct smtpd *)channel_owner(c))->routed, PEER_ROUTED, why);
}

static void
on_rcpt_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	(void)peer, (void)instance;
	join(s, c, &((struct smtpd *)s->state)->routed, PEER_ROUTED);
}

/* auth: authd */

static bool
on_auth_challenge(struct channel *ch, const struct ipc_auth_challenge *m)
{
	struct client *c;

	if (!asked(ch, m->id, &c))
		return false;
	if (!c)
		return true;
	session_on_challenge(&c->session, m);
	client_pump(c);
	return true;
}

static bool
on_auth_answer(struct channel *ch, const struct ipc_auth_answer *m)
{
	struct client *c;

	if (!asked(ch, m->id, &c))
		return false;
	if (!c)
		return true;
	session_on_auth(&c->session, m);
	client_pump(c);
	return true;
}

static void
on_auth_closed(struct channel *c, const struct fail *why)
{
	lost(c, &((struct smtpd *)channel_owner(c))->authd, PEER_AUTHD, why);
}

static void
on_auth_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	(void)peer, (void)instance;
	join(s, c, &((struct smtpd *)s->state)->authd, PEER_AUTHD);
}

/* intake: queued */

static struct client *
handing_over(struct channel *ch, uint64_t id)
{
	struct smtpd *d = channel_owner(ch);
	struct map_node *node = map_get_u64(&d->messages, id);
	struct client *c = node ? OWNER_OF(node, struct client, message) : NULL;

	if (c) {
		map_remove(&d->messages, &c->message);
		c->hands_over = false;
	}
	return c;
}

/* By new_queue_id(), ever. */
static bool
is_ours(const struct smtpd *d, uint64_t id)
{
	return id && id <= d->last_queue_id && id % QUEUEID_INSTANCES == d->service->instance % QUEUEID_INSTANCES;
}

static bool
on_intake_accepted(struct channel *ch, const struct ipc_intake_accepted *m)
{
	struct client *c = handing_over(ch, m->id);

	if (!c)
		return is_ours(channel_owner(ch), m->id);
	session_on_accepted(&c->session, m->id);
	client_pump(c);
	return true;
}

static bool
on_intake_refused(struct channel *ch, const struct ipc_intake_refused *m)
{
	struct client *c = handing_over(ch, m->id);

	if (!c)
		return is_ours(channel_owner(ch), m->id);
	session_on_refused(&c->session, m);
	client_pump(c);
	return true;
}

static bool
on_intake_flushed(struct channel *ch, const struct ipc_intake_flushed *m)
{
	struct client *c;

	if (!asked(ch, m->id, &c))
		return false;
	if (!c)
		return true;
	session_on_flushed(&c->session, m);
	client_pump(c);
	return true;
}

static void
on_intake_closed(struct channel *c, const struct fail *why)
{
	lost(c, &((struct smtpd *)channel_owner(c))->queued, PEER_QUEUED, why);
}

static void
tell_room(struct client *c, void *arg)
{
	(void)arg;
	if (c->session.wait != WAIT_ROOM && c->session.wait != WAIT_LIST)
		return;
	session_on_room(&c->session);
	client_pump(c);
}

static void
on_intake_drained(struct channel *c)
{
	clients_each(channel_owner(c), tell_room, NULL);
}

static void
on_intake_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	(void)peer, (void)instance;
	join(s, c, &((struct smtpd *)s->state)->queued, PEER_QUEUED);
}

/* filter: verifyd */

static bool
on_filter_answer(struct channel *ch, const struct ipc_filter_answer *m)
{
	struct client *c;

	if (!asked(ch, m->id, &c))
		return false;
	if (c) {
		session_on_filter_answer(&c->session, m);
		client_pump(c);
	}
	return true;
}

static bool
on_filter_sender(struct channel *ch, const struct ipc_filter_sender *m)
{
	struct client *c;

	if (!asked(ch, m->id, &c))
		return false;
	if (c)
		session_on_filter_sender(&c->session, m->id, m->address);
	return true;
}

static bool
on_filter_add(struct channel *ch, const struct ipc_filter_add *m)
{
	struct client *c;

	if (!asked(ch, m->id, &c))
		return false;
	if (c)
		session_on_filter_add(&c->session, m->id, m->address);
	return true;
}

static bool
on_filter_remove(struct channel *ch, const struct ipc_filter_remove *m)
{
	struct client *c;

	if (!asked(ch, m->id, &c))
		return false;
	if (c)
		session_on_filter_remove(&c->session, m->id, m->address);
	return true;
}

static bool
on_filter_piece(struct channel *ch, const struct ipc_filter_piece *m)
{
	struct client *c;

	if (!asked(ch, m->id, &c))
		return false;
	if (c) {
		session_on_filter_piece(&c->session, m);
		client_pump(c);
	}
	return true;
}

static void
on_filter_closed(struct channel *c, const struct fail *why)
{
	lost(c, &((struct smtpd *)channel_owner(c))->verifyd, PEER_VERIFYD, why);
}

static void
on_filter_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	(void)peer, (void)instance;
	join(s, c, &((struct smtpd *)s->state)->verifyd, PEER_VERIFYD);
}

/* dns: dnsd. A name counts only when it leads back to the address. */

enum { DNS_ADDR = 1, DNS_PTR = 2 };

static bool
lookup_ask(struct client *c, uint8_t type, struct span name)
{
	struct smtpd *d = c->door->smtpd;

	c->lookup->id = client_new_id(c);
	return d->dnsd && ipc_send_dns_ask(d->dnsd, &(struct ipc_dns_ask){ .id = c->lookup->id, .type = type, .name = name });
}

static void
lookup_end(struct client *c)
{
	free(c->lookup);
	c->lookup = NULL;
}

void
lookup_start(struct client *c, const struct netaddr *peer)
{
	char text[NETADDR_TEXT];

	if (!c->door->policy.conf->smtpd_peername_lookup || !c->door->smtpd->dnsd)
		return;
	c->lookup = calloc(1, sizeof(*c->lookup));
	if (c->lookup && !lookup_ask(c, DNS_PTR, netaddr_text(peer, text)))
		lookup_end(c);
	c->session.naming = c->lookup != NULL;
}

static bool
looking_up(struct channel *ch, uint64_t id, struct client **c)
{
	bool given = asked(ch, id, c);

	if (*c && (!(*c)->lookup || (*c)->lookup->id != id))
		*c = NULL;
	return given;
}

/* Whether an A or AAAA record is the client's address; the key of an IPv6 crowd is a /64 only. */
static bool
is_address(const struct client *c, struct span data)
{
	uint8_t bytes[16];

	if (!netaddr_bytes(&c->peer, bytes))
		return false;
	if (data.n == 4)
		return memcmp(data.p, bytes + 12, 4) == 0 && bytes[10] == 0xff && bytes[11] == 0xff;
	return data.n == 16 && memcmp(data.p, bytes, 16) == 0;
}

static bool
on_dns_record(struct channel *ch, const struct ipc_dns_record *m)
{
	struct client *c;

	if (!looking_up(ch, m->id, &c))
		return false;
	if (!c)
		return true;
	if (c->lookup->confirming)
		c->lookup->confirmed |= is_address(c, m->data);
	else if (!c->lookup->name[0])
		(void)span_cstr(m->name, c->lookup->name, sizeof(c->lookup->name));
	return true;
}

static bool
on_dns_done(struct channel *ch, const struct ipc_dns_done *m)
{
	struct client *c;

	if (!looking_up(ch, m->id, &c))
		return false;
	if (!c)
		return true;
	if (!c->lookup->confirming && c->lookup->name[0]) {
		c->lookup->confirming = true;
		if (lookup_ask(c, DNS_ADDR, span_str(c->lookup->name)))
			return true;
	}
	session_on_name(&c->session, c->lookup->confirmed ? span_str(c->lookup->name) : SPAN_NONE);
	lookup_end(c);
	client_pump(c);
	return true;
}

static void
forget_lookup(struct client *c, void *arg)
{
	(void)arg;
	if (!c->lookup)
		return;
	lookup_end(c);
	session_on_name(&c->session, SPAN_NONE);
	client_pump(c);
}

static void
on_dns_closed(struct channel *c, const struct fail *why)
{
	struct smtpd *d = channel_owner(c);

	if (!d->service->stopping)
		log_put(LOG_channel, "dnsd: %s", why->text);
	if (d->dnsd == c)
		d->dnsd = NULL;
	channel_free(&c);
	clients_each(d, forget_lookup, NULL);
}

static void
on_dns_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	struct smtpd *d = s->state;

	(void)peer, (void)instance;
	channel_set_owner(c, d);
	channel_free(&d->dnsd);
	d->dnsd = c;
}

/* sign: keyd */

static void
on_sign_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	(void)peer, (void)instance;
	signer_attach_sign(((struct smtpd *)s->state)->signer, c);
}

static void
on_certs_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	(void)peer, (void)instance;
	signer_attach_certs(((struct smtpd *)s->state)->signer, c);
}

#define DISPATCH_SIDE CLIENT
#define DISPATCH_DEF "ipc/rcpt.def"
#include "ipc/dispatch.h"
#define DISPATCH_SIDE CLIENT
#define DISPATCH_DEF "ipc/auth.def"
#include "ipc/dispatch.h"
#define DISPATCH_SIDE CLIENT
#define DISPATCH_DEF "ipc/intake.def"
#include "ipc/dispatch.h"
#define DISPATCH_SIDE CLIENT
#define DISPATCH_DEF "ipc/filter.def"
#include "ipc/dispatch.h"
#define DISPATCH_SIDE CLIENT
#define DISPATCH_DEF "ipc/dns.def"
#include "ipc/dispatch.h"

static const struct channel_ops rcpt_ops = { dispatch_rcpt, on_rcpt_closed, NULL };
static const struct channel_ops auth_ops = { dispatch_auth, on_auth_closed, NULL };
static const struct channel_ops intake_ops = { dispatch_intake, on_intake_closed, on_intake_drained };
static const struct channel_ops filter_ops = { dispatch_filter, on_filter_closed, on_intake_drained };
static const struct channel_ops dns_ops = { dispatch_dns, on_dns_closed, NULL };

const struct service_channel smtpd_channels[SMTPD_CHANNELS] = {
	{ .type = &ipc_channel_rcpt, .side = CHANNEL_CLIENT, .ops = &rcpt_ops, .on_open = on_rcpt_open },
	{ .type = &ipc_channel_auth, .side = CHANNEL_CLIENT, .ops = &auth_ops, .on_open = on_auth_open },
	{ .type = &ipc_channel_intake, .side = CHANNEL_CLIENT, .ops = &intake_ops, .on_open = on_intake_open },
	{ .type = &ipc_channel_filter, .side = CHANNEL_CLIENT, .ops = &filter_ops, .on_open = on_filter_open },
	{ .type = &ipc_channel_dns, .side = CHANNEL_CLIENT, .ops = &dns_ops, .on_open = on_dns_open },
	{ .type = &ipc_channel_sign, .side = CHANNEL_CLIENT, .ops = &signer_channel_ops, .on_open = on_sign_open },
	{ .type = &ipc_channel_certs, .side = CHANNEL_CLIENT, .on_open = on_certs_open },
};
