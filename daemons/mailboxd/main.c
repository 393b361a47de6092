/* SPDX-License-Identifier: ISC
 *
 * mailboxd: one user's mailboxes and all of that user's IMAP and POP3 sessions.
 * userd starts it as the mailboxes' owner and hands it connections behind
 * login; whatever a client can do to it, it can do to this user only (law 4).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemons/mailboxd/client.h"
#include "daemons/mailboxd/guest.h"
#include "daemons/mailboxd/home.h"
#include "daemons/mailboxd/imap.h"
#include "daemons/mailboxd/link.h"
#include "daemons/mailboxd/pieces.h"
#include "daemons/mailboxd/pop3.h"
#include "daemons/mailboxd/text.h"
#include "mail/charset.h"
#include "service/service.h"
#include "sys/memory.h"

enum {
	THREADS = 4, /* more than processors: most wait for a disk */
	SECOND_MS = 1000,
	PROGRESS_MS = 10000,
	B_STATE = 8192,
	DRAIN_MS = 5000,
	LINGER_MS = 2000,
};

struct mailboxd {
	struct service *service;
	struct user user;
	struct worker_pool *pool;
	struct channel *session;
	struct link link;
	struct timer idle, hibernate;
	int events;  /* to be left behind while resting; -1 */
	int left;    /* what a mailboxd before this one left behind, until it is closed; -1 */
	struct work unwatch;
	bool resting; /* userd was asked to keep the sessions */
	struct charset_warm charsets; /* loaded before the walls are up, by the template if there is one */
	bool warm;
	uint64_t entered;
	char name[B_ADDRESS + 1], home[B_PATH];
};

static struct mailboxd *
mailboxd_of(struct channel *c)
{
	return ((struct service *)channel_owner(c))->state;
}

/* A process a user: what one command or thread needed is not kept for the next. */
static void
on_rest(void *arg)
{
	(void)arg;
	memory_trim();
}

/* ---- the mailboxes ---- */

static void
take_store_settings(struct mailboxd *d)
{
	const struct conf *conf = d->service->conf;

	if (!d->user.store)
		return;
	store_set_keep(d->user.store, conf->expunged_keep_time / SECOND_MS);
	store_set_facts(d->user.store, &(struct store_facts){ text_make_facts });
	store_set_search(d->user.store, &(struct store_search){ pieces_sign, (unsigned)conf->search_index_share });
}

static void
raise_for(struct mailboxd *d, struct sandbox *walls)
{
	*walls = (struct sandbox){ .write = { d->home } }; /* its row: NAMED */
}

/* Behind this user's own walls, before anything foreign is read.  Threads are
 * made inside, for the walls hold for the thread that raised them and its own. */
static bool
open_store(struct mailboxd *d, struct fail *why)
{
	struct service *s = d->service;
	struct sandbox walls;
	struct sandbox_report report;
	struct store_config config = { .loop = s->loop, .host = s->conf->myhostname };

	config.base = home_open(d->home, why);
	if (config.base < 0)
		return false;
	if (!d->warm)
		charset_warm(&d->charsets);
	raise_for(d, &walls);
	if (!sandbox_enter(&walls, &report, why)) {
		close(config.base);
		return false;
	}
	service_walls(s, &report);
	d->pool = worker_pool_new(s->loop, THREADS);
	if (!d->pool) {
		close(config.base);
		return fail_set(why, FAIL_TEMP, 0, "no threads");
	}
	worker_pool_linger(d->pool, LINGER_MS, on_rest, NULL);
	config.pool = d->pool;
	d->user.store = store_new(&config, why);
	take_store_settings(d);
	return d->user.store != NULL;
}

/* As soon as the owner is known, for connections may follow in the same packet. */
static void
open_user(struct mailboxd *d)
{
	struct fail why = { .text = "" };

	if (open_store(d, &why))
		home_create_folders(d->user.store, &d->service->conf->mailbox_autocreate, d->name);
	else
		log_put(LOG_failure, "user=%s: %s", d->name, why.text);
}

/* ---- sessions ---- */

/* What is not yet written is written: the loop turns for that, which it does in no callback. */
static void
on_end(struct service *s)
{
	struct mailboxd *d = s->state;

	if (!d || !s->stopping || d->user.nsessions)
		return;
	if (d->user.store)
		store_free(&d->user.store);
	if (d->pool)
		worker_pool_free(&d->pool);
}

static void
start_idle(struct mailboxd *d)
{
	if (d->user.nsessions == 0)
		(void)timer_set(&d->idle, d->service->conf->mailbox_idle_time + 1);
}

