/* SPDX-License-Identifier: ISC */
#include "front/front.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "front/conn.h"
#include "net/shun.h"

enum { STOP_MS = 1000 };

static struct front *
front_of(struct channel *c)
{
	return ((struct service *)channel_owner(c))->state;
}

/* ---- peers ---- */

/* Whether anything was ever asked under this id; its asker may have gone. */
static bool
given(struct channel *ch, uint64_t id)
{
	return id > 0 && id <= front_of(ch)->last_id;
}

static bool
on_auth_challenge(struct channel *ch, const struct ipc_auth_challenge *m)
{
	struct conn *c = conn_asked(front_of(ch), m->id);

	if (!c)
		return given(ch, m->id);
	conn_challenged(c, m);
	return true;
}

static bool
on_auth_answer(struct channel *ch, const struct ipc_auth_answer *m)
{
	struct conn *c = conn_asked(front_of(ch), m->id);

	if (!c)
		return given(ch, m->id);
	conn_checked(c, m);
	return true;
}

static bool
on_login_result(struct channel *ch, const struct ipc_login_result *m)
{
	struct conn *c = conn_asked(front_of(ch), m->id);

	if (!c)
		return given(ch, m->id);
	conn_entered(c, m);
	return true;
}

static bool
on_login_returned(struct channel *ch, const struct ipc_login_returned *m, int fd)
{
	conn_returned(front_of(ch), fd, m->pending);
	return true;
}

#define DISPATCH_DEF "ipc/auth.def"
#define DISPATCH_SIDE CLIENT
#include "ipc/dispatch.h"
#define DISPATCH_DEF "ipc/login.def"
#define DISPATCH_SIDE CLIENT
#include "ipc/dispatch.h"

/* All that waited for this peer are told to try again. */
static void
unanswered(struct front *f, enum conn_phase phase)
{
	LIST_EACH(&f->conns, node) {
		struct conn *c = OWNER_OF(node, struct conn, list);

		if (c->phase == phase)
			conn_unanswered(c);
	}
}

static void
on_auth_closed(struct channel *c, const struct fail *why)
{
	struct front *f = front_of(c);

	log_put(LOG_channel, "authd: %s", why->text);
	if (f->auth == c)
		f->auth = NULL;
	channel_free(&c);
	unanswered(f, CONN_CHECK);
}

static void
on_login_closed(struct channel *c, const struct fail *why)
{
	struct front *f = front_of(c);

	log_put(LOG_channel, "userd: %s", why->text);
	if (f->login == c)
		f->login = NULL;
	channel_free(&c);
	unanswered(f, CONN_ENTER);
}

static void
on_auth_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	struct front *f = s->state;

	(void)peer;
	(void)instance;
	f->auth = c;
}

static void
on_login_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	struct front *f = s->state;

	(void)peer;
	(void)instance;
	f->login = c;
}

static void
on_sign_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	struct front *f = s->state;

	(void)peer;
	(void)instance;
	signer_attach_sign(f->signer, c);
}

static void
on_certs_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	struct front *f = s->state;

	(void)peer;
	(void)instance;
	signer_attach_certs(f->signer, c);
}

unsigned
front_mechanisms(const struct conf *conf)
{
	unsigned set = sasl_set(conf->auth_mechanisms.items, conf->auth_mechanisms.n);

	return conf->auth_oauth2_introspection_url.n ? set : set & ~(unsigned)SASL_OAUTH;
}

/* ---- listeners ---- */

void
front_name_session(struct front *f, char session[QUEUEID_TEXT + 1])
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	(void)queueid_text(queueid_new(&f->last_session, (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000, f->service->instance % QUEUEID_INSTANCES), session);
}

static void
on_accept(struct listener *l, int fd, const struct netaddr *peer)
{
	struct front_listener *at = OWNER_OF(l, struct front_listener, listener);
	char text[NETADDR_TEXT];

	if (shun_client(at->front->service->loop, fd, peer, at->block->tls == CONF_MODE_WRAPPER ? SPAN_NONE : span_str(at->front->protocol->later)))
		log_put(LOG_quarantine, "client=%.*s is not served: its sessions have crashed %s", SPAN_ARG(netaddr_text(peer, text)), at->front->protocol->program);
	else
		conn_accept(at, fd, peer);
}

