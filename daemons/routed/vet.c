/* SPDX-License-Identifier: ISC
 *
 * What a recipient that is known to be good still has to pass: DNS lists and
 * greylisting of strangers, then callouts, which cost most.
 */
#include <inttypes.h>

#include "mail/status.h"
#include "request.h"

/* What is verified, in this order. */
enum vet_step { VET_SENDER, VET_RECIPIENT, VET_OVER };

static void verify(struct request *r);

/* ---- strangers: neither ours, nor let pass by a rule ---- */

static void
prepend(struct request *r, struct span field)
{
	r->access.prepend = r->access.prepend.n ? arena_printf(&r->access_mem, "%.*s%.*s", SPAN_ARG(r->access.prepend), SPAN_ARG(field)) : field;
}

static void
refuse(struct request *r, unsigned status, struct span text, struct span why)
{
	r->access.status = status;
	r->access.text = text;
	r->access.why = why;
}

static void
greylist(struct request *r)
{
	struct routed *d = r->client->daemon;
	const struct conf *conf = d->service->conf;
	int64_t waited_s;
	struct fail why;

	if (!conf->smtpd_greylist)
		return;
	switch (greylist_check(&d->greylist, r->client_addr, r->question.sender, r->question.address,
	    loop_wall_ms(d->service->loop) / 1000, &waited_s, &why)) {
	case GREYLIST_WAIT:
		refuse(r, STATUS_GREYLISTED, SPAN_NONE, SPAN("smtpd_greylist: the first attempts of this sender, network and recipient"));
		break;
	case GREYLIST_PASSED:
		prepend(r, arena_printf(&r->access_mem, "X-Greylist: delayed %" PRId64 " seconds by greylisting at %.*s\r\n", waited_s,
		    SPAN_ARG(conf->myhostname)));
		break;
	case GREYLIST_KNOWN:
	case GREYLIST_NETWORK:
		prepend(r, arena_printf(&r->access_mem, "X-Greylist: whitelisted, not delayed by greylisting at %.*s\r\n", SPAN_ARG(conf->myhostname)));
		break;
	case GREYLIST_UNABLE:
		if (why.text[0])
			log_put(LOG_failure, "greylist: %s", why.text);
		break;
	}
}

static void
judged(struct request *r, const struct repute_answer *a)
{
	const struct conf *conf = r->client->daemon->service->conf;

	if (a->score > 0 && (uint64_t)a->score >= conf->smtpd_dnsbl_threshold)
		refuse(r, STATUS_DENIED, arena_printf(&r->access_mem, "Client host [%.*s] blocked by %.*s", SPAN_ARG(r->client_addr),
		    SPAN_ARG(a->hits)), arena_printf(&r->access_mem, "smtpd_dnsbl_sites: %.*s = %d", SPAN_ARG(a->hits), a->score));
	else if (a->score >= 0)
		greylist(r);
	verify(r);
}

static void
on_repute(struct repute_question *q, const struct repute_answer *a)
{
	judged(OWNER_OF(q, struct request, repute), a);
}

void
vet(struct request *r)
{
	static const struct repute_answer friend = { .score = -1 };
	struct repute_answer a;
	struct span text;

	if (status_get(route_verdict(r->job, &text))->class != FAIL_NONE)
		request_reply(r);
	else if (r->question.may_relay || r->access.permit)
		judged(r, &friend);
	else if (repute_ask(&r->client->daemon->repute, &r->repute, r->client_addr, &a))
		judged(r, &a);
}

/* ---- callouts ---- */

/* The address of this step, if it is to be verified. */
static struct span
subject(const struct request *r)
{
	const struct routed *d = r->client->daemon;
	const struct access_verdict *a = &r->access;
	struct span address = r->step == VET_SENDER ? r->question.sender : r->question.address;
	bool wanted = r->step == VET_SENDER ? a->verify_sender
	    : a->verify_recipient || (d->service->conf->smtpd_verify_relay_recipients && !r->question.may_relay && !a->permit);

	return wanted && !r->vrfy && !verify_is_ours(&d->verify, address) ? address : SPAN_NONE;
}

