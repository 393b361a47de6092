/* SPDX-License-Identifier: ISC
 *
 * Redirections: virtual aliases, aliases, include files, luser_relay.
 */
#include <stdio.h>
#include <string.h>

#include "job.h"
#include "table/aliaslist.h"
#include "table/maptext.h"

/* Looks one key up and says so. 1 found, 0 not, -1 put off. */
static int
look(struct route_job *job, const struct node *node, enum rules_map map, struct rules_key key, struct span *value)
{
	struct span which = SPAN("");
	struct fail why = { 0 };

	switch (rules_lookup(job->rules, map, key, &job->arena, value, &which, &why)) {
	case TABLE_FOUND:
		job_explain(job, node, "%s %.*s: %.*s is %.*s", rules_map_name(map), SPAN_ARG(which), SPAN_ARG(key.text),
		    SPAN_ARG(*value));
		return 1;
	case TABLE_FAILED:
		job_put_off(job, node, STATUS_DIRECTORY_TEMP, why.text);
		return -1;
	default:
		return 0;
	}
}

static struct span
key_at(struct route_job *job, struct span local, struct span domain)
{
	return arena_printf(&job->arena, "%.*s@%.*s", SPAN_ARG(local), SPAN_ARG(domain));
}

/* ---- virtual_alias_maps ---- */

/* What an item of a virtual alias means: "@domain" keeps the name, a bare name is at myorigin. */
static struct span
virtual_address(struct route_job *job, const struct node *node, const struct parts *p, struct span item, bool by_base)
{
	size_t at = span_rchr(item, '@');
	struct span local = span_sub(item, 0, at);
	struct span domain = at == SIZE_MAX ? job->conf->myorigin : span_from(item, at + 1);

	if (at == 0)
		local = address_local(&node->address);
	else if (by_base && span_chr(local, '"') == SIZE_MAX) /* the extension goes along */
		local = arena_printf(&job->arena, "%.*s%.*s", SPAN_ARG(local), SPAN_ARG(p->ext));
	return key_at(job, local, domain);
}

static void
virtual_children(struct route_job *job, struct node *node, const struct parts *p, struct span value, bool by_base)
{
	struct aliaslist_item item;

	while (!job->over && aliaslist_next(&value, &job->arena, &item)) {
		struct span address;

		if (item.kind != ALIASLIST_ADDRESS) {
			job_explain(job, node, "%.*s: only addresses may stand in virtual_alias_maps",
			    SPAN_ARG(item.text));
			job_refuse(job, node, ROUTE_FAIL, STATUS_MISCONFIGURED_PERM,
			    SPAN("virtual_alias_maps has something else than an address"));
			continue;
		}
		address = virtual_address(job, node, p, item.text, by_base);
		job_child(job, node, address, node->sender, span_caseeq(address, address_text(&node->address))
		    ? CHILD_NO_VIRTUAL : 0);
	}
}

bool
expand_virtual(struct route_job *job, struct node *node, const struct parts *p)
{
	struct span keys[5], value;
	size_t n = 0;
	bool has_ext = p->base.n < p->full.n, local = node->class == CLASS_LOCAL;

	if (!rules_has_map(job->rules, RULES_VIRTUAL))
		return false;
	keys[n++] = key_at(job, p->full, p->domain);
	keys[n++] = has_ext ? key_at(job, p->base, p->domain) : SPAN_NONE;
	keys[n++] = local ? p->full : SPAN_NONE;
	keys[n++] = local && has_ext ? p->base : SPAN_NONE;
	keys[n++] = arena_printf(&job->arena, "@%.*s", SPAN_ARG(p->domain));
	for (size_t i = 0; i < n; i++) {
		int found = keys[i].n ? look(job, node, RULES_VIRTUAL, (struct rules_key){ keys[i], i > 0 }, &value) : 0;

		if (found == 0)
			continue;
		if (found > 0 && !job_settle(job, STATUS_RECIPIENT_OK, SPAN("")))
			virtual_children(job, node, p, value, i == 1 || i == 3);
		return true;
	}
	return false;
}

/* ---- alias_maps ---- */

struct list_origin {
	struct route_job *job;
	struct node *node;
	struct span sender;
};

/* Each include file is read once in a resolution, however often it is named:
 * files that include one another would multiply else. */
struct included {
	struct map_node seen;
};

static void alias_items(struct list_origin *o, struct span list);

static bool
on_include_line(void *arg, unsigned line, struct span content)
{
	struct list_origin *o = arg;

	(void)line;
	if (content.n > 0)
		alias_items(o, content);
	return !o->job->over;
}

