/* SPDX-License-Identifier: ISC
 *
 * limits: the rows of sys/limits.def as every process counts them.
 */
#include <stdio.h>

#include "sys/limits.h"
#include "tools/common/term.h"
#include "tools/mailctl/queue.h"

static void
print_json(const struct ipc_suite_admin_limit *l)
{
	struct buf line;

	buf_init(&line, 4096);
	buf_printf(&line, "{\"limit\":\"%s\",\"program\":", limit_rows[l->row].name);
	desc_json_string(&line, l->process);
	buf_printf(&line, ",\"instance\":%u,\"unit\":\"%s\",\"bound\":%llu,\"use\":%llu,\"peak\":%llu,\"hits\":%llu", l->instance, limit_rows[l->row].unit,
	    (unsigned long long)l->bound, (unsigned long long)l->used, (unsigned long long)l->peak, (unsigned long long)l->hits);
	if (l->hits) {
		buf_printf(&line, ",\"last\":%llu,\"who\":", (unsigned long long)(l->last_ms / 1000));
		desc_json_string(&line, l->who);
	}
	buf_puts(&line, "}");
	term_line(stdout, buf_span(&line), 0);
	buf_free(&line);
}

static void
print_text(const struct ipc_suite_admin_limit *l)
{
	struct buf line;
	char when[32];

	buf_init(&line, 4096);
	buf_printf(&line, "%-36s %-9.*s %3u  %12llu %12llu %12llu  %-9s", limit_rows[l->row].name, SPAN_ARG(l->process), l->instance,
	    (unsigned long long)l->used, (unsigned long long)l->peak, (unsigned long long)l->bound, limit_rows[l->row].unit);
	if (l->hits) {
		buf_printf(&line, "  %llu times, last at %s: ", (unsigned long long)l->hits, queue_time(l->last_ms, when));
		term_put(&line, l->who);
	}
	term_line(stdout, buf_span(&line), 0);
	buf_free(&line);
}

static void
print_limit(const struct mailctl *m, const void *row)
{
	const struct ipc_suite_admin_limit *l = row;

	if (l->row < LIMIT_COUNT)
		(m->json ? print_json : print_text)(l);
}

int
limits_cmd(struct mailctl *m)
{
	struct channel_sync *c = mailctl_connect(m, &ipc_channel_suite_admin);
	int status = EX_UNAVAILABLE_;

	if (!c)
		return status;
	if (!m->json)
		(void)printf("%-36s %-9s %3s  %12s %12s %12s  %-9s  %s\n", "LIMIT", "PROCESS", "", "USE", "PEAK", "BOUND", "OF", "REACHED");
	if (mailctl_send(c, IPC_suite_admin_limits, &(struct ipc_suite_admin_limits){ .id = 1 }))
		status = suite_rows(m, c, IPC_suite_admin_limit, print_limit);
	channel_sync_free(&c);
	return status;
}