/* A lone session waits for its own syncs anyway. */
static void
count_sessions(struct mailboxd *d)
{
	if (d->pool)
		worker_pool_alone(d->pool, d->user.nsessions <= 1);
}

static void
on_gone(struct user *user)
{
	struct mailboxd *d = OWNER_OF(user, struct mailboxd, user);

	count_sessions(d);
	start_idle(d);
	if (d->service->stopping && user->nsessions == 0)
		service_exit(d->service);
}

static void
on_idle(struct timer *t)
{
	struct mailboxd *d = OWNER_OF(t, struct mailboxd, idle);

	if (d->user.nsessions == 0 && d->session)
		(void)ipc_send_ctl_idle(d->service->ruler, &(struct ipc_ctl_idle){ .given = d->entered });
}

/* ---- rest ---- */

static void
go_on(struct mailboxd *d)
{
	if (!d->resting)
		return;
	d->resting = false;
	(void)close(d->events);
	d->events = -1;
	store_rouse(d->user.store);
	clients_hold(&d->user, false);
}

/* From here until the answer nothing is read, so that what is left behind stays what it is. */
static void
on_hibernate(struct timer *t)
{
	struct mailboxd *d = OWNER_OF(t, struct mailboxd, hibernate);
	int64_t after = d->service->conf->imap_hibernate_time;

	if (!after || d->resting || !d->user.nsessions || !d->session || d->service->stopping)
		return;
	if (clients_rest(&d->user, after) && (d->events = store_rest(d->user.store)) >= 0) {
		d->resting = true;
		clients_hold(&d->user, true);
		(void)ipc_send_session_rest(d->session, &(struct ipc_session_rest){ .entered = d->entered });
	}
	(void)timer_set(t, after);
}

static void
on_quiet(struct timer *t)
{
	(void)t;
	memory_trim();
}

/* userd has agreed: it has asked for our end. */
static void
leave_sessions(struct mailboxd *d)
{
	struct ipc_session_events last = { .left = 0 };
	struct buf state;

	buf_init(&state, B_STATE);
	LIST_EACH(&d->user.sessions, node) {
		struct session *s = OWNER_OF(node, struct session, node);
		struct ipc_session_rested m;
		int fd;

		buf_reset(&state);
		fd = client_leave(s, &state);
		m = (struct ipc_session_rested){ .state = buf_span(&state) };
		if (fd >= 0)
			last.left += ipc_send_session_rested(d->session, &m, fd);
	}
	buf_free(&state);
	(void)ipc_send_session_events(d->session, &last, d->events);
	d->events = -1;
	(void)channel_drain(d->session, DRAIN_MS);
}

static bool
on_session_owner(struct channel *c, const struct ipc_session_owner *m)
{
	struct mailboxd *d = mailboxd_of(c);

	if (d->home[0] || !m->home.n || m->home.p[0] != '/' || !span_cstr(m->user, d->name, sizeof d->name) ||
	    !span_cstr(m->home, d->home, sizeof d->home))
		return false;
	d->user.name = span_str(d->name);
	open_user(d);
	return true;
}

static bool
give_back(struct user *user, uint64_t front, int fd, struct span pending)
{
	struct mailboxd *d = OWNER_OF(user, struct mailboxd, user);

	if (d->session)
		return ipc_send_session_left(d->session, &(struct ipc_session_left){ .front = front, .pending = pending }, fd);
	close(fd);
	return false;
}

static struct session *
new_session(struct mailboxd *d, const struct ipc_session_enter *m, struct fail *why)
{
	struct session *s;

	if (span_eq(m->service, SPAN("pop3")))
		return pop3_new(&d->user, m->folder, why);
	s = m->guest.n ? imap_new_guest(&d->user, m->guest) : imap_new(&d->user, m->tag, m->tls);
	if (s)
		s->front = m->front;
	if (!s)
		(void)fail_set(why, FAIL_TEMP, 0, "out of memory");
	return s;
}

/* Guests never take a place of the owner's. */
static bool
too_many(struct mailboxd *d, const struct ipc_session_enter *m)
{
	unsigned same, guests = guest_count(&d->user, m->guest, &same);

	if (m->guest.n)
		return same >= BOUND_GUESTS || guests >= d->service->conf->mailbox_session_limit;
	return d->user.nsessions - guests >= d->service->conf->mailbox_session_limit;
}

