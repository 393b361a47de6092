/* SPDX-License-Identifier: ISC */
#include "tests/unit/locald_fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A daemon's state ends with its process: here, too. */
static struct fixture *kept[64];

/* ---- the test as queued ---- */

static bool
on_deliver_capacity(struct channel *c, const struct ipc_deliver_capacity *m)
{
	(void)c;
	assert_true(m->jobs > 0);
	return true;
}

static bool
on_deliver_result(struct channel *c, const struct ipc_deliver_result *m)
{
	struct fixture *f = channel_owner(c);
	struct result *r = &f->results[f->nresults++];

	assert_true(f->nresults <= RESULTS);
	*r = (struct result){ .index = m->index, .outcome = m->outcome, .maybe_done = m->maybe_done, .kept = m->kept };
	(void)span_cstr(m->code, r->code, sizeof(r->code));
	(void)span_cstr(m->forwards, r->forwards, sizeof(r->forwards));
	(void)snprintf(r->reply, sizeof(r->reply), "%.*s", SPAN_ARG(m->reply));
	return true;
}

static bool
on_deliver_done(struct channel *c, const struct ipc_deliver_done *m)
{
	struct fixture *f = channel_owner(c);

	f->done++;
	f->health = m->health;
	return true;
}

#define DISPATCH_DEF "ipc/deliver.def"
#define DISPATCH_SIDE CLIENT
#include "ipc/dispatch.h"

/* ---- the test as userd ---- */

static const struct service_channel *
channel_of(const struct service_ops *ops, const struct ipc_channel *type)
{
	for (size_t i = 0; i < ops->nchannels; i++)
		if (ops->channels[i].type == type)
			return &ops->channels[i];
	fail_msg("no channel %s", type->name);
	return NULL;
}

/* Gives one end of a new pair to the service, returns the other. */
static int
wire(struct service *s, const struct service_ops *ops, const struct ipc_channel *type)
{
	const struct service_channel *sc = channel_of(ops, type);
	struct channel *c;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	c = channel_new(s->loop, pair[0], sc->type, sc->side, sc->ops, s);
	assert_non_null(c);
	sc->on_open(s, c, SPAN("test"), 0);
	return pair[1];
}

static bool
on_owner_ask(struct channel *c, const struct ipc_owner_ask *m)
{
	struct fixture *f = channel_owner(c);
	int pair[2];

	f->questions++;
	if (f->refuse)
		return ipc_send_owner_refused(c, &(struct ipc_owner_refused){ .id = m->id, .why = SPAN("no such owner") });
	if (!f->hold)
		return ipc_send_owner_child(c, &(struct ipc_owner_child){ .id = m->id }, wire(&f->deliverd, &deliverd_ops, &ipc_channel_mailbox));
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	f->held = pair[0];
	return ipc_send_owner_child(c, &(struct ipc_owner_child){ .id = m->id }, pair[1]);
}

#define DISPATCH_DEF "ipc/owner.def"
#define DISPATCH_SIDE SERVER
#include "ipc/dispatch.h"

static void
on_closed(struct channel *c, const struct fail *why)
{
	(void)c;
	fail_msg("channel closed: %s", why->text);
}

static void
on_queue_closed(struct channel *c, const struct fail *why)
{
	struct fixture *f = channel_owner(c);

	if (!f->may_violate)
		on_closed(c, why);
	f->violated = true;
}

static bool
told_ruler(struct channel *c, unsigned type, const void *m, int fd)
{
	assert_int_equal(type, IPC_ctl_idle);
	assert_int_equal(fd, -1);
	((struct fixture *)channel_owner(c))->idle = ((const struct ipc_ctl_idle *)m)->given;
	return true;
}

static const struct channel_ops ruler_ops = { told_ruler, on_closed, NULL };
static const struct channel_ops queue_ops = { dispatch_deliver, on_queue_closed, NULL };
static const struct channel_ops userd_ops = { dispatch_owner, on_closed, NULL };

/* ---- set up ---- */

int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct fail why = { .text = "" };
	int pair[2];

	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/test_locald.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->held = -1;
	f->loop = loop_new();
	f->conf.virtual_mailbox_base = span_str(f->dir);
	f->conf.myhostname = SPAN("mail.test");
	f->locald = f->deliverd = (struct service){ .loop = f->loop, .conf = &f->conf };
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	f->ruler = channel_new(f->loop, pair[0], &ipc_channel_ctl, CHANNEL_CLIENT, &ruler_ops, f);
	f->deliverd.ruler = f->ruled = channel_new(f->loop, pair[1], &ipc_channel_ctl, CHANNEL_SERVER, &ruler_ops, f);
	assert_true(locald_ops.on_boot(&f->locald, &why));
	assert_true(deliverd_ops.on_boot(&f->deliverd, &why));
	assert_true(deliverd_ops.on_start(&f->deliverd, &why));
	f->queue = channel_new(f->loop, wire(&f->locald, &locald_ops, &ipc_channel_deliver), &ipc_channel_deliver, CHANNEL_CLIENT, &queue_ops, f);
	f->userd = channel_new(f->loop, wire(&f->locald, &locald_ops, &ipc_channel_owner), &ipc_channel_owner, CHANNEL_SERVER, &userd_ops, f);
	*state = f;
	return 0;
}

int
teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	channel_free(&f->queue);
	channel_free(&f->userd);
	channel_free(&f->ruler);
	channel_free(&f->ruled);
	if (f->held >= 0)
		(void)close(f->held);
	(void)snprintf(command, sizeof(command), "rm -rf %s", f->dir);
	assert_int_equal(system(command), 0);
	for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++)
		if (!kept[i]) {
			kept[i] = f;
			return 0;
		}
	return -1;
}

void
turn_until(struct fixture *f, unsigned done)
{
	for (int i = 0; i < 300 && f->done < done; i++)
		(void)loop_turn(f->loop, 10);
	assert_int_equal(f->done, done);
}

void
send_job(struct fixture *f, uint64_t id, const char *const *addresses, const char *text)
{
	struct ipc_deliver_job job = { .id = id, .sender = SPAN("alice@example.test"), .size = strlen(text) };
	char home[100];

	assert_true(ipc_send_deliver_job(f->queue, &job));
	for (uint32_t i = 0; addresses[i]; i++) {
		struct ipc_deliver_rcpt rcpt = { .id = id, .index = i, .address = span_str(addresses[i]) };
		struct span name = span_str(addresses[i]);

		(void)snprintf(home, sizeof(home), "example.test/%.*s", (int)span_chr(name, '@'), addresses[i]);
		rcpt.home = span_str(home);
		assert_true(ipc_send_deliver_rcpt(f->queue, &rcpt));
	}
	assert_true(ipc_send_deliver_content(f->queue, &(struct ipc_deliver_content){ .id = id, .bytes = span_str(text) }));
}

void
read_new(struct fixture *f, const char *home, char *out, size_t size)
{
	char path[700], file[400] = "";
	struct dirent *e;
	FILE *in;
	DIR *d;

	(void)snprintf(path, sizeof(path), "%s/%s/new", f->dir, home);
	d = opendir(path);
	assert_non_null(d);
	while ((e = readdir(d)))
		if (e->d_name[0] != '.') {
			assert_string_equal(file, "");
			(void)snprintf(file, sizeof(file), "%s", e->d_name);
		}
	(void)closedir(d);
	assert_string_not_equal(file, "");
	(void)snprintf(path, sizeof(path), "%s/%s/new/%s", f->dir, home, file);
	in = fopen(path, "r");
	assert_non_null(in);
	out[fread(out, 1, size - 1, in)] = '\0';
	(void)fclose(in);
}
