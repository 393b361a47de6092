/* SPDX-License-Identifier: ISC */
#include "route.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "job.h"

enum { JOB_MEMORY = 192 * 1024 * 1024, WHY_MAX = 1900, TEXT_MAX = 1500 };

void
job_explain(struct route_job *job, const struct node *node, const char *fmt, ...)
{
	char text[TEXT_MAX];
	struct span s;
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	s = span_str(text);
	if (buf_space(&job->why) > s.n + 2) {
		if (buf_len(&job->why) > 0)
			buf_puts(&job->why, "; ");
		buf_put(&job->why, s);
	}
	if (job->ops.explain)
		job->ops.explain(job->ops.arg, node ? node->depth : 0, s);
}

void
job_parts(const struct route_job *job, const struct address *address, struct parts *p)
{
	struct span raw = address_local_raw(address, p->local_memory), user, detail;

	p->ext = SPAN("");
	p->full = p->base = raw;
	if (address_subaddress(raw, job->conf->recipient_delimiter, &user, &detail)) {
		p->base = span_sub(raw, 0, user.n);
		p->ext = span_from(address_local(address), user.n);
		if (raw.n != address->local_n) /* quoted: an extension of it cannot be carried over as it is */
			p->ext = SPAN("");
	}
	/* raw may lie in the address itself */
	if (raw.p != p->local_memory)
		memmove(p->local_memory, raw.p, raw.n);
	for (size_t i = 0; i < raw.n; i++)
		p->local_memory[i] = ascii_lower(p->local_memory[i]);
	p->full.p = p->base.p = p->local_memory;
	p->domain = address_domain(address);
	if (address->has_domain && !address->literal && !domain_to_ascii(address_domain(address), p->domain_memory,
	    &p->domain))
		p->domain = address_domain(address);
}

bool
job_settle(struct route_job *job, unsigned status, struct span text)
{
	if (job->q.mode != ROUTE_CHECK)
		return false;
	job->verdict = status;
	job->verdict_text = arena_dup(&job->arena, text);
	job->over = true;
	return true;
}

struct route_target *
job_target(struct route_job *job, const struct node *node, enum route_agent agent)
{
	struct route_target *t = ARENA_NEW(&job->arena, struct route_target);

	if (!t) {
		job_put_off(job, node, STATUS_SYSTEM_LOCAL_TEMP, "out of memory");
		return NULL;
	}
	t->agent = agent;
	t->address = node ? arena_dup(&job->arena, address_text(&node->address)) : job->q.address;
	t->sender = node ? node->sender : SPAN("");
	t->relay = node && node->class == CLASS_RELAY;
	*job->last = t;
	job->last = &t->next;
	job->ntargets++;
	return t;
}

static void
drop_targets(struct route_job *job)
{
	job->first = NULL;
	job->last = &job->first;
	job->ntargets = 0;
}

/* Nothing of the recipient may go out while a part of it is unknown: the next
 * attempt resolves anew and would send the other parts a second time. */
void
job_put_off(struct route_job *job, const struct node *node, unsigned status, const char *text)
{
	static const struct route_target none = { .agent = ROUTE_DEFER };
	struct route_target *t;

	job_explain(job, node, "put off: %s", text);
	if (job_settle(job, status, SPAN("")))
		return;
	drop_targets(job);
	job->over = true;
	t = ARENA_NEW(&job->arena, struct route_target);
	if (!t)
		return;
	*t = none;
	t->address = job->q.address;
	t->status = status;
	t->text = arena_dup(&job->arena, span_str(text));
	job->first = t;
	job->last = &t->next;
	job->ntargets = 1;
}

void
job_refuse(struct route_job *job, const struct node *node, enum route_agent agent, unsigned status, struct span text)
{
	struct route_target *t;

	if (job_settle(job, status, text))
		return;
	t = job_target(job, node, agent);
	if (!t)
		return;
	t->status = status;
	t->text = arena_dup(&job->arena, text);
}

/* ---- redirections ---- */

static struct span
seen_key(struct route_job *job, const struct address *a, unsigned flags)
{
	char *key = arena_alloc(&job->arena, (size_t)a->n + 1);

	if (!key)
		return SPAN_NONE;
	memcpy(key, a->text, a->n);
	key[a->n] = (char)flags;
	return span_of(key, (size_t)a->n + 1);
}