static void
serve(struct mailboxd *d, uint64_t quota, uint64_t messages)
{
	timer_stop(&d->idle);
	store_set_quota(d->user.store, &(struct quota){ quota, messages });
	if (d->service->conf->imap_hibernate_time && !timer_running(&d->hibernate))
		(void)timer_set(&d->hibernate, d->service->conf->imap_hibernate_time);
}

static bool
on_session_resume(struct channel *c, const struct ipc_session_resume *m, int fd)
{
	struct mailboxd *d = mailboxd_of(c);
	struct session *s = NULL;

	d->entered++;
	go_on(d);
	if (d->user.store && !d->service->stopping)
		s = imap_resume(&d->user, m->state, (int64_t)m->elapsed_ms);
	if (!s) {
		client_turn_away(fd, SPAN("imap"), SPAN("*"), "The mailbox cannot be opened now.");
		start_idle(d);
		return true;
	}
	serve(d, m->quota, m->messages);
	d->user.quotas = m->quotas;
	log_put(LOG_session, "user=%s service=imap resumed", d->name);
	if (!client_new(&d->user, fd, s, SPAN_NONE, on_gone))
		start_idle(d);
	count_sessions(d);
	return true;
}

static void
run_unwatch(struct work *w)
{
	(void)close(OWNER_OF(w, struct mailboxd, unwatch)->left);
}

static void
on_unwatched(struct work *w)
{
	OWNER_OF(w, struct mailboxd, unwatch)->left = -1;
}

/* Closing what watches directories waits for a grace period of the kernel, 10 ms and more: not in the loop. */
static bool
on_session_unwatch(struct channel *c, const struct ipc_session_unwatch *m, int fd)
{
	struct mailboxd *d = mailboxd_of(c);

	(void)m;
	if (d->left >= 0 || !d->pool) {
		(void)close(fd);
		return d->left < 0;
	}
	d->left = fd;
	d->unwatch = (struct work){ .run = run_unwatch, .done = on_unwatched };
	worker_submit_later(d->pool, &d->unwatch);
	return true;
}

static bool
on_session_enter(struct channel *c, const struct ipc_session_enter *m, int fd)
{
	struct mailboxd *d = mailboxd_of(c);
	struct fail why = { .text = "" };
	struct session *s;

	d->entered++;
	go_on(d);
	if (!d->user.store || d->service->stopping) {
		client_turn_away(fd, m->service, m->tag, "The mailbox cannot be opened now.");
		start_idle(d);
		return true;
	}
	if (too_many(d, m)) {
		log_put(LOG_limit, "user=%s sessions=%u", d->name, d->user.nsessions);
		client_turn_away(fd, m->service, m->tag, "Too many connections of this user.");
		return true;
	}
	if (!m->guest.n) /* before the greeting: it is announced */
		d->user.quotas = m->quotas;
	s = new_session(d, m, &why);
	if (!s) {
		log_put(LOG_failure, "user=%s: %s", d->name, why.text);
		if (m->folder.n && why.class == FAIL_PERM)
			client_no_folder(fd);
		else
			client_turn_away(fd, m->service, m->tag, "The mailbox cannot be opened now.");
		start_idle(d);
		return true;
	}
	serve(d, m->quota, m->messages);
	if (m->guest.n)
		log_put(LOG_session, "user=%s service=imap guest=%.*s", d->name, SPAN_ARG(m->guest));
	else
		log_put(LOG_session, "user=%s service=%.*s client=%.*s", d->name, SPAN_ARG(m->service), SPAN_ARG(m->client_addr));
	if (!client_new(&d->user, fd, s, m->pending, on_gone))
		start_idle(d);
	count_sessions(d);
	return true;
}

static void
on_stop(struct service *s)
{
	struct mailboxd *d = s->state;

	if (d->resting)
		leave_sessions(d);
	if (d->user.nsessions == 0)
		service_exit(s);
	else
		clients_shutdown(&d->user);
}

static bool
on_session_arrived(struct channel *c, const struct ipc_session_arrived *m, int fd)
{
	return link_arrived(&mailboxd_of(c)->link, m, fd);
}

static bool
on_session_sharer(struct channel *c, const struct ipc_session_sharer *m)
{
	return link_sharer(&mailboxd_of(c)->link, m);
}

static bool
on_session_answered(struct channel *c, const struct ipc_session_answered *m)
{
	return link_answered(&mailboxd_of(c)->link, m);
}

static bool
on_session_shared(struct channel *c, const struct ipc_session_shared *m)
{
	(void)m;
	link_shared(&mailboxd_of(c)->link);
	return true;
}

static bool
on_session_limits(struct channel *c, const struct ipc_session_limits *m)
{
	link_limits(&mailboxd_of(c)->user, m);
	return true;
}

