/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <sys/resource.h>

#include "smtpd.h"

enum {
	OTHER_FILES = 64,   /* channels, listeners, log */
	PATIENT_MAX = 4096, /* who have waited for the greeting, known at once */
};

/* A descriptor a session: more sessions than these would leave none for a restarted sibling. */
static size_t
session_limit(const struct conf *conf)
{
	size_t n = (size_t)conf->smtpd_session_limit;
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur != RLIM_INFINITY && files.rlim_cur < n + OTHER_FILES)
		n = files.rlim_cur > 2 * OTHER_FILES ? (size_t)files.rlim_cur - OTHER_FILES : OTHER_FILES;
	if (n < conf->smtpd_session_limit)
		log_put(LOG_degraded, "smtpd_session_limit: %zu sessions instead of %llu, for RLIMIT_NOFILE is %llu", n,
		    (unsigned long long)conf->smtpd_session_limit, (unsigned long long)files.rlim_cur);
	return n;
}

static bool
on_boot(struct service *s, struct fail *why)
{
	struct smtpd *d = calloc(1, sizeof(*d));

	if (!d || !(d->signer = signer_new(s->conf->smtpd_tls_protocols == CONF_TLS13, s->conf->smtpd_tls_session_cache_timeout))) {
		free(d);
		return fail_set(why, FAIL_TEMP, 0, "no memory");
	}
	d->service = s;
	d->loop = s->loop;
	d->limit = session_limit(s->conf);
	list_init(&d->doors);
	list_init(&d->clients);
	list_init(&d->arrivals);
	map_init(&d->messages);
	map_init(&d->crowd);
	recent_init(&d->patient, PATIENT_MAX);
	s->state = d;
	return true;
}

void
smtpd_free(struct smtpd **at)
{
	struct smtpd *d = *at;

	arrivals_end(d, NULL);
	doors_close(d);
	channel_free(&d->routed);
	channel_free(&d->authd);
	channel_free(&d->queued);
	channel_free(&d->dnsd);
	channel_free(&d->verifyd);
	signer_free(&d->signer);
	map_free(&d->messages);
	map_free(&d->crowd);
	recent_free(&d->patient);
	free(d->slots);
	free(d->free_slots);
	free(d);
	*at = NULL;
}

static void
on_listener(struct service *s, const struct conf_listener *block, int fd)
{
	door_open(s->state, block, fd);
}

static void
on_reload(struct service *s, const struct conf *old)
{
	struct smtpd *d = s->state;

	(void)old;
	doors_reload(d);
	signer_reload(d->signer);
}

static void
end_session(struct client *c, void *arg)
{
	(void)arg;
	session_shutdown(&c->session);
	client_pump(c);
}

/* Sessions without a message under way hear 421 now, the others after its end. */
static void
on_stop(struct service *s)
{
	struct smtpd *d = s->state;

	doors_close(d);
	arrivals_end(d, NULL);
	if (d->nclients)
		clients_each(d, end_session, NULL);
	else
		service_exit(s);
}

static void
on_state(struct service *s, struct buf *out)
{
	const struct smtpd *d = s->state;

	buf_printf(out, "sessions=%zu connects=%llu messages=%llu routed=%s queued=%s authd=%s dnsd=%s", d->nclients,
	    (unsigned long long)d->connects, (unsigned long long)d->messages_in, d->routed ? "yes" : "no", d->queued ? "yes" : "no",
	    d->authd ? "yes" : "no", d->dnsd ? "yes" : "no");
}

const struct service_ops smtpd_ops = {
	.name = "smtpd",
	.see = CONF_SMTPD,
	.gathers = true,
	.channels = smtpd_channels,
	.nchannels = SMTPD_CHANNELS,
	.on_boot = on_boot,
	.on_listener = on_listener,
	.on_reload = on_reload,
	.on_stop = on_stop,
	.on_state = on_state,
};
