/* SPDX-License-Identifier: ISC
 *
 * From an address that is not redirected any more to its target: overrides,
 * mailboxes, relays, MX.
 */
#include <string.h>

#include "ipc/bounds.h"
#include "job.h"
#include "net/logins.h"
#include "way.h"

/* ---- the way out ---- */

/* error: and retry: begin with a code or not. */
static void
refuse_way(struct route_job *job, struct node *node, const struct way *way)
{
	bool lasting = way->transport == CONF_TRANSPORT_ERROR;
	struct span rest = way->nexthop, code = span_word(&rest);
	unsigned status = status_find_code(code);

	if (status == STATUS_NONE) {
		status = lasting ? STATUS_PERM : STATUS_TEMP;
		rest = way->nexthop;
	} else if (status_permanent(status) != lasting) {
		status = lasting ? STATUS_PERM : STATUS_TEMP;
	}
	job_refuse(job, node, lasting ? ROUTE_FAIL : ROUTE_DEFER, status, span_trim(rest));
}

/* The keys that a sender has in a table: as it is, without extension, @domain; <> for none. */
static size_t
sender_keys(struct route_job *job, const struct node *node, struct rules_key keys[3])
{
	struct span sender = node->sender.n ? node->sender : job->q.sender, base = rules_without_extension(job->rules, sender, &job->arena);
	size_t at = span_rchr(sender, '@'), n = 0;

	if (!sender.n)
		keys[n++] = rules_whole(SPAN("<>"));
	if (at == SIZE_MAX)
		return n;
	keys[n++] = rules_whole(sender);
	if (base.n)
		keys[n++] = rules_part(base);
	keys[n++] = rules_part(span_from(sender, at));
	return n;
}

/* The first key that the map has. 1 found, 0 not, -1 put off. */
static int
first_of(struct route_job *job, struct node *node, enum rules_map map, const struct rules_key *keys, size_t n, struct span *value, size_t *which)
{
	struct span table = SPAN("");
	struct fail why = { 0 };

	for (*which = 0; *which < n; ++*which)
		switch (rules_lookup(job->rules, map, keys[*which], &job->arena, value, &table, &why)) {
		case TABLE_FOUND:
			return 1;
		case TABLE_FAILED:
			job_put_off(job, node, STATUS_DIRECTORY_TEMP, why.text);
			return -1;
		default:
			break;
		}
	return 0;
}

/* The next hop without transport, brackets and port. */
static struct span
host_of(struct span nexthop)
{
	size_t close;

	if (span_starts(nexthop, SPAN("lmtp:inet:")))
		nexthop = span_from(nexthop, sizeof("lmtp:inet:") - 1);
	close = span_chr(nexthop, ']');
	if (nexthop.n && nexthop.p[0] == '[' && close != SIZE_MAX)
		return span_sub(nexthop, 1, close - 1);
	return span_sub(nexthop, 0, span_rchr(nexthop, ':'));
}

/* Whom to log in as at a next hop: by sender, by next hop, by its host. The value is shown to nobody. */
static void
find_login(struct route_job *job, struct node *node, struct span nexthop, struct buf *logins)
{
	struct rules_key keys[5];
	struct span value = SPAN_NONE;
	size_t n = 0, which;

	if (job->conf->smtp_sender_dependent_authentication)
		n = sender_keys(job, node, keys);
	keys[n++] = rules_whole(nexthop);
	keys[n++] = rules_whole(host_of(nexthop));
	if (first_of(job, node, RULES_SASL_PASSWORDS, keys, n, &value, &which) <= 0)
		return;
	if (value.n > B_LOGIN || !logins_put(logins, nexthop, value)) {
		job_put_off(job, node, STATUS_MISCONFIGURED, "smtp_sasl_password_maps has something else than user:password");
		return;
	}
	job_explain(job, node, "smtp_sasl_password_maps %.*s: logs in as %.*s", SPAN_ARG(keys[which].text), SPAN_ARG(span_sub(value, 0, span_chr(value, ':'))));
}

