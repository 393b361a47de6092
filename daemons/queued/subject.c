/* SPDX-License-Identifier: ISC */
#include "base/queueid.h"
#include "daemons/queued/tool.h"

void
subject_init(struct subject *s, struct queue *q)
{
	*s = (struct subject){ .q = q };
	buf_init(&s->into, (size_t)JOURNAL_RECORD_MAX + 4096);
}

void
subject_free(struct subject *s)
{
	buf_free(&s->into);
}

void
subject_set(struct subject *s, const struct message *m, int64_t now_ms)
{
	s->m = m;
	s->now_ms = now_ms;
	s->nth = s->index = UINT32_MAX;
	s->journal = NOT_READ;
}

static uint64_t
number(const void *of, enum filter_field f)
{
	const struct subject *s = of;
	int64_t age = s->now_ms - queueid_time_ms(message_id(s->m));

	switch (f) {
	case FILTER_id:
		return message_id(s->m);
	case FILTER_age:
		return age > 0 ? (uint64_t)age : 0;
	case FILTER_size:
		return s->m->size;
	case FILTER_attempts:
		return s->m->attempts;
	default:
		return s->m->unsettled;
	}
}

/* The nth that is not settled; they are asked for one after the other. */
static bool
recipient(struct subject *s, uint32_t nth, struct span *out)
{
	uint32_t i = nth > 0 && s->nth == nth - 1 ? s->index + 1 : 0, skip = nth > 0 && i == 0 ? nth : 0;

	for (; i < s->m->nrcpts; i++) {
		if (s->m->rcpts[i].settled || skip-- > 0)
			continue;
		s->nth = nth;
		s->index = i;
		*out = text_span(s->m->rcpts[i].address);
		return true;
	}
	return false;
}

static bool
destination(const struct message *m, uint32_t nth, struct span *out)
{
	for (const struct entry *e = &m->first; e; e = e->next)
		if (e->d && nth-- == 0) {
			*out = destination_nexthop(e->d);
			return true;
		}
	return false;
}

static bool
of_envelope(const struct record_envelope *e, enum filter_field f, uint32_t nth, struct span *out)
{
	if (f == FILTER_client) {
		*out = nth ? e->client_addr : e->client_name;
		return nth < 2;
	}
	*out = f == FILTER_helo ? e->helo : f == FILTER_protocol ? e->protocol : f == FILTER_sasl ? e->sasl_user :
	    f == FILTER_message_id ? e->message_id : e->envid;
	return nth == 0;
}

static bool
from_journal(struct subject *s, enum filter_field f, uint32_t nth, struct span *out)
{
	struct span content;
	struct fail why;

	if (s->journal == NOT_READ) {
		buf_reset(&s->into);
		s->journal = queue_read(s->q, s->m, &s->into, &s->envelope, &content, &why) ? READ : UNREADABLE;
	}
	return s->journal == READ && of_envelope(&s->envelope, f, nth, out);
}

static bool
text(const void *of, enum filter_field f, uint32_t nth, struct span *out)
{
	struct subject *s = (struct subject *)(uintptr_t)of; /* what it has read is its cache */

	switch (f) {
	case FILTER_status:
		*out = span_str(queue_state(s->m));
		return nth == 0;
	case FILTER_from:
		*out = text_span(s->m->sender);
		return nth == 0;
	case FILTER_reason:
		*out = word_span(s->m->reason);
		return nth == 0;
	case FILTER_destination:
		return destination(s->m, nth, out);
	case FILTER_to:
	case FILTER_domain:
		return recipient(s, nth, out);
	default:
		return from_journal(s, f, nth, out);
	}
}

const struct filter_source subject_source = { number, text };

/* ---- on arrival ---- */

static uint64_t
arriving_number(const void *of, enum filter_field f)
{
	const struct record_envelope *e = of;

	return f == FILTER_size ? e->size : e->recipients;
}

static bool
arriving_recipient(const struct record_envelope *e, uint32_t nth, struct span *out)
{
	struct span list = e->list;
	struct record_recipient r;
	bool ok = true;

	while (record_list_next(&list, &record_desc_recipient, &r, &ok))
		if (nth-- == 0) {
			*out = r.address;
			return true;
		}
	return false;
}

static bool
arriving_text(const void *of, enum filter_field f, uint32_t nth, struct span *out)
{
	const struct record_envelope *e = of;

	if (f == FILTER_to || f == FILTER_domain)
		return nth < 1000 && arriving_recipient(e, nth, out); /* a long list is not walked for each of its items */
	if (f != FILTER_from)
		return of_envelope(e, f, nth, out);
	*out = e->sender;
	return nth == 0;
}

const struct filter_source arrival_source = { arriving_number, arriving_text };