static void
include_file(struct list_origin *o, struct span path)
{
	struct route_job *job = o->job;
	struct included *once = ARENA_NEW(&job->arena, struct included);
	struct span text, key = arena_printf(&job->arena, "%.*s\n", SPAN_ARG(path)); /* no address ends so */
	struct fail why;

	if (key.p && map_get(&job->seen, key)) {
		job_explain(job, o->node, "%.*s is included already", SPAN_ARG(path));
		return;
	}
	if (!once || !key.p || !map_put(&job->seen, &once->seen, key)) {
		job_put_off(job, o->node, STATUS_SYSTEM_LOCAL_TEMP, "out of memory");
		return;
	}
	job_explain(job, o->node, "includes %.*s", SPAN_ARG(path));
	if (!job->ops.include || !job->ops.include(job->ops.arg, path, &job->arena, &text, &why)) {
		job_put_off(job, o->node, STATUS_LIST_EXPANSION_TEMP, job->ops.include ? why.text
		    : "include files cannot be read here");
		return;
	}
	(void)maptext_lines(text, on_include_line, o);
}

static void
alias_address(struct list_origin *o, const struct aliaslist_item *item)
{
	struct route_job *job = o->job;
	struct node *node = o->node;
	struct span text = item->text;
	bool same;

	/* a bare name is in the name space the alias is in */
	if (span_chr(text, '@') == SIZE_MAX)
		text = key_at(job, text, address_domain(&node->address));
	same = span_caseeq(text, address_text(&node->address));
	job_child(job, node, text, o->sender, same || item->final ? CHILD_NO_VIRTUAL | CHILD_NO_ALIAS : 0);
}

/* Commands, and files but the one in which nothing can be kept: "noreply: /dev/null" is in aliases everywhere. */
static void
alias_output(struct list_origin *o, const struct aliaslist_item *item)
{
	if (item->kind == ALIASLIST_FILE && span_eq(item->text, SPAN("/dev/null"))) {
		job_explain(o->job, o->node, "/dev/null: thrown away");
		(void)job_target(o->job, o->node, ROUTE_DISCARD);
		return;
	}
	job_explain(o->job, o->node, "%.*s: mail is not given to commands and files", SPAN_ARG(item->text));
	job_refuse(o->job, o->node, ROUTE_FAIL, STATUS_POLICY, SPAN("an alias leads to a command or a file, which is not allowed here"));
}

static void
alias_items(struct list_origin *o, struct span list)
{
	struct aliaslist_item item;

	while (!o->job->over && aliaslist_next(&list, &o->job->arena, &item)) {
		switch (item.kind) {
		case ALIASLIST_ADDRESS:
			alias_address(o, &item);
			break;
		case ALIASLIST_INCLUDE:
			include_file(o, item.text);
			break;
		case ALIASLIST_COMMAND:
		case ALIASLIST_FILE:
			alias_output(o, &item);
			break;
		default:
			job_explain(o->job, o->node, "\"%.*s\" cannot be understood", SPAN_ARG(item.text));
			job_refuse(o->job, o->node, ROUTE_FAIL, STATUS_LIST_EXPANSION,
			    SPAN("an alias has an item that cannot be understood"));
			break;
		}
	}
}

/* Reports about a list go to owner-LIST, if there is such an alias. False: put off. */
static bool
list_sender(struct list_origin *o, struct span name)
{
	struct route_job *job = o->job;
	struct span key = arena_printf(&job->arena, "owner-%.*s", SPAN_ARG(name)), value, which = SPAN("");
	struct fail why = { 0 };

	o->sender = o->node->sender;
	if (job->q.sender.n == 0 || span_starts(name, SPAN("owner-"))) /* a report never causes one */
		return true;
	switch (rules_lookup(job->rules, RULES_ALIASES, rules_whole(key), &job->arena, &value, &which, &why)) {
	case TABLE_FOUND:
		o->sender = key_at(job, key, address_domain(&o->node->address));
		job_explain(job, o->node, "the sender becomes %.*s", SPAN_ARG(o->sender));
		return true;
	case TABLE_FAILED:
		job_put_off(job, o->node, STATUS_DIRECTORY_TEMP, why.text);
		return false;
	default:
		return true;
	}
}

bool
expand_alias(struct route_job *job, struct node *node, const struct parts *p)
{
	struct list_origin o = { .job = job, .node = node };
	struct span value, key = p->full;
	int found = look(job, node, RULES_ALIASES, rules_whole(key), &value);

	if (found == 0 && p->base.n < p->full.n) {
		key = p->base;
		found = look(job, node, RULES_ALIASES, rules_whole(key), &value);
	}
	if (found <= 0)
		return found < 0;
	if (!job_settle(job, STATUS_RECIPIENT_OK, SPAN("")) && list_sender(&o, key))
		alias_items(&o, value);
	return true;
}

bool
expand_luser(struct route_job *job, struct node *node, const struct parts *p)
{
	struct span relay = job->conf->luser_relay;

	(void)p;
	if (relay.n == 0)
		return false;
	if (relay.p[0] == '@')
		relay = key_at(job, address_local(&node->address), span_from(relay, 1));
	else if (span_chr(relay, '@') == SIZE_MAX)
		relay = key_at(job, relay, address_domain(&node->address));
	if (span_caseeq(relay, address_text(&node->address)))
		return false;
	job_explain(job, node, "luser_relay: to %.*s", SPAN_ARG(relay));
	if (!job_settle(job, STATUS_RECIPIENT_OK, SPAN("")))
		job_child(job, node, relay, node->sender, 0);
	return true;
}
