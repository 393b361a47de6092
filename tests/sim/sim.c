/* SPDX-License-Identifier: ISC */
#include "sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/queueid.h"
#include "queue/impl.h"

enum { START_MS = 1700000000, SEGMENT = 4 * 1024 * 1024, SLOW_MS = 3 * 3600 * 1000 };

struct pending {
	struct list node;
	int64_t at_ms;
	uint64_t job, ask; /* one of them */
	struct sim_answer *answers;
	uint32_t n;
	int host;
	unsigned health;
	struct buf content;
};

static int64_t
now_ms(void *arg)
{
	return ((struct sim *)arg)->now;
}

static void
later(struct sim *s, struct pending *p)
{
	struct list *after = s->pending.prev;

	while (after != &s->pending && OWNER_OF(after, struct pending, node)->at_ms > p->at_ms)
		after = after->prev;
	list_insert(after, &p->node);
}

static bool
route(void *arg, uint64_t ask, struct span address, struct span sender)
{
	struct sim *s = arg;
	struct pending *p;

	(void)sender;
	if (s->routing_down)
		return false;
	p = calloc(1, sizeof(*p) + address.n + 1);
	p->ask = ask;
	p->at_ms = s->now + (span_starts(address, SPAN("slow@")) ? SLOW_MS : 0);
	(void)span_cstr(address, (char *)(p + 1), address.n + 1);
	later(s, p);
	return true;
}

void
sim_target(struct sim *s, uint64_t ask, unsigned agent, struct span address)
{
	struct queue_target t = { .agent = (uint8_t)agent, .address = address };
	size_t at = span_rchr(address, '@');

	t.nexthop = agent > AGENT_LOCAL ? SPAN_NONE : span_from(address, at + 1);
	t.text = SPAN("scripted");
	t.status = agent == AGENT_FAIL ? 12 : 0;
	t.uid = agent == AGENT_LOCAL ? 1000 : 0; /* who owns his mailbox may forward */
	(void)queue_target(s->queue, ask, &t);
}

static void
route_by_name(struct sim *s, uint64_t ask, struct span address)
{
	if (span_starts(address, SPAN("alias@"))) {
		sim_target(s, ask, AGENT_REMOTE, SPAN("one@good.test"));
		sim_target(s, ask, AGENT_REMOTE, SPAN("two@second.test"));
	} else {
		sim_target(s, ask,
		    span_starts(address, SPAN("unknown@"))     ? AGENT_FAIL
		    : span_starts(address, SPAN("norouting@")) ? AGENT_DEFER
		    : span_ends(address, SPAN("@local.test"))  ? AGENT_LOCAL
							       : AGENT_REMOTE,
		    address);
	}
}

static void
answer_route(struct sim *s, struct pending *p)
{
	struct span address = span_str((char *)(p + 1));

	if (!s->route || !s->route(s, p->ask, address))
		route_by_name(s, p->ask, address);
	(void)queue_routed(s->queue, p->ask, SPAN("the script"));
}

int
sim_host_index(const struct sim *s, struct span name)
{
	for (unsigned i = 0; i < s->nhosts; i++)
		if (span_eq(span_str(s->hosts[i].name), name))
			return (int)i;
	return -1;
}

static bool
agent_ready(void *arg, unsigned agent)
{
	struct sim *s = arg;

	(void)agent;
	return s->busy < s->capacity;
}

static void
keep_content(struct sim *s, struct pending *p, const struct queue_job *job)
{
	struct vfs *v = &s->fs->vfs;
	size_t n = (size_t)job->m->size;
	char *to = job->fd < 0 ? NULL : buf_room(&p->content, n);

	if (job->fd < 0)
		buf_put(&p->content, job->content);
	else if (to && vfs_read_all(v, job->fd, to, n, 0))
		buf_added(&p->content, n);
}

