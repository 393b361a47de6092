/* SPDX-License-Identifier: ISC
 *
 * verify, list, print.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/queueid.h"
#include "tools/common/term.h"
#include "tools/spoolcheck/spoolcheck.h"

enum { LINE_ROOM = 64 * 1024 * 1024 };

static void
put(struct buf *line)
{
	(void)fwrite(buf_span(line).p, 1, buf_len(line), stdout);
	buf_reset(line);
}

/* ---- verify ---- */

static void
say_broken(struct spoolcheck *c, uint64_t id, const struct fail *why)
{
	char text[QUEUEID_TEXT + 1];
	struct buf line;

	c->broken++;
	(void)queueid_text(id, text);
	if (!c->json) {
		(void)fprintf(stderr, "spoolcheck: %s: %s\n", text, why->text);
		return;
	}
	buf_init(&line, LINE_ROOM);
	buf_printf(&line, "{\"type\":\"message\",\"id\":\"%s\",\"problem\":", text);
	desc_json_string(&line, fail_text(why));
	buf_puts(&line, "}\n");
	put(&line);
	buf_free(&line);
}

static void
on_stray(void *arg, const char *name, uint64_t id)
{
	const struct spoolcheck *c = arg;

	(void)id;
	if (c->json)
		(void)printf("{\"type\":\"stray\",\"file\":\"blob/%s\"}\n", name);
	else
		(void)fprintf(stderr, "spoolcheck: blob/%s: a content without envelope\n", name);
}

static void
sum_up(const struct spoolcheck *c)
{
	const struct spool *s = &c->spool;

	if (c->json) {
		(void)printf("{\"type\":\"summary\",\"messages\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"broken\":%" PRIu64
		    ",\"damages\":%u,\"segments\":%u,\"gaps\":%u,\"records\":%" PRIu64 ",\"strays\":%u}\n", c->messages, c->bytes, c->broken,
		    s->damages, s->segments, s->gaps, s->records, s->strays);
		return;
	}
	(void)printf("%" PRIu64 " messages, %" PRIu64 " bytes; %" PRIu64 " records in %u segments; %u damaged places, %" PRIu64
	    " messages damaged\n", c->messages, c->bytes, s->records, s->segments, s->damages, c->broken);
	if (s->gaps)
		(void)printf("%u segments between these are not there: recycled when their mail was done, or lost\n", s->gaps);
}

int
spoolcheck_verify(struct spoolcheck *c)
{
	struct spool_item **all;
	struct fail why;
	uint64_t size;
	size_t n;

	if (!spoolcheck_load(c) || !(all = spool_sorted(&c->spool, &n)))
		return EXIT_TROUBLE;
	for (size_t i = 0; i < n; i++) {
		c->messages++;
		if (!spool_content(&c->spool, all[i], NULL, NULL, &size, &why))
			say_broken(c, all[i]->by_id.id, &why);
		c->bytes += size;
		spoolcheck_progress(c, "reading messages", i + 1, n);
	}
	free(all);
	if (!spool_strays(&c->spool, on_stray, c, &why))
		(void)spoolcheck_fail(NULL, &why);
	sum_up(c);
	return c->broken || c->spool.damages ? EXIT_DAMAGED : EXIT_GOOD;
}

/* ---- list ---- */

static void
json_message(const struct spool_item *i, const struct export_message *x, struct buf *line)
{
	char id[QUEUEID_TEXT + 1];
	struct record_recipient r;
	struct span list = x->envelope.list;
	bool ok = true, first = true;

	buf_printf(line, "{\"id\":\"%s\",\"arrived\":%" PRId64 ",\"size\":%" PRIu64 ",\"sound\":%s,\"held\":%s,\"sender\":",
	    queueid_text(i->by_id.id, id).p, queueid_time_ms(i->by_id.id) / 1000, x->envelope.size, i->sound ? "true" : "false",
	    x->envelope.held ? "true" : "false");
	desc_json_string(line, x->envelope.sender);
	buf_puts(line, ",\"message_id\":");
	desc_json_string(line, x->envelope.message_id);
	buf_printf(line, ",\"attempts\":%" PRIu32 ",\"reason\":", x->state.attempts);
	desc_json_string(line, x->state.reason);
	buf_puts(line, ",\"recipients\":[");
	while (record_list_next(&list, &record_desc_recipient, &r, &ok)) {
		if (r.settled)
			continue;
		if (!first)
			buf_putc(line, ',');
		first = false;
		desc_json_string(line, r.address);
	}
	buf_puts(line, "]}\n");
}