static struct span
age(struct request *r, const struct verify_answer *a)
{
	return a->age_s < 0 ? SPAN("asked now") : arena_printf(&r->access_mem, "%" PRId64 " seconds ago", a->age_s);
}

/* The status of a refusal with that reply code: the host's own where it is of that class. */
static unsigned
status_for(const struct request *r, uint64_t code, const struct verify_answer *a)
{
	bool lasting = code >= 500;
	unsigned told = a->outcome == CALLOUT_REFUSES && r->step == VET_RECIPIENT ? status_find_code(a->code) : STATUS_NONE;

	if (told != STATUS_NONE && status_permanent(told) == lasting)
		return told;
	if (r->step == VET_SENDER)
		return lasting ? STATUS_SENDER_UNVERIFIED : STATUS_SENDER_UNVERIFIED_NOW;
	return lasting ? STATUS_BAD_MAILBOX : STATUS_MAILBOX_UNKNOWN_NOW;
}

/* Which hosts are asked and what they say when they cannot be is no stranger's business; the log has it. */
static void
settle(struct request *r, const struct verify_answer *a)
{
	const struct conf *conf = r->client->daemon->service->conf;
	bool sender = r->step == VET_SENDER, gone = a->outcome == CALLOUT_REFUSES;
	const char *what = sender ? "Sender address" : "Recipient address";
	struct span address = sender ? r->question.sender : r->question.address;
	struct span reason = sender ? conf->unverified_sender_reject_reason : conf->unverified_recipient_reject_reason, text, why;
	uint64_t code = sender ? (gone ? conf->unverified_sender_reject_code : conf->unverified_sender_defer_code)
	    : gone ? conf->unverified_recipient_reject_code : conf->unverified_recipient_defer_code;

	why = arena_printf(&r->access_mem, "callout for %.*s: %.*s%s%.*s (%.*s)", SPAN_ARG(address), SPAN_ARG(span_sub(a->peer, 0, 300)),
	    a->peer.n ? " says " : "", SPAN_ARG(span_sub(a->reply, 0, 600)), SPAN_ARG(age(r, a)));
	if (a->outcome == CALLOUT_TAKES) {
		r->verified = arena_printf(&r->access_mem, "%.*s; %.*s", SPAN_ARG(r->verified), SPAN_ARG(span_sub(why, 0, 900)));
		return;
	}
	if (!gone)
		text = arena_printf(&r->access_mem, "%s cannot be verified now, try again later", what);
	else if (reason.n)
		text = reason;
	else
		text = arena_printf(&r->access_mem, "%s rejected: undeliverable: %.*s", what, SPAN_ARG(span_sub(a->reply, 0, 300)));
	refuse(r, status_for(r, code, a), text, r->access.why.n ? arena_printf(&r->access_mem, "%.*s; %.*s", SPAN_ARG(r->access.why), SPAN_ARG(why)) : why);
	r->access.reply = (unsigned)code;
}

/* Nothing of the kind that a callout could be made for. */
static const char *
not_callable(const struct request *r, const struct route_target *t)
{
	if (t->next)
		return "it stands for several addresses";
	if (t->agent == ROUTE_LOCAL || t->agent == ROUTE_DISCARD)
		return "it is delivered on this host";
	if (r->kind == REQUEST_RCPT && r->step == VET_RECIPIENT && !r->access.verify_recipient && !t->relay)
		return "it is not in a relay domain";
	return verify_is_ours(&r->client->daemon->verify, t->address) ? "it is the sender of callouts" : NULL;
}

enum found { FOUND_ANSWER, FOUND_NOTHING_TO_ASK, FOUND_WAITING };