static bool
deliver(void *arg, struct queue_job *job)
{
	struct sim *s = arg;
	int host = sim_host_index(s, destination_nexthop(job->d));
	struct pending *p = calloc(1, sizeof(*p));

	p->job = queue_job_id(job);
	p->n = job->nunits;
	p->host = host;
	p->answers = calloc(p->n, sizeof(*p->answers));
	p->at_ms = s->now;
	for (uint32_t i = 0; i < p->n; i++) {
		sim_host answer = host < 0 ? sim_good : s->hosts[host].answer;

		p->answers[i] = answer(s, host < 0 ? "" : s->hosts[host].name, unit_address(job->m, job->units[i]), job);
		if (p->answers[i].takes_ms > p->at_ms - s->now)
			p->at_ms = s->now + p->answers[i].takes_ms;
	}
	p->health = p->answers[0].health;
	buf_init(&p->content, 16 * 1024 * 1024);
	if (s->on_delivered)
		keep_content(s, p, job);
	if (host >= 0) {
		if (s->hosts[host].n < SIM_SEEN)
			s->hosts[host].seen[s->hosts[host].n] = (struct sim_try){ s->now, message_id(job->m), p->n, p->answers[0].outcome };
		s->hosts[host].n++;
		if (++s->hosts[host].active > s->hosts[host].most_active)
			s->hosts[host].most_active = s->hosts[host].active;
	}
	if (!job->sender.n && p->answers[0].outcome == OUTCOME_DELIVERED) {
		s->reports++;
		s->reported_ms = s->now;
	}
	s->busy++;
	later(s, p);
	return true;
}

static void
tell(struct sim *s, const struct pending *p, uint32_t i)
{
	LIST_EACH(&s->queue->job_list, it) {
		const struct queue_job *job = OWNER_OF(it, struct queue_job, node);

		if (queue_job_id(job) == p->job)
			s->on_delivered(s, job->m, unit_address(job->m, job->units[i]), buf_span(&p->content));
	}
}

static void
answer_job(struct sim *s, struct pending *p)
{
	s->busy--;
	if (p->host >= 0)
		s->hosts[p->host].active--;
	for (uint32_t i = 0; i < p->n; i++) {
		const struct sim_answer *a = &p->answers[i];
		struct queue_result r = { .outcome = (uint8_t)a->outcome, .code = span_str(a->code ? a->code : "2.0.0"),
			.peer = SPAN("host[192.0.2.1]:25"), .reply = span_str(a->reply ? a->reply : "250 2.0.0 ok"),
			.forwards = span_str(a->forwards), .kept = a->kept };

		if (a->outcome == OUTCOME_DELIVERED && s->on_delivered)
			tell(s, p, i);
		(void)queue_job_result(s->queue, p->job, i, &r);
		s->delivered += a->outcome == OUTCOME_DELIVERED;
		s->failed += a->outcome == OUTCOME_FAILED;
	}
	(void)queue_job_done(s->queue, p->job, p->health, span_str(p->answers[0].reply));
	free(p->answers);
	buf_free(&p->content);
}

static void
wake(void *arg, int64_t at_ms)
{
	struct sim *s = arg;

	if (at_ms <= s->now)
		s->soon = true;
	else if (at_ms < s->wake)
		s->wake = at_ms;
}

static uint32_t
next_random(void *arg)
{
	struct sim *s = arg;

	s->random = s->random * 1664525u + 1013904223u;
	return s->random >> 8;
}

struct sim_answer
sim_good(struct sim *s, const char *name, struct span recipient, const struct queue_job *job)
{
	(void)s, (void)name, (void)recipient, (void)job;
	return (struct sim_answer){ .outcome = OUTCOME_DELIVERED, .health = HEALTH_GOOD, .takes_ms = 20 };
}

struct sim_answer
sim_dead(struct sim *s, const char *name, struct span recipient, const struct queue_job *job)
{
	(void)s, (void)name, (void)recipient, (void)job;
	return (struct sim_answer){ .outcome = OUTCOME_DEFERRED, .health = HEALTH_UNREACHED, .takes_ms = 30000, .code = "4.4.1",
		.reply = "connection timed out" };
}

