/* SPDX-License-Identifier: ISC
 *
 * The rows of queued's answers, for people and as JSON (one object a line).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cursor.h"
#include "base/queueid.h"
#include "tools/mailctl/queue.h"

enum { ITEM_MAX = 64 * 1024 * 1024, BUCKETS = 10, NAMES_SHOWN = 3 };

static int64_t
wall_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void
answer_init(struct answer *a, struct mailctl *m)
{
	*a = (struct answer){ .m = m, .width = term_width(stdout), .now_ms = wall_ms() };
	term_progress_begin(&a->progress);
	buf_init(&a->item, ITEM_MAX);
	buf_init(&a->reason, B_REPLY);
}

void
answer_free(struct answer *a)
{
	term_progress_end(&a->progress);
	buf_free(&a->item);
	buf_free(&a->reason);
}

const char *
queue_time(uint64_t ms, char text[32])
{
	time_t t = (time_t)(ms / 1000);
	struct tm tm;

	text[0] = '\0';
	if (ms && localtime_r(&t, &tm))
		(void)strftime(text, 32, "%Y-%m-%d %H:%M:%S", &tm);
	return text;
}

static void
put_address(struct buf *out, struct span address)
{
	term_put(out, address.n ? address : SPAN("<>"));
}

static void
print_progress(struct answer *a, const struct ipc_queue_admin_progress *p)
{
	if (a->m->quiet || !term_progress_due(&a->progress))
		return;
	(void)fprintf(stderr, "\r\033[K%llu", (unsigned long long)p->looked_at);
	if (p->of)
		(void)fprintf(stderr, " of %llu", (unsigned long long)p->of);
	(void)fprintf(stderr, " messages looked at, %llu match", (unsigned long long)p->matched);
}

/* ---- messages ---- */

static void
end_item(struct answer *a)
{
	if (a->m->json) {
		buf_puts(&a->item, a->done ? "}" : "]}");
		(void)printf("%.*s\n", SPAN_ARG(buf_span(&a->item)));
		return;
	}
	if (a->expected > NAMES_SHOWN)
		buf_printf(&a->item, " and %u more", a->expected - NAMES_SHOWN);
	term_line(stdout, buf_span(&a->item), a->width);
	if (buf_len(&a->reason))
		term_line(stdout, buf_span(&a->reason), a->width);
}

static void
begin_json(struct answer *a, const struct ipc_queue_admin_item *item, const char *id)
{
	struct buf *out = &a->item;

	buf_printf(out, "{\"id\":\"%s\"", id);
	if (a->done)
		buf_printf(out, ",\"action\":\"%s\",\"dry_run\":%s", a->m->command->verb, a->m->dry_run ? "true" : "false");
	buf_printf(out, ",\"state\":\"%.*s\",\"expired\":%s,\"arrived\":%llu,\"size\":%llu,\"sender\":", SPAN_ARG(item->state),
	    item->expired ? "true" : "false", (unsigned long long)(item->arrived_ms / 1000), (unsigned long long)item->size);
	desc_json_string(out, item->sender);
	if (!a->done)
		buf_puts(out, ",\"recipients\":[");
}

static void
begin_item(struct answer *a, const struct ipc_queue_admin_item *item)
{
	uint64_t now = (uint64_t)a->now_ms, age = now > item->arrived_ms ? (now - item->arrived_ms) / 1000 : 0;
	char id[QUEUEID_TEXT + 1], size[16], when[16];

	term_progress_end(&a->progress);
	buf_reset(&a->item);
	buf_reset(&a->reason);
	a->expected = item->recipients;
	a->seen = 0;
	a->message = item->message;
	(void)queueid_text(item->message, id);
	if (a->m->json) {
		begin_json(a, item, id);
	} else if (a->done) {
		buf_printf(&a->item, "%s %s%s: %s, ", id, a->m->dry_run ? "would be " : "", a->done, term_size(item->size, size));
		put_address(&a->item, item->sender);
	} else {
		buf_printf(&a->item, "%-11s %-8.*s %5s %5s  ", id, SPAN_ARG(item->state), term_age(age, when), term_size(item->size, size));
		put_address(&a->item, item->sender);
	}
	if (a->expected == 0)
		end_item(a);
}