static bool
on_session_measure(struct channel *c, const struct ipc_session_measure *m)
{
	return link_measure(&mailboxd_of(c)->user, m);
}

static bool
on_session_quota_is(struct channel *c, const struct ipc_session_quota_is *m)
{
	return link_quota_is(&mailboxd_of(c)->link, m);
}

#define DISPATCH_DEF "ipc/session.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"

static void
on_session_closed(struct channel *c, const struct fail *why)
{
	struct mailboxd *d = mailboxd_of(c);

	if (why->class == FAIL_PEER)
		log_put(LOG_channel, "session: %s", why->text);
	d->session = NULL;
	link_closed(&d->link);
	channel_free(&c);
}

static void
on_session_open(struct service *s, struct channel *c, struct span peer, unsigned instance)
{
	struct mailboxd *d = s->state;

	(void)peer;
	(void)instance;
	d->session = c;
	channel_slim(c);
	link_opened(&d->link, c);
}

/* ---- life ---- */

static void
take_settings(struct mailboxd *d)
{
	const struct conf *conf = d->service->conf;

	d->user.hostname = conf->myhostname;
	d->user.imap_idle_ms = conf->imap_timeout;
	d->user.pop3_idle_ms = conf->pop3_timeout;
	d->user.progress_ms = PROGRESS_MS;
	d->user.keepalive_ms = conf->imap_idle_notify_interval;
	d->user.message_limit = conf->message_size_limit;
	d->user.at_once = conf->imap_message_limit;
	take_store_settings(d);
	d->user.pop3_login_delay = (unsigned)((conf->pop3_login_delay + 999) / 1000);
	d->user.textbook_replies = conf->pop3_reply_texts == CONF_REPLY_TEXTBOOK;
}

static bool
on_boot(struct service *s, struct fail *why)
{
	const struct mailboxd *template = s->state;
	struct mailboxd *d = calloc(1, sizeof *d);

	if (!d)
		return fail_errno(why, 0, "mailboxd");
	if (template) {
		d->charsets = template->charsets;
		d->warm = true;
	}
	d->service = s;
	d->user.loop = s->loop;
	list_init(&d->user.sessions);
	link_init(&d->link);
	d->user.link = &d->link;
	d->user.broker = &link_broker;
	d->user.leave = give_back;
	timer_init(&d->idle, s->loop, on_idle);
	timer_init(&d->hibernate, s->loop, on_hibernate);
	timer_init(&d->user.quiet, s->loop, on_quiet);
	d->events = d->left = -1;
	s->state = d;
	take_settings(d);
	return true;
}

static void
on_sandbox(struct service *s, struct sandbox *walls)
{
	struct mailboxd *d = s->state;

	if (s->probing) { /* as open_store() will, for a user that does not exist */
		(void)snprintf(d->home, sizeof(d->home), "%s/probe.invalid/nobody", s->conf->virtual_mailbox_base.p);
		raise_for(d, walls);
	} else {
		walls->files_open = true; /* open_store() raises them, when it is known for whom */
	}
}

/* What one mailboxd may reach is below all that any of them may. */
static void
on_template(struct service *s, struct sandbox *walls)
{
	struct mailboxd *d = s->state;

	charset_warm(&d->charsets);
	tzset();
	memory_compact();
	*walls = (struct sandbox){ .write = { s->conf->virtual_mailbox_base.p } };
}

static bool
on_start(struct service *s, struct fail *why)
{
	(void)why;
	start_idle(s->state);
	return true;
}

static void
on_reload(struct service *s, const struct conf *old)
{
	(void)old;
	take_settings(s->state);
}

static void
on_state(struct service *s, struct buf *out)
{
	const struct mailboxd *d = s->state;

	buf_printf(out, "user=%s sessions=%u", d->name, d->user.nsessions);
}

int
main(int argc, char **argv)
{
	static const struct channel_ops session_ops = { dispatch_session, on_session_closed, NULL };
	static const struct service_channel channels[] = {
		{ &ipc_channel_session, CHANNEL_SERVER, &session_ops, on_session_open },
	};
	static const struct service_ops ops = {
		.name = "mailboxd", .see = CONF_MAILBOXD, .channels = channels, .nchannels = 1, .on_boot = on_boot,
		.on_sandbox = on_sandbox, .on_template = on_template, .on_start = on_start, .on_reload = on_reload, .on_stop = on_stop, .on_end = on_end, .on_state = on_state,
	};

	return service_main(&ops, argc, argv);
}