static void
on_listener(struct service *s, const struct conf_listener *block, int fd)
{
	struct front *f = s->state;
	struct front_listener *l;

	if (f->nlisteners == FRONT_LISTENERS) {
		log_put(LOG_limit, "more than %d listeners", FRONT_LISTENERS);
		close(fd);
		return;
	}
	l = &f->listeners[f->nlisteners];
	*l = (struct front_listener){ .front = f, .block = block };
	l->open = listener_open(&l->listener, s->loop, fd, on_accept);
	if (!l->open) {
		log_put(LOG_failure, "listener %.*s cannot be watched", SPAN_ARG(block->name));
		close(fd);
		return;
	}
	f->nlisteners++;
	if (f->paused)
		listener_pause(&l->listener);
}

static void
close_listeners(struct front *f)
{
	for (size_t i = 0; i < f->nlisteners; i++)
		if (f->listeners[i].open)
			listener_close(&f->listeners[i].listener);
	f->nlisteners = 0;
}

/* ---- life ---- */

static void
on_reload(struct service *s, const struct conf *old)
{
	struct front *f = s->state;

	(void)old;
	close_listeners(f); /* they come anew; connections keep what they have copied */
	signer_reload(f->signer);
}

static void
on_stop(struct service *s)
{
	struct front *f = s->state;

	close_listeners(f);
	LIST_EACH(&f->conns, node)
		conn_finish(OWNER_OF(node, struct conn, list), "Server shutting down.");
	if (f->nconns == 0 || !timer_set(&f->stopping, STOP_MS))
		service_exit(s);
}

static void
on_stop_limit(struct timer *t)
{
	service_exit(OWNER_OF(t, struct front, stopping)->service);
}

static void
on_state(struct service *s, struct buf *out)
{
	const struct front *f = s->state;

	buf_printf(out, "sessions=%u", f->nconns);
}

bool
front_boot(struct service *s, const struct front_protocol *p, struct fail *why)
{
	struct front *f = calloc(1, sizeof *f);

	if (!f)
		return fail_errno(why, 0, "%s", p->program);
	f->protocol = p;
	f->service = s;
	list_init(&f->conns);
	map_init(&f->asked);
	map_init(&f->hosts);
	map_init(&f->relayed);
	timer_init(&f->stopping, s->loop, on_stop_limit);
	f->signer = signer_new(s->conf->smtpd_tls_protocols == CONF_TLS13, s->conf->smtpd_tls_session_cache_timeout);
	s->state = f;
	return f->signer != NULL || fail_set(why, FAIL_TEMP, 0, "out of memory");
}

struct service_ops
front_service(const struct front_protocol *p, bool (*on_boot)(struct service *, struct fail *why))
{
	static const struct channel_ops auth_ops = { dispatch_auth, on_auth_closed, NULL };
	static const struct channel_ops login_ops = { dispatch_login, on_login_closed, NULL };
	static const struct service_channel channels[] = {
		{ .type = &ipc_channel_auth, .side = CHANNEL_CLIENT, .ops = &auth_ops, .on_open = on_auth_open },
		{ .type = &ipc_channel_login, .side = CHANNEL_CLIENT, .ops = &login_ops, .on_open = on_login_open },
		{ .type = &ipc_channel_sign, .side = CHANNEL_CLIENT, .ops = &signer_channel_ops, .on_open = on_sign_open },
		{ .type = &ipc_channel_certs, .side = CHANNEL_CLIENT, .on_open = on_certs_open },
	};

	return (struct service_ops){
		.name = p->program,
		.see = p->see,
		.gathers = true,
		.channels = channels,
		.nchannels = sizeof channels / sizeof *channels,
		.on_boot = on_boot,
		.on_listener = on_listener,
		.on_reload = on_reload,
		.on_stop = on_stop,
		.on_state = on_state,
	};
}