static void
json_recipient(struct answer *a, const struct ipc_queue_admin_item_rcpt *r)
{
	struct buf *out = &a->item;

	if (a->done)
		return;
	buf_puts(out, a->seen ? ",{\"address\":" : "{\"address\":");
	desc_json_string(out, r->address);
	buf_puts(out, ",\"reason\":");
	desc_json_string(out, buf_span(&a->reason));
	buf_puts(out, ",\"destination\":");
	desc_json_string(out, r->destination);
	buf_printf(out, ",\"attempts\":%u,\"next\":%llu}", r->attempts, (unsigned long long)(r->next_ms / 1000));
}

/* The second line: why it waits, and for how long. */
static void
put_reason(struct answer *a, const struct ipc_queue_admin_item_rcpt *r)
{
	uint64_t now = (uint64_t)a->now_ms;
	char when[16];

	if (!r->reason.n && !r->next_ms)
		return;
	buf_puts(&a->reason, "            ");
	term_put(&a->reason, r->reason);
	if (r->attempts)
		buf_printf(&a->reason, "%s%u attempt%s", r->reason.n ? "; " : "", r->attempts, r->attempts == 1 ? "" : "s");
	if (r->next_ms)
		buf_printf(&a->reason, "%snext %s%s", r->reason.n || r->attempts ? ", " : "", r->next_ms > now ? "in " : "now",
		    r->next_ms > now ? term_age((r->next_ms - now + 999) / 1000, when) : "");
}

static void
take_recipient(struct answer *a, const struct ipc_queue_admin_item_rcpt *r)
{
	if (a->m->json) {
		if (r->reason.n) { /* the first row has it for all */
			buf_reset(&a->reason);
			buf_put(&a->reason, r->reason);
		}
		json_recipient(a, r);
	} else {
		if (a->seen < NAMES_SHOWN) {
			buf_puts(&a->item, a->seen ? ", " : " -> ");
			term_put(&a->item, r->address);
		}
		if (a->seen == 0 && !a->done)
			put_reason(a, r);
	}
	if (++a->seen == a->expected)
		end_item(a);
}

/* ---- stats ---- */

static void
print_age(struct answer *a, const struct ipc_queue_admin_age *age)
{
	static const char *const names[BUCKETS] = { "5", "10", "20", "40", "80", "160", "320", "640", "1280", "1280+" };
	struct cursor c = cursor_of(age->buckets);
	struct buf line;

	buf_init(&line, 4096);
	if (a->m->json) {
		buf_puts(&line, "{\"domain\":");
		desc_json_string(&line, age->domain);
		buf_printf(&line, ",\"total\":%llu,\"age_minutes\":{", (unsigned long long)age->total);
		for (unsigned i = 0; i < BUCKETS; i++)
			buf_printf(&line, "%s\"%s\":%llu", i ? "," : "", names[i], (unsigned long long)cursor_le64(&c));
		buf_puts(&line, "}}");
		term_line(stdout, buf_span(&line), 0);
	} else if (!a->m->limit || a->ages <= a->m->limit) {
		/* As qshape has it: the domain at the right, as much of it as there is room for. */
		unsigned room = a->width && a->width < 96 ? (a->width > 75 ? a->width - 65 : 12) : 30;
		struct span name = age->domain;

		if (a->ages == 0) {
			buf_printf(&line, "%*s %6s", (int)room, "", "T");
			for (unsigned i = 0; i < BUCKETS; i++)
				buf_printf(&line, " %5s", names[i]);
			term_line(stdout, buf_span(&line), a->width);
			buf_reset(&line);
		}
		if (name.n > room)
			name = span_from(name, name.n - room);
		buf_printf(&line, "%*s", (int)(room - name.n), "");
		term_put(&line, name);
		buf_printf(&line, " %6llu", (unsigned long long)age->total);
		for (unsigned i = 0; i < BUCKETS; i++)
			buf_printf(&line, " %5llu", (unsigned long long)cursor_le64(&c));
		term_line(stdout, buf_span(&line), a->width);
	}
	a->ages++;
	buf_free(&line);
}