static void
put_quoted(struct buf *line, const char *before, struct span text, const char *behind)
{
	buf_puts(line, before);
	term_put(line, text);
	buf_puts(line, behind);
}

static void
text_message(const struct spool_item *i, const struct export_message *x, struct buf *line)
{
	char id[QUEUEID_TEXT + 1], when[40] = "";
	time_t t = (time_t)(queueid_time_ms(i->by_id.id) / 1000);
	struct span list = x->envelope.list;
	struct record_recipient r;
	struct tm tm;
	bool ok = true;

	if (gmtime_r(&t, &tm))
		(void)strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%SZ", &tm);
	buf_printf(line, "%-13s %10" PRIu64 "  %s", queueid_text(i->by_id.id, id).p, x->envelope.size, when);
	put_quoted(line, "  <", x->envelope.sender, ">");
	buf_printf(line, "%s%s\n", x->envelope.held ? "  held" : "", i->sound ? "" : "  damaged");
	if (x->state.reason.n)
		put_quoted(line, "    (", x->state.reason, ")\n");
	while (record_list_next(&list, &record_desc_recipient, &r, &ok))
		if (!r.settled)
			put_quoted(line, "    <", r.address, ">\n");
}

int
spoolcheck_list(struct spoolcheck *c)
{
	struct export_message x;
	struct spool_item **all;
	struct buf room, line;
	struct fail why;
	size_t n;

	if (!spoolcheck_load(c) || !(all = spool_sorted(&c->spool, &n)))
		return EXIT_TROUBLE;
	buf_init(&room, EXPORT_TEXT_MAX);
	buf_init(&line, LINE_ROOM);
	for (size_t i = 0; i < n; i++) {
		if (!spoolcheck_wanted(c, all[i]->by_id.id))
			continue;
		buf_reset(&room);
		c->messages++;
		if (!spool_message(all[i], &room, &x, &why)) {
			say_broken(c, all[i]->by_id.id, &why);
			continue;
		}
		c->bytes += x.envelope.size;
		c->broken += !all[i]->sound;
		if (c->json)
			json_message(all[i], &x, &line);
		else
			text_message(all[i], &x, &line);
		put(&line);
	}
	buf_free(&line);
	buf_free(&room);
	free(all);
	if (!c->json)
		sum_up(c);
	return c->broken || c->spool.damages ? EXIT_DAMAGED : EXIT_GOOD;
}

/* ---- print ---- */

static void
print_record(void *arg, const struct scan_record *r)
{
	const struct spoolcheck *c = arg;
	const struct desc *d = record_desc(r->r.type);
	union {
		struct record_envelope envelope;
		struct record_part part;
		struct record_outcome outcome;
		struct record_state state;
		struct record_destination destination;
	} u;
	struct buf out;

	if (r->pass == SCAN_AFTER)
		return;
	buf_init(&out, LINE_ROOM);
	if (!c->json) {
		record_print(&r->r, &out);
		buf_puts(&out, r->sound ? "\n" : " (damaged)\n");
	} else {
		buf_printf(&out, "{\"file\":\"%s\",\"offset\":%zu,\"sound\":%s,\"type\":%u,\"record\":", r->file, segment_offset(r->r.pos),
		    r->sound ? "true" : "false", r->r.type);
		if (d && record_get(d, &r->r, &u)) {
			if (r->r.type == RECORD_envelope)
				u.envelope.list = SPAN_NONE; /* binary: spoolcheck list has the recipients */
			if (r->r.type == RECORD_part)
				u.part.list = SPAN_NONE;
			if (r->r.type == RECORD_outcome)
				u.outcome.list = SPAN_NONE;
			buf_printf(&out, "{\"%s\":", d->name);
			desc_json(d, &u, &out);
			buf_putc(&out, '}');
		} else {
			buf_puts(&out, "null");
		}
		buf_puts(&out, "}\n");
	}
	put(&out);
	buf_free(&out);
}

static void
count_damage(void *arg, const char *file, uint64_t at, uint64_t n, const char *what)
{
	struct spoolcheck *c = arg;

	c->broken++;
	(void)fprintf(stderr, "spoolcheck: %s: at %" PRIu64 ": %" PRIu64 " %s\n", file, at, n, what);
}

int
spoolcheck_print(struct spoolcheck *c)
{
	struct scan s = { .vfs = c->spool.vfs, .dir = "journal", .kind = "queu", .arg = c, .on_record = print_record, .on_damage = count_damage };
	struct fail why;

	if (!scan_run(&s, &why))
		return spoolcheck_fail(NULL, &why);
	return c->broken ? EXIT_DAMAGED : EXIT_GOOD;
}