static bool
among_parents(const struct node *node, const struct address *a)
{
	for (; node; node = node->parent)
		if (address_eq(&node->address, a))
			return true;
	return false;
}

static void
add_node(struct route_job *job, struct node *parent, const struct address *a, struct span sender, unsigned flags)
{
	struct span key = seen_key(job, a, flags);
	struct node *n = key.p ? ARENA_NEW(&job->arena, struct node) : NULL;

	if (n && map_get(&job->seen, key)) {
		job_explain(job, parent, "%.*s: is there already", SPAN_ARG(address_text(a)));
		return;
	}
	if (!n || !map_put(&job->seen, &n->seen, key)) {
		job_put_off(job, parent, STATUS_SYSTEM_LOCAL_TEMP, "out of memory");
		return;
	}
	n->parent = parent;
	n->address = *a;
	n->sender = sender;
	n->depth = parent ? parent->depth + 1 : 0;
	n->no_virtual = flags & CHILD_NO_VIRTUAL;
	n->no_alias = flags & CHILD_NO_ALIAS;
	list_insert(job->insert, &n->pending);
	job->insert = &n->pending;
	job->nnodes++;
}

void
job_child(struct route_job *job, struct node *node, struct span text, struct span sender, unsigned flags)
{
	struct address a;
	struct fail why;

	if (job->over)
		return;
	if (!address_parse(&a, text, ADDRESS_UTF8 | ADDRESS_LONG_LOCAL, &why)) {
		job_explain(job, node, "\"%.*s\" is not an address", SPAN_ARG(text));
		job_refuse(job, node, ROUTE_FAIL, STATUS_LIST_EXPANSION, arena_printf(&job->arena,
		    "an alias leads to what is not an address: %.*s", SPAN_ARG(text)));
		return;
	}
	if (job->nnodes > job->conf->alias_expansion_limit) {
		job_put_off(job, node, STATUS_LIST_EXPANSION_TEMP, "more addresses than alias_expansion_limit");
		return;
	}
	if (node->depth >= job->conf->alias_recursion_limit) {
		job_explain(job, node, "more redirections than alias_recursion_limit");
		job_refuse(job, node, ROUTE_FAIL, STATUS_ALIAS_LOOP, SPAN("too many redirections follow one another"));
		return;
	}
	if (!(flags & (CHILD_NO_VIRTUAL | CHILD_NO_ALIAS)) && among_parents(node, &a)) {
		job_explain(job, node, "%.*s: a loop, cut here", SPAN_ARG(text));
		job->loops++;
		return;
	}
	add_node(job, node, &a, sender, flags | (node->no_alias && address_eq(&node->address, &a) ? CHILD_NO_ALIAS
	    : 0));
}

/* ---- one address ---- */

static bool
bare_postmaster(const struct route_job *job)
{
	return span_caseeq(job->q.address, SPAN("postmaster"));
}

/* RFC 5321 4.5.1: <postmaster> is for everybody, also where this host leaves the mail of myorigin to another. */
static bool
postmaster_of_origin(const struct route_job *job, const struct parts *p)
{
	return span_eq(p->full, SPAN("postmaster")) && span_caseeq(p->domain, job->conf->myorigin);
}

/* Whom hosts that verify our callouts' sender ask for: it exists, and has no mailbox. True if it settled the node. */
static bool
sender_of_callouts(struct route_job *job, struct node *node)
{
	if (node->class == CLASS_REMOTE || !span_caseeq(address_text(&node->address), job->conf->address_verify_sender))
		return false;
	job_explain(job, node, "it is the sender of callouts (address_verify_sender): thrown away");
	if (!job_settle(job, STATUS_RECIPIENT_OK, SPAN("")))
		(void)job_target(job, node, ROUTE_DISCARD);
	return true;
}