/* There, and at the fallback relays, which remoted goes to when nobody is there. */
static void
find_logins(struct route_job *job, struct node *node, const struct way *way, struct route_target *t)
{
	const struct conf_list *fallback = &job->conf->smtp_fallback_relay;
	struct buf logins;

	if (!rules_has_map(job->rules, RULES_SASL_PASSWORDS))
		return;
	buf_init(&logins, B_LOGINS);
	find_login(job, node, t->nexthop, &logins);
	for (size_t i = 0; way->transport == CONF_TRANSPORT_SMTP && i < fallback->n; i++)
		find_login(job, node, fallback->items[i], &logins);
	t->logins = arena_dup(&job->arena, buf_span(&logins));
	if (!buf_ok(&logins) || t->logins.n != buf_len(&logins))
		job_put_off(job, node, STATUS_MISCONFIGURED, "smtp_sasl_password_maps has too much for smtp_fallback_relay");
	buf_wipe(&logins);
}

static void
send_way(struct route_job *job, struct node *node, const struct parts *p, const struct way *way)
{
	struct route_target *t;

	if (way->transport == CONF_TRANSPORT_ERROR || way->transport == CONF_TRANSPORT_RETRY) {
		refuse_way(job, node, way);
		return;
	}
	if (job_settle(job, STATUS_RECIPIENT_OK, SPAN("")))
		return;
	t = job_target(job, node, way->transport == CONF_TRANSPORT_DISCARD ? ROUTE_DISCARD : ROUTE_REMOTE);
	if (!t || t->agent == ROUTE_DISCARD)
		return;
	t->nexthop = way_text(way, p->domain, &job->arena);
	job_explain(job, node, "to %.*s by %s", SPAN_ARG(t->nexthop), way->transport == CONF_TRANSPORT_LMTP ? "LMTP"
	    : "SMTP");
	find_logins(job, node, way, t);
}

/* ---- overrides ---- */

enum { NO_OVERRIDE = 2 };

/* 1 found, 0 not, -1 put off; NO_OVERRIDE: the table says to go on as if there were none. */
static int
transport_key(struct route_job *job, struct node *node, struct rules_key key, struct way *way)
{
	struct span value, which = SPAN("");
	struct fail why = { 0 };

	switch (rules_lookup(job->rules, RULES_TRANSPORT, key, &job->arena, &value, &which, &why)) {
	case TABLE_NONE:
		return 0;
	case TABLE_FOUND:
		job_explain(job, node, "transport_maps %.*s: %.*s is %.*s", SPAN_ARG(which), SPAN_ARG(key.text),
		    SPAN_ARG(value));
		if (span_eq(span_trim(value), SPAN(":")))
			return NO_OVERRIDE;
		if (way_parse(value, way, &why))
			return 1;
		job_put_off(job, node, STATUS_MISCONFIGURED, why.text);
		return -1;
	default:
		job_put_off(job, node, STATUS_DIRECTORY_TEMP, why.text);
		return -1;
	}
}

static int
transport_of(struct route_job *job, struct node *node, const struct parts *p, bool any, struct way *way)
{
	struct span rest = p->domain;
	size_t dot;
	int found;

	if (!rules_has_map(job->rules, RULES_TRANSPORT))
		return 0;
	found = transport_key(job, node, rules_whole(arena_printf(&job->arena, "%.*s@%.*s", SPAN_ARG(p->full),
	    SPAN_ARG(p->domain))), way);
	if (found == 0 && p->base.n < p->full.n)
		found = transport_key(job, node, rules_part(arena_printf(&job->arena, "%.*s@%.*s", SPAN_ARG(p->base),
		    SPAN_ARG(p->domain))), way);
	if (found == 0)
		found = transport_key(job, node, rules_part(p->domain), way);
	while (found == 0 && rest.n > 0 && (dot = span_chr(span_from(rest, 1), '.')) != SIZE_MAX) {
		rest = span_from(rest, dot + 1);
		found = transport_key(job, node, rules_part(rest), way);
	}
	if (found == 0 && any)
		found = transport_key(job, node, rules_part(SPAN("*")), way);
	return found == NO_OVERRIDE ? 0 : found;
}

static int
block_of(struct route_job *job, struct node *node, const struct parts *p, bool any, struct way *way)
{
	const struct conf_route *r;
	struct fail why;

	if (job->conf->nroutes == 0)
		return 0;
	r = conf_route_match(job->conf, arena_printf(&job->arena, "%.*s@%.*s", SPAN_ARG(p->full), SPAN_ARG(p->domain)));
	if (!r && p->base.n < p->full.n)
		r = conf_route_match(job->conf, arena_printf(&job->arena, "%.*s@%.*s", SPAN_ARG(p->base),
		    SPAN_ARG(p->domain)));
	if (!r || (!any && span_eq(r->name, SPAN("*"))))
		return 0;
	/* a block without nexthop is about TLS and limits, not about the way */
	if (r->nexthop.n == 0 && r->transport == CONF_TRANSPORT_SMTP)
		return 0;
	job_explain(job, node, "route %.*s: %.*s %.*s", SPAN_ARG(r->name), SPAN_ARG(conf_word_text(r->transport)),
	    SPAN_ARG(r->nexthop));
	if (way_nexthop(r->transport, r->nexthop, way, &why))
		return 1;
	job_put_off(job, node, STATUS_MISCONFIGURED, why.text);
	return -1;
}