static void
print_destination(struct answer *a, const struct ipc_queue_admin_destination *d)
{
	uint64_t now = (uint64_t)a->now_ms;
	char when[16];
	struct buf line;

	buf_init(&line, 32768);
	if (a->m->json) {
		buf_puts(&line, "{\"destination\":");
		desc_json_string(&line, d->name);
		buf_printf(&line, ",\"waiting\":%llu,\"active\":%u,\"concurrency\":%u,\"limit\":%u,\"failures\":%u,\"next\":%llu,\"last\":",
		    (unsigned long long)d->waiting, d->active, d->concurrency, d->limit, d->failures, (unsigned long long)(d->next_ms / 1000));
		desc_json_string(&line, d->last);
		buf_puts(&line, "}");
	} else if (!a->m->limit || a->destinations < a->m->limit) {
		if (a->destinations == 0)
			(void)printf("\nWAITING ACTIVE  NOW  MAX FAILED  NEXT  DESTINATION\n");
		buf_printf(&line, "%7llu %6u %4u %4u %6u %5s  ", (unsigned long long)d->waiting, d->active, d->concurrency, d->limit, d->failures,
		    d->next_ms > now ? term_age((d->next_ms - now + 999) / 1000, when) : d->next_ms ? "now" : "-");
		term_put(&line, d->name);
		if (d->last.n) {
			buf_puts(&line, ": ");
			term_put(&line, d->last);
		}
	}
	if (buf_len(&line))
		term_line(stdout, buf_span(&line), a->m->json ? 0 : a->width);
	a->destinations++;
	buf_free(&line);
}

static void
print_counts(const struct answer *a, const struct ipc_queue_admin_counts *n)
{
	struct buf line;

	buf_init(&line, 200);
	if (a->m->json)
		buf_printf(&line, "{\"delivered\":%" PRIu64 ",\"deferred\":%" PRIu64 ",\"failed\":%" PRIu64 ",\"maybe_twice\":%" PRIu64 "}",
		    n->delivered, n->deferred, n->failed, n->maybe_twice);
	else
		buf_printf(&line, "since the start: %" PRIu64 " delivered, %" PRIu64 " times deferred, %" PRIu64 " failed, %" PRIu64 " maybe delivered twice",
		    n->delivered, n->deferred, n->failed, n->maybe_twice);
	if (!a->m->json)
		(void)putchar('\n');
	term_line(stdout, buf_span(&line), a->m->json ? 0 : a->width);
	buf_free(&line);
}

bool
answer_row(void *arg, unsigned type, const void *row)
{
	struct answer *a = arg;

	switch (type) {
	case IPC_queue_admin_item:
		begin_item(a, row);
		break;
	case IPC_queue_admin_item_rcpt:
		take_recipient(a, row);
		break;
	case IPC_queue_admin_age:
		term_progress_end(&a->progress);
		print_age(a, row);
		break;
	case IPC_queue_admin_destination:
		print_destination(a, row);
		break;
	case IPC_queue_admin_counts:
		print_counts(a, row);
		break;
	case IPC_queue_admin_progress:
		print_progress(a, row);
		break;
	default:
		break;
	}
	return true;
}

/* ---- history ---- */

/* The last lines, where there is a limit. */
struct ring {
	char **lines;
	uint64_t max, n; /* n: ever put in */
};