static void
start_node(struct route_job *job, struct node *node)
{
	struct parts p;
	struct span which;
	struct fail why;

	job_parts(job, &node->address, &p);
	if (!rules_class(job->rules, p.domain, &job->arena, &node->class, &which, &why)) {
		job_put_off(job, node, STATUS_DIRECTORY_TEMP, why.text);
		return;
	}
	if (node->class == CLASS_REMOTE)
		job_explain(job, node, "%.*s: %.*s is a domain elsewhere", SPAN_ARG(address_text(&node->address)),
		    SPAN_ARG(p.domain));
	else
		job_explain(job, node, "%.*s: %.*s is %s (%s has %.*s)", SPAN_ARG(address_text(&node->address)),
		    SPAN_ARG(p.domain),
		    rules_class_words(node->class), rules_class_option(node->class), SPAN_ARG(which));
	if (job->q.mode == ROUTE_CHECK && node->depth == 0 && node->class == CLASS_REMOTE && !job->q.may_relay &&
	    !postmaster_of_origin(job, &p)) {
		job_explain(job, node, "this client may not send to domains elsewhere");
		(void)job_settle(job, STATUS_RELAY_DENIED, SPAN(""));
		return;
	}
	if (sender_of_callouts(job, node))
		return;
	if (!node->no_virtual && expand_virtual(job, node, &p))
		return;
	if (deliver_override(job, node, &p))
		return;
	if (node->class == CLASS_LOCAL && !node->no_alias && expand_alias(job, node, &p))
		return;
	deliver_class(job, node, &p);
}

struct route_job *
route_new(struct rules *rules, const struct route_question *q, const struct route_job_ops *ops)
{
	struct route_job *job = calloc(1, sizeof(*job));
	struct address a;
	struct fail why;
	struct span text;

	if (!job)
		return NULL;
	job->rules = rules;
	job->conf = rules_conf(rules);
	job->ops = *ops;
	job->q = *q;
	arena_init(&job->arena, JOB_MEMORY);
	buf_init(&job->why, WHY_MAX);
	list_init(&job->pending);
	job->insert = &job->pending;
	map_init(&job->seen);
	drop_targets(job);
	job->q.address = arena_dup(&job->arena, q->address);
	job->q.sender = arena_dup(&job->arena, q->sender);
	text = job->q.address;
	if (bare_postmaster(job) || span_chr(text, '@') == SIZE_MAX) /* RFC 5321 4.1.1.3; local programs' names */
		text = arena_printf(&job->arena, "%.*s@%.*s", SPAN_ARG(text), SPAN_ARG(job->conf->myorigin));
	if (address_parse(&a, text, ADDRESS_UTF8 | ADDRESS_LONG_LOCAL, &why)) {
		add_node(job, NULL, &a, SPAN(""), 0);
	} else {
		job_explain(job, NULL, "%s", why.text);
		job_refuse(job, NULL, ROUTE_FAIL, STATUS_BAD_SYNTAX_RECIPIENT, fail_text(&why));
	}
	return job;
}

void
route_free(struct route_job **job)
{
	struct route_job *j = *job;

	if (!j)
		return;
	map_free(&j->seen);
	buf_free(&j->why);
	arena_free(&j->arena);
	free(j);
	*job = NULL;
}

/* What was found may be half of what there is, and what is no address may be half of one. */
static enum route_state
out_of_memory(struct route_job *job)
{
	job->asking = NULL;
	job_put_off(job, NULL, STATUS_SYSTEM_LOCAL_TEMP, "out of memory");
	return ROUTE_DONE;
}

enum route_state
route_run(struct route_job *job)
{
	while (!job->arena.failed && !job->asking && !job->over && !list_empty(&job->pending)) {
		struct node *node = OWNER_OF(list_shift(&job->pending), struct node, pending);

		job->insert = &job->pending;
		start_node(job, node);
	}
	if (job->arena.failed)
		return out_of_memory(job);
	if (job->asking && !job->over)
		return ROUTE_ASK_USER;
	if (!job->over && job->ntargets == 0) {
		job_explain(job, NULL, "every way leads back to itself");
		job_refuse(job, NULL, ROUTE_FAIL, STATUS_ALIAS_LOOP, SPAN("an alias leads back to itself"));
	}
	job->over = true;
	return ROUTE_DONE;
}

struct span
route_wanted_user(const struct route_job *job)
{
	return job->asking->candidates[job->asking->candidate];
}

void
route_answer_user(struct route_job *job, const struct route_user *user)
{
	struct node *node = job->asking;

	job->asking = NULL;
	job->insert = &job->pending;
	deliver_answer(job, node, user);
}

const struct route_target *
route_targets(const struct route_job *job)
{
	static const struct route_target out_of_memory = { .agent = ROUTE_DEFER, .status = STATUS_SYSTEM_LOCAL_TEMP };

	return job->first ? job->first : &out_of_memory;
}

unsigned
route_verdict(const struct route_job *job, struct span *text)
{
	*text = job->verdict_text;
	return job->verdict;
}

struct span
route_why(const struct route_job *job)
{
	return buf_span(&job->why);
}