/* By where the address goes: a callout, or what is known without one. */
static enum found
find(struct request *r, const struct route_job *job, struct verify_answer *a, const char **why)
{
	const struct route_target *t = route_targets(job);
	struct routed *d = r->client->daemon;
	struct verify_way way = { t->nexthop, t->address, verify_sender(d->service->conf), t->logins };
	const struct status *status = status_get(t->status);

	*why = not_callable(r, t);
	if (*why)
		return FOUND_NOTHING_TO_ASK;
	if (t->agent == ROUTE_REMOTE)
		return verify_ask(&d->verify, &r->verify, t->address, &way, r->fresh, &r->access_mem, a) ? FOUND_ANSWER : FOUND_WAITING;
	*a = (struct verify_answer){ .outcome = t->agent == ROUTE_FAIL ? CALLOUT_REFUSES : CALLOUT_LATER, .code = span_str(status->code),
		.reply = arena_dup(&r->access_mem, t->text.n ? t->text : span_str(status->text)), .age_s = -1 };
	return FOUND_ANSWER;
}

/* Goes on with r->way. False: something is waited for. */
static bool
go_on(struct request *r)
{
	struct routed *d = r->client->daemon;
	struct route_user user;
	struct verify_answer a;
	enum found found;
	const char *why;

	while (route_run(r->way) == ROUTE_ASK_USER) {
		if (!users_ask(&d->users, &r->user, route_wanted_user(r->way), &user))
			return false;
		route_answer_user(r->way, &user);
	}
	found = find(r, r->way, &a, &why);
	route_free(&r->way);
	if (found == FOUND_ANSWER)
		settle(r, &a);
	return found != FOUND_WAITING;
}

/* False: something is waited for. */
static bool
begin(struct request *r, struct span address)
{
	struct routed *d = r->client->daemon;
	struct route_question q = { ROUTE_RESOLVE, address, verify_sender(d->service->conf), true, true };
	struct route_job_ops ops = { request_include, NULL, r };
	const struct verify_answer later = { .outcome = CALLOUT_LATER, .reply = SPAN("out of memory"), .age_s = -1 };

	r->way = route_new(d->rules, &q, &ops);
	if (r->way)
		return go_on(r);
	settle(r, &later);
	return true;
}

static void
verify(struct request *r)
{
	for (; r->step < VET_OVER && !r->access.status; r->step++) {
		struct span address = subject(r);

		if (address.n && !begin(r, address))
			return;
	}
	request_reply(r);
}

void
vet_on_user(struct request *r, const struct route_user *user)
{
	route_answer_user(r->way, user);
	if (!go_on(r))
		return;
	r->step++;
	verify(r);
}

void
vet_again(struct request *r)
{
	route_free(&r->way);
	verify(r);
}

/* ---- for a tool ---- */

static void
tell(struct request *r, const struct verify_answer *a)
{
	static const char *const words[] = { [CALLOUT_TAKES] = "takes it", [CALLOUT_LATER] = "it cannot be known now", [CALLOUT_REFUSES] = "refuses it" };

	request_say(r, arena_printf(&r->access_mem, "%.*s%s%s: %.*s (%.*s)", SPAN_ARG(a->peer), a->peer.n ? " " : "", words[a->outcome], SPAN_ARG(a->reply),
	    SPAN_ARG(age(r, a))));
	request_done(r, a->outcome == CALLOUT_TAKES, a->outcome == CALLOUT_TAKES ? SPAN("") : a->outcome == CALLOUT_REFUSES ? SPAN("mail for this address would be refused")
	    : SPAN("mail for this address would be put off"));
}

void
vet_address(struct request *r)
{
	struct verify_answer a;
	const char *why;

	switch (find(r, r->job, &a, &why)) {
	case FOUND_ANSWER:
		tell(r, &a);
		break;
	case FOUND_NOTHING_TO_ASK:
		request_say(r, arena_printf(&r->access_mem, "no callout: %s", why));
		request_done(r, true, SPAN(""));
		break;
	case FOUND_WAITING:
		break;
	}
}

static void
on_verified(struct verify_question *q, const struct verify_answer *a)
{
	struct request *r = OWNER_OF(q, struct request, verify);

	if (r->kind == REQUEST_VERIFY) {
		tell(r, a);
		return;
	}
	settle(r, a);
	r->step++;
	verify(r);
}

void
vet_init(struct request *r)
{
	r->repute.on_answer = on_repute;
	r->verify.on_answer = on_verified;
}
