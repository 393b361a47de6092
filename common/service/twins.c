/* SPDX-License-Identifier: ISC */
#include "service/twins.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log/log.h"

/* One that is asked for, or lives. */
struct twin {
	struct list node;
	uint64_t id;
	pid_t pid;
	int fd;
	char label[B_ADDRESS + 1];
};

static void
twin_free(struct twin *twin)
{
	explicit_bzero(twin, sizeof(*twin)); /* copies shall not know whose the others are */
	free(twin);
}

static void
tell_gone(const struct twins *t, uint64_t id, pid_t pid, bool crashed, struct span why)
{
	if (t->ctl)
		(void)ipc_send_ctl_gone(t->ctl, &(struct ipc_ctl_gone){ .id = id, .pid = (uint32_t)pid, .crashed = crashed, .why = why });
}

static void
on_exit_of(struct child_reaper *r, pid_t pid, int status)
{
	struct twins *t = OWNER_OF(r, struct twins, reaper);
	char text[64];

	child_status_text(status, text, sizeof(text));
	LIST_EACH(&t->living, it) {
		struct twin *twin = OWNER_OF(it, struct twin, node);

		if (twin->pid != pid)
			continue;
		tell_gone(t, twin->id, pid, child_crashed(status), span_str(text));
		list_remove(&twin->node);
		twin_free(twin);
	}
	if (!t->ctl && list_empty(&t->living))
		loop_stop(t->loop);
}

bool
twins_start(struct twins *t, struct loop *loop, struct channel *ctl, struct fail *why)
{
	t->loop = loop;
	t->ctl = ctl;
	list_init(&t->asked);
	list_init(&t->living);
	t->on = child_reaper_start(&t->reaper, loop, on_exit_of, why);
	return t->on;
}

void
twins_ask(struct twins *t, const struct ipc_ctl_fork *m, int fd)
{
	struct twin *twin = calloc(1, sizeof(*twin));

	if (!twin || !span_cstr(m->label, twin->label, sizeof(twin->label))) {
		free(twin);
		(void)close(fd);
		tell_gone(t, m->id, 0, false, SPAN("out of memory"));
		return;
	}
	twin->id = m->id;
	twin->fd = fd;
	list_push(&t->asked, &twin->node);
	loop_stop(t->loop);
}

bool
twins_make(struct twins *t, struct child_label *label)
{
	struct list *it;

	log_flush(); /* else each copy would write it, too */
	while ((it = list_shift(&t->asked))) {
		struct twin *twin = OWNER_OF(it, struct twin, node);
		struct fail why;

		twin->pid = child_twin(twin->fd, twin->label, label, &why);
		if (twin->pid == 0) {
			twin_free(twin);
			while ((it = list_shift(&t->asked)))
				twin_free(OWNER_OF(it, struct twin, node));
			return true;
		}
		explicit_bzero(twin->label, sizeof(twin->label));
		(void)close(twin->fd);
		if (twin->pid > 0) {
			list_push(&t->living, &twin->node);
			if (t->ctl)
				(void)ipc_send_ctl_forked(t->ctl, &(struct ipc_ctl_forked){ .id = twin->id, .pid = (uint32_t)twin->pid });
		} else {
			tell_gone(t, twin->id, 0, false, fail_text(&why));
			free(twin);
		}
	}
	return false;
}