static void
keep_line(struct answer *a)
{
	struct ring *r = a->ring;
	char *line;

	term_progress_end(&a->progress);
	if (!a->m->limit) {
		term_line(stdout, buf_span(&a->item), a->m->json ? 0 : a->width);
		return;
	}
	if (!r) {
		uint64_t max = a->m->limit < 10000000 ? a->m->limit : 10000000;

		r = calloc(1, sizeof(*r));
		if (!r || !(r->lines = calloc((size_t)max, sizeof(*r->lines)))) {
			free(r);
			return;
		}
		r->max = max;
		a->ring = r;
	}
	line = strndup(buf_span(&a->item).p, buf_len(&a->item));
	free(r->lines[r->n % r->max]);
	r->lines[r->n++ % r->max] = line;
}

void
answer_past_end(struct answer *a)
{
	struct ring *r = a->ring;

	if (!r)
		return;
	for (uint64_t i = r->n > r->max ? r->n - r->max : 0; i < r->n; i++) {
		char *line = r->lines[i % r->max];

		if (line)
			term_line(stdout, span_str(line), a->m->json ? 0 : a->width);
		free(line);
	}
	free(r->lines);
	free(r);
	a->ring = NULL;
}

static void
begin_past(struct answer *a, const struct ipc_queue_admin_past *p)
{
	char id[QUEUEID_TEXT + 1], when[32], size[16];

	buf_reset(&a->item);
	a->expected = p->recipients;
	a->seen = 0;
	(void)queueid_text(p->message, id);
	if (a->m->json) {
		buf_printf(&a->item, "{\"id\":\"%s\",\"state\":\"%.*s\",\"at\":%llu,\"arrived\":%llu,\"size\":%llu,\"sender\":", id, SPAN_ARG(p->state),
		    (unsigned long long)(p->at_ms / 1000), (unsigned long long)(queueid_time_ms(p->message) / 1000), (unsigned long long)p->size);
		desc_json_string(&a->item, p->sender);
		buf_puts(&a->item, ",\"by\":");
		desc_json_string(&a->item, p->by);
		buf_puts(&a->item, ",\"recipients\":[");
	} else {
		buf_printf(&a->item, "%s %-11s %-9.*s %5s  ", queue_time(p->at_ms, when), id, SPAN_ARG(p->state), term_size(p->size, size));
		put_address(&a->item, p->sender);
	}
	if (a->expected == 0) {
		buf_puts(&a->item, a->m->json ? "]}" : "");
		keep_line(a);
	}
}

static void
take_past_recipient(struct answer *a, const struct ipc_queue_admin_past_rcpt *r)
{
	struct buf *out = &a->item;

	if (a->m->json) {
		buf_puts(out, a->seen ? ",{\"address\":" : "{\"address\":");
		desc_json_string(out, r->address);
		buf_printf(out, ",\"state\":\"%.*s\",\"code\":", SPAN_ARG(r->state));
		desc_json_string(out, r->code);
		buf_puts(out, ",\"peer\":");
		desc_json_string(out, r->peer);
		buf_puts(out, ",\"reply\":");
		desc_json_string(out, r->reply);
		buf_puts(out, "}");
	} else if (a->seen < NAMES_SHOWN) {
		buf_puts(out, a->seen ? ", " : " -> ");
		term_put(out, r->address);
		if (r->reply.n) {
			buf_puts(out, " (");
			term_put(out, r->peer);
			buf_puts(out, r->peer.n ? ": " : "");
			term_put(out, r->reply);
			buf_putc(out, ')');
		}
	}
	if (++a->seen < a->expected)
		return;
	if (a->m->json)
		buf_puts(out, "]}");
	else if (a->expected > NAMES_SHOWN)
		buf_printf(out, " and %u more", a->expected - NAMES_SHOWN);
	keep_line(a);
}

bool
answer_past_row(void *arg, unsigned type, const void *row)
{
	struct answer *a = arg;

	if (type == IPC_queue_admin_past)
		begin_past(a, row);
	else if (type == IPC_queue_admin_past_rcpt)
		take_past_recipient(a, row);
	else if (type == IPC_queue_admin_progress)
		print_progress(a, row);
	return true;
}