/* Whether RCPT is to go by the tables of the class's recipients, wherever their mail goes. */
static bool
lists_recipients(const struct route_job *job, const struct node *node)
{
	return job->q.mode == ROUTE_CHECK && ((node->class == CLASS_LOCAL && rules_has_map(job->rules, RULES_LOCAL_RECIPIENTS)) ||
	    (node->class == CLASS_VIRTUAL_MAILBOX && rules_has_map(job->rules, RULES_VIRTUAL_MAILBOXES)));
}

bool
deliver_override(struct route_job *job, struct node *node, const struct parts *p)
{
	bool any = node->class == CLASS_REMOTE || node->class == CLASS_RELAY;
	struct way way;
	int found = transport_of(job, node, p, any, &way);

	if (found == 0)
		found = block_of(job, node, p, any, &way);
	if (found < 0)
		return true;
	if (found == 0 || (way.transport == CONF_TRANSPORT_LOCAL && !any))
		return false;
	if (way.transport == CONF_TRANSPORT_LOCAL) {
		job_put_off(job, node, STATUS_MISCONFIGURED,
		    "the domain's way is local, but it is in neither mydestination nor virtual_mailbox_domains");
		return true;
	}
	/* relay domains are checked for their recipients all the same */
	if (node->class == CLASS_RELAY && way.transport != CONF_TRANSPORT_ERROR && rules_has_map(job->rules,
	    RULES_RELAY_RECIPIENTS))
		return false;
	if (lists_recipients(job, node) && way.transport != CONF_TRANSPORT_ERROR && way.transport != CONF_TRANSPORT_RETRY)
		return false;
	send_way(job, node, p, &way);
	return true;
}

/* ---- mailboxes ---- */

static void
add_candidate(struct route_job *job, struct node *node, size_t max, struct span local, struct span domain)
{
	struct span key = arena_printf(&job->arena, "%.*s@%.*s", SPAN_ARG(local), SPAN_ARG(domain));

	for (size_t i = 0; i < node->ncandidates; i++)
		if (span_eq(node->candidates[i], key))
			return;
	if (key.p && node->ncandidates < max)
		node->candidates[node->ncandidates++] = key;
}

/* All local domains are one name space; the name may be kept under any of these. */
static void
local_candidates(struct route_job *job, struct node *node, const struct parts *p, size_t max)
{
	const struct span others[] = { job->conf->myorigin, job->conf->mydomain, job->conf->myhostname };
	enum rules_class class;
	struct span which;
	struct fail why;

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		if (!rules_class(job->rules, others[i], &job->arena, &class, &which, &why) || class != CLASS_LOCAL)
			continue;
		add_candidate(job, node, max, p->full, others[i]);
		add_candidate(job, node, max, p->base, others[i]);
	}
}

static void
ask_users(struct route_job *job, struct node *node, const struct parts *p)
{
	enum { MAX = 8 };

	node->candidates = arena_alloc(&job->arena, MAX * sizeof(struct span));
	if (!node->candidates) {
		job_put_off(job, node, STATUS_SYSTEM_LOCAL_TEMP, "out of memory");
		return;
	}
	add_candidate(job, node, MAX, p->full, p->domain);
	add_candidate(job, node, MAX, p->base, p->domain);
	if (node->class == CLASS_LOCAL)
		local_candidates(job, node, p, MAX);
	job->asking = node;
}

/* Where a mailbox of that class is delivered to, other than by ourselves. 1, 0, -1 as above. */
static int
mailbox_way(struct route_job *job, struct node *node, struct way *way)
{
	bool local = node->class == CLASS_LOCAL;
	struct span value = local ? job->conf->mailbox_transport : job->conf->virtual_transport;
	struct fail why;

	if (value.n == 0)
		return 0;
	if (!way_parse(value, way, &why)) {
		job_put_off(job, node, STATUS_MISCONFIGURED, why.text);
		return -1;
	}
	if (way->transport == CONF_TRANSPORT_LOCAL)
		return 0;
	job_explain(job, node, "%s is %.*s", local ? "mailbox_transport" : "virtual_transport", SPAN_ARG(value));
	return 1;
}