static void
on_event(void *arg, const struct fail *what)
{
	(void)arg;
	if (getenv("SIM_VERBOSE"))
		(void)fprintf(stderr, "event: %s\n", what->text);
}

static void
on_sparse(void *arg, uint64_t segment)
{
	struct sim *s = arg;

	if (!s->queue)
		return;
	s->compactions++;
	queue_compact(s->queue, segment);
}

static void
port_remove_blob(void *arg, const char *name, bool again)
{
	struct sim *s = arg;
	struct spare *place = again ? spares_place(&s->spares) : NULL;
	bool kept = place && spares_retire(&s->spares, place, name);

	if (place)
		spares_keep(&s->spares, place, kept);
	if (!kept)
		(void)blob_remove(&s->fs->vfs, name, NULL);
}

void
sim_open(struct sim *s)
{
	struct journal_options o = { .vfs = &s->fs->vfs, .dir = "journal", .kind = "queu", .segment_size = s->segment, .on_event = on_event,
		.on_sparse = on_sparse, .arg = s };
	struct queue_ports ports = { .arg = s, .now_ms = now_ms, .route = route, .agent_ready = agent_ready, .deliver = deliver,
		.wake = wake, .random = next_random, .limits = s->limits, .remove_blob = port_remove_blob };
	struct fail why;
	unsigned damaged;

	spares_init(&s->spares, &s->fs->vfs, "blob", 8, 1 << 20);
	s->wake = INT64_MAX;
	s->busy = 0;
	for (unsigned i = 0; i < s->nhosts; i++)
		s->hosts[i].active = 0;
	s->journal = journal_open(&o, &why);
	s->queue = s->journal ? queue_new(s->journal, &s->fs->vfs, &s->p, &ports) : NULL;
	if (!s->queue || !queue_recover(s->queue, &damaged, &why)) {
		(void)fprintf(stderr, "sim: %s\n", why.text);
		abort();
	}
	s->soon = true;
}

void
sim_init(struct sim *s)
{
	static const struct queue_params p = {
		.maximal_queue_lifetime = 5 * 86400000LL,
		.bounce_queue_lifetime = 5 * 86400000LL,
		.minimal_backoff_time = 300000,
		.maximal_backoff_time = 4000000,
		.queue_run_delay = 300000,
		.concurrency_limit = 20,
		.initial_concurrency = 5,
		.local_concurrency_limit = 100,
		.recipient_limit = 50,
		.bounce_size_limit = 50000,
		.inline_max = 61440,
		.content_cache = 1024 * 1024,
		.myhostname = { "sim.test", 8 },
	};

	*s = (struct sim){ .now = (int64_t)START_MS * 1000, .p = p, .capacity = 1000, .random = 1, .segment = SEGMENT };
	list_init(&s->pending);
	s->fs = memfs_new();
	(void)s->fs->vfs.ops->mkdir(&s->fs->vfs, "blob");
}

static void
drop_pending(struct sim *s)
{
	LIST_EACH(&s->pending, it) {
		struct pending *p = OWNER_OF(it, struct pending, node);

		list_remove(&p->node);
		free(p->answers);
		if (!p->ask)
			buf_free(&p->content);
		free(p);
	}
}

void
sim_free(struct sim *s)
{
	drop_pending(s);
	queue_free(&s->queue);
	spares_drop(&s->spares);
	journal_close(&s->journal);
	memfs_free(&s->fs);
	for (unsigned i = 0; i < s->nhosts; i++)
		free(s->hosts[i].seen);
}

void
sim_restart(struct sim *s)
{
	drop_pending(s);
	queue_free(&s->queue);
	spares_drop(&s->spares);
	journal_close(&s->journal);
	sim_open(s);
}

