/* SPDX-License-Identifier: ISC
 *
 * smtpd: receives mail by SMTP, submission and LMTP. Parses foreign bytes and
 * so holds nothing: no key, no table, no spool; it asks its siblings.
 */
#include <stdlib.h>

#include "smtpd.h"

static bool
on_boot(struct service *s, struct fail *why)
{
	struct smtpd *d = calloc(1, sizeof(*d));

	if (!d || !(d->signer = signer_new(s->conf->smtpd_tls_protocols == CONF_TLS13)))
		return fail_set(why, FAIL_TEMP, 0, "no memory");
	d->service = s;
	d->loop = s->loop;
	list_init(&d->doors);
	list_init(&d->clients);
	map_init(&d->messages);
	map_init(&d->crowd);
	s->state = d;
	return true;
}

static void
on_listener(struct service *s, const struct conf_listener *block, int fd)
{
	door_open(s->state, block, fd);
}

static void
on_reload(struct service *s, const struct conf *old)
{
	(void)old;
	doors_reload(s->state);
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

int
main(int argc, char **argv)
{
	const struct service_ops ops = {
		.name = "smtpd",
		.see = CONF_SMTPD,
		.channels = smtpd_channels,
		.nchannels = smtpd_channels_count,
		.on_boot = on_boot,
		.on_listener = on_listener,
		.on_reload = on_reload,
		.on_stop = on_stop,
		.on_state = on_state,
	};

	return service_main(&ops, argc, argv);
}