static void
deliver_mailbox(struct route_job *job, struct node *node, const struct route_user *user)
{
	struct span key = node->candidates[node->candidate];
	struct route_target *t;
	struct parts p;
	struct way way;
	int found;

	job_explain(job, node, "%.*s is a mailbox", SPAN_ARG(key));
	if (user->full && job->q.mode == ROUTE_CHECK) {
		job_explain(job, node, "which had no room for a message a moment ago");
		(void)job_settle(job, user->full, SPAN(""));
		return;
	}
	if (job_settle(job, STATUS_RECIPIENT_OK, SPAN("")))
		return;
	found = mailbox_way(job, node, &way);
	if (found < 0)
		return;
	if (found > 0) {
		job_parts(job, &node->address, &p);
		send_way(job, node, &p, &way);
		return;
	}
	t = job_target(job, node, ROUTE_LOCAL);
	if (!t)
		return;
	t->nexthop = arena_dup(&job->arena, span_from(key, span_rchr(key, '@') + 1));
	t->home = arena_dup(&job->arena, user->home);
	t->uid = user->uid;
	t->gid = user->gid;
	t->quota = user->quota;
	t->messages = user->messages;
	if (user->uid)
		job_explain(job, node, "into the mailbox %.*s of uid %u, whose forward file counts", SPAN_ARG(user->home), user->uid);
	else
		job_explain(job, node, "into the mailbox %.*s", SPAN_ARG(user->home));
}

/* Further names that exist, by table. True if it settled the node. */
static bool
known_by_table(struct route_job *job, struct node *node, const struct parts *p, enum rules_map map, bool bare,
    bool *known)
{
	struct span keys[5], value, which = SPAN("");
	bool has_ext = p->base.n < p->full.n;
	struct fail why = { 0 };
	size_t n = 0;

	*known = false;
	keys[n++] = arena_printf(&job->arena, "%.*s@%.*s", SPAN_ARG(p->full), SPAN_ARG(p->domain));
	keys[n++] = has_ext ? arena_printf(&job->arena, "%.*s@%.*s", SPAN_ARG(p->base), SPAN_ARG(p->domain))
	    : SPAN_NONE;
	keys[n++] = bare ? p->full : SPAN_NONE;
	keys[n++] = bare && has_ext ? p->base : SPAN_NONE;
	keys[n++] = arena_printf(&job->arena, "@%.*s", SPAN_ARG(p->domain));
	for (size_t i = 0; i < n && !*known; i++) {
		switch (keys[i].n ? rules_lookup(job->rules, map, (struct rules_key){ keys[i], i > 0 }, &job->arena, &value, &which, &why)
		    : TABLE_NONE) {
		case TABLE_FOUND:
			job_explain(job, node, "%s %.*s has %.*s", rules_map_name(map), SPAN_ARG(which),
			    SPAN_ARG(keys[i]));
			*known = true;
			break;
		case TABLE_FAILED:
			job_put_off(job, node, STATUS_DIRECTORY_TEMP, why.text);
			return true;
		default:
			break;
		}
	}
	return false;
}

/* RFC 5321 4.5.1: postmaster of a virtual domain is the one of this host. */
static bool
postmaster_here(struct route_job *job, struct node *node, const struct parts *p)
{
	const struct conf_list *local = &job->conf->mydestination;

	if (!span_eq(p->base, SPAN("postmaster")) || node->class == CLASS_LOCAL)
		return false;
	for (size_t i = 0; i < local->n; i++) {
		if (local->items[i].n == 0 || local->items[i].p[0] == '.' || span_chr(local->items[i], ':') != SIZE_MAX)
			continue;
		job_explain(job, node, "postmaster is the one of this host");
		job_child(job, node, arena_printf(&job->arena, "postmaster@%.*s", SPAN_ARG(local->items[i])),
		    node->sender, 0);
		return true;
	}
	return false;
}