void
sim_host_add(struct sim *s, const char *name, sim_host answer)
{
	s->hosts[s->nhosts].name = name;
	s->hosts[s->nhosts].answer = answer;
	s->hosts[s->nhosts].seen = calloc(SIM_SEEN, sizeof(struct sim_try));
	s->nhosts++;
}

static bool
write_blob(struct sim *s, uint64_t id, struct span content)
{
	struct blob b;
	char name[40], temp[48];
	struct fail why;

	queue_blob_name(id, name);
	(void)snprintf(temp, sizeof(temp), "%s.new", name);
	return spares_create(&s->spares, &b, content.n, temp, name, &why) && blob_write(&b, content) && blob_commit_now(&b, &why);
}

uint64_t
sim_offer(struct sim *s, const char *sender, const char *recipients, struct span content,
    void (*on_done)(void *, uint64_t, const struct fail *), void *arg)
{
	struct record_envelope e = s->with;
	struct content *c = NULL;
	struct span rest = span_str(recipients), one;
	struct queue_parts parts;
	struct buf list;
	struct fail why;

	e.id = queueid_new(&s->next_id, s->now * 1000, 0);
	e.sender = span_str(sender);
	e.client_addr = SPAN("192.0.2.9");
	e.protocol = SPAN("ESMTP");
	e.size = content.n;
	e.blob = content.n > s->p.inline_max;
	if (!e.blob) {
		c = content_new(content.n + 1);
		buf_put(&c->bytes, content);
	} else if (!write_blob(s, e.id, content)) {
		return 0;
	}
	buf_init(&list, 8 * 1024 * 1024);
	queue_parts_init(&parts, s->parts ? s->parts : SIZE_MAX);
	while ((one = span_word(&rest)).n) {
		struct record_recipient r = { .address = one };

		(void)record_list_put(&list, &record_desc_recipient, &r);
		e.recipients++;
		queue_put_part(s->queue, &parts, e.id, buf_span(&list));
		if (s->parts && e.recipients == 3)
			(void)journal_sync(s->journal, NULL); /* somebody else's */
	}
	e.list = buf_span(&list);
	if (!queue_accept_list(s->queue, &e, NULL, &parts, c, on_done, arg, &why)) {
		if (getenv("SIM_VERBOSE"))
			(void)fprintf(stderr, "sim: %s\n", why.text);
		e.id = 0;
	}
	queue_parts_free(&parts);
	buf_free(&list);
	return e.id;
}

uint64_t
sim_accept(struct sim *s, const char *sender, const char *recipients)
{
	uint64_t id = sim_offer(s, sender, recipients, SPAN("Subject: test\r\n\r\nhello\r\n"), NULL, NULL);

	return journal_sync(s->journal, NULL) ? id : 0;
}

static void
settle(struct sim *s)
{
	for (;;) {
		if (s->soon) {
			s->soon = false;
			queue_run(s->queue);
			(void)journal_sync(s->journal, NULL);
		} else if (!list_empty(&s->pending) && OWNER_OF(s->pending.next, struct pending, node)->at_ms <= s->now) {
			struct pending *p = OWNER_OF(list_shift(&s->pending), struct pending, node);

			if (p->ask)
				answer_route(s, p);
			else
				answer_job(s, p);
			free(p);
			s->soon = true;
		} else {
			break;
		}
	}
}

void
sim_run(struct sim *s, int64_t until)
{
	for (;;) {
		int64_t next = s->wake;

		settle(s);
		next = s->wake;
		if (!list_empty(&s->pending) && OWNER_OF(s->pending.next, struct pending, node)->at_ms < next)
			next = OWNER_OF(s->pending.next, struct pending, node)->at_ms;
		if (next > until)
			break;
		if (next >= s->wake) {
			s->wake = INT64_MAX;
			s->soon = true;
		}
		s->now = next;
	}
	if (until != INT64_MAX)
		s->now = until;
}