static void
unknown_user(struct route_job *job, struct node *node, const struct parts *p)
{
	if (node->class == CLASS_LOCAL && expand_luser(job, node, p))
		return;
	if (postmaster_here(job, node, p))
		return;
	if (span_eq(p->base, SPAN("postmaster"))) {
		/* it has to exist: the mail waits until somebody sees to it */
		job_put_off(job, node, STATUS_MISCONFIGURED,
		    "there is neither an alias nor a mailbox for postmaster: add one (RFC 5321 4.5.1)");
		return;
	}
	job_explain(job, node, "%.*s: there is no such name", SPAN_ARG(address_text(&node->address)));
	job_refuse(job, node, ROUTE_FAIL, STATUS_BAD_MAILBOX, SPAN(""));
}

/* The user database does not have it; the table may. */
static void
deliver_by_table(struct route_job *job, struct node *node)
{
	bool local = node->class == CLASS_LOCAL, known;
	enum rules_map map = local ? RULES_LOCAL_RECIPIENTS : RULES_VIRTUAL_MAILBOXES;
	struct parts p;
	struct way way;
	int found;

	job_parts(job, &node->address, &p);
	if (known_by_table(job, node, &p, map, local, &known))
		return;
	if (!known) {
		unknown_user(job, node, &p);
		return;
	}
	if (job_settle(job, STATUS_RECIPIENT_OK, SPAN("")))
		return;
	found = mailbox_way(job, node, &way);
	if (found > 0)
		send_way(job, node, &p, &way);
	else if (found == 0)
		job_put_off(job, node, STATUS_MISCONFIGURED,
		    "the recipient is in a table, but no mailbox_transport or virtual_transport says where it is");
}

void
deliver_answer(struct route_job *job, struct node *node, const struct route_user *user)
{
	if (user->failed) {
		job_put_off(job, node, STATUS_MAILBOX_UNKNOWN_NOW, "the user database cannot be asked now");
		return;
	}
	if (user->exists)
		deliver_mailbox(job, node, user);
	else if (++node->candidate < node->ncandidates)
		job->asking = node;
	else
		deliver_by_table(job, node);
}

/* ---- by class ---- */

static void
deliver_remote(struct route_job *job, struct node *node, const struct parts *p)
{
	struct way way = { CONF_TRANSPORT_SMTP, SPAN("") };
	struct span relay = job->conf->relayhost, own;
	struct rules_key keys[3];
	bool by_sender = false;
	struct fail why;
	size_t which;

	if (rules_has_map(job->rules, RULES_SENDER_RELAY)) {
		int found = first_of(job, node, RULES_SENDER_RELAY, keys, sender_keys(job, node, keys), &own, &which);

		if (found < 0)
			return;
		by_sender = found && !span_caseeq(own, SPAN("DUNNO"));
		if (by_sender)
			relay = own;
	}
	if (relay.n > 0) {
		bool lmtp = span_starts(relay, SPAN("lmtp:"));

		if (by_sender)
			job_explain(job, node, "sender_dependent_relayhost_maps: %.*s sends by %.*s", SPAN_ARG(keys[which].text), SPAN_ARG(relay));
		else
			job_explain(job, node, "relayhost is %.*s", SPAN_ARG(relay));
		if (lmtp || span_starts(relay, SPAN("smtp:")) ? !way_parse(relay, &way, &why)
		    : !way_nexthop(CONF_TRANSPORT_SMTP, relay, &way, &why)) {
			job_put_off(job, node, STATUS_MISCONFIGURED, why.text);
			return;
		}
	}
	send_way(job, node, p, &way);
}

static void
deliver_relay(struct route_job *job, struct node *node, const struct parts *p)
{
	struct way way;
	bool known;
	int found;

	if (rules_has_map(job->rules, RULES_RELAY_RECIPIENTS)) {
		if (known_by_table(job, node, p, RULES_RELAY_RECIPIENTS, false, &known))
			return;
		if (!known) {
			unknown_user(job, node, p);
			return;
		}
		found = transport_of(job, node, p, true, &way);
		if (found == 0)
			found = block_of(job, node, p, true, &way);
		if (found != 0) {
			if (found > 0)
				send_way(job, node, p, &way);
			return;
		}
	}
	deliver_remote(job, node, p);
}

void
deliver_class(struct route_job *job, struct node *node, const struct parts *p)
{
	switch (node->class) {
	case CLASS_LOCAL:
	case CLASS_VIRTUAL_MAILBOX:
		ask_users(job, node, p);
		break;
	case CLASS_VIRTUAL_ALIAS:
		unknown_user(job, node, p);
		break;
	case CLASS_RELAY:
		deliver_relay(job, node, p);
		break;
	default:
		deliver_remote(job, node, p);
		break;
	}
}
