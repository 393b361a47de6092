/* SPDX-License-Identifier: ISC
 *
 * tally: what each channel has carried.  A channel that is silent shows nothing: a
 * run goes on until every one has carried its least, and fails if one never does.
 */
#include <stdio.h>
#include <string.h>

#include "tests/siblings/siblings.h"

enum { SENT = 20, HEARD = 10, AHEAD = 2000 };

/* What only a daemon that asks can be answered to: it must have asked, and have been answered as it should be; where it asks
 * much, it must have closed the channel on a violation, too, and have gone on to ask whom it was given instead. */
static const struct ask_row {
	const char *daemon, *channel, *peer;
	unsigned heard;
} asks[] = {
	{ "smtpd", "auth", "authd", HEARD },
	{ "smtpd", "intake", "queued", HEARD },
	{ "smtpd", "rcpt", "routed", HEARD },
	{ "smtpd", "sign", "keyd", HEARD },
	{ "smtpd", "certs", "keyd", 2 }, /* when it is told that there are others */
	{ "smtpd", "dns", "dnsd", HEARD },
	{ "smtpd", "filter", "verifyd", HEARD },
	{ "imapd", "auth", "authd", HEARD },
	{ "imapd", "sign", "keyd", HEARD },
	{ "imapd", "certs", "keyd", 1 },
	{ "imapd", "login", "userd", HEARD },
	{ "pop3d", "auth", "authd", HEARD },
	{ "pop3d", "sign", "keyd", HEARD },
	{ "pop3d", "certs", "keyd", 1 },
	{ "pop3d", "login", "userd", HEARD },
	{ "queued", "intake", "smtpd", HEARD }, /* what it answers to messages handed over */
	{ "queued", "route", "routed", HEARD },
	{ "queued", "deliver", "remoted", HEARD },
	{ "queued", "deliver", "locald", HEARD },
	{ "locald", "owner", "userd", HEARD },
	{ "locald", "mailbox", "deliverd", HEARD },
	{ "remoted", "sign", "keyd", 1 }, /* while its keyd is away, it shows no certificate and takes no TLS where it need not */
	{ "remoted", "certs", "keyd", 1 },
	{ "remoted", "dns", "dnsd", HEARD },
	{ "remoted", "tlspolicy", "stsd", HEARD },
	{ "remoted", "tlspolicy", "routed", HEARD },
	{ "verifyd", "dns", "dnsd", 4 }, /* a name is asked for every 5 seconds at most */
	{ "routed", "dns", "dnsd", 2 }, /* for clients of whom it has not asked, when all else is good */
	{ "routed", "users", "authd", HEARD },
	{ "stsd", "dns", "dnsd", HEARD },
	{ "tokend", "dns", "dnsd", HEARD },
	{ "authd", "token", "tokend", HEARD },
};

struct tally *
tally_of(struct rig *r, const struct ipc_channel *type, const char *peer)
{
	for (size_t i = 0; i < r->ntallies; i++)
		if (r->tallies[i].type == type && strcmp(r->tallies[i].peer, peer) == 0)
			return &r->tallies[i];
	if (r->ntallies == TALLIES)
		return NULL;
	r->tallies[r->ntallies] = (struct tally){ .type = type, .peer = peer };
	return &r->tallies[r->ntallies++];
}

void
tally_heard(struct tally *t)
{
	if (!t)
		return;
	t->heard++;
	t->resumed += t->shut;
	t->shut = false;
}

void
tally_closed(struct tally *t)
{
	if (!t)
		return;
	t->closed++;
	t->shut = true;
}

bool
tally_leads(const struct rig *r, const struct tally *t)
{
	uint64_t all = AHEAD;

	for (size_t i = 0; i < r->ntallies; i++)
		all += r->tallies[i].sent;
	return t && r->ntallies > 1 && t->sent > all / 2;
}

static const struct ask_row *
ask_of(const struct rig *r, const struct tally *t)
{
	for (size_t i = 0; i < sizeof(asks) / sizeof(asks[0]); i++)
		if (strcmp(asks[i].daemon, r->target->name) == 0 && strcmp(asks[i].channel, t->type->name) == 0 && strcmp(asks[i].peer, t->peer) == 0)
			return &asks[i];
	return NULL;
}

bool
tally_must_ask(const struct rig *r, const struct tally *t)
{
	return ask_of(r, t) != NULL;
}

static bool
enough(const struct rig *r, const struct tally *t)
{
	const struct ask_row *row = ask_of(r, t);

	if (t->serves && !row) /* what it asks there is up to it */
		return true;
	if (!row)
		return t->sent >= SENT;
	return t->heard >= row->heard && t->kept >= row->heard && (row->heard < HEARD || (t->closed && t->resumed));
}

bool
tally_enough(struct rig *r, bool tell)
{
	for (size_t i = 0; i < r->ntallies; i++) {
		const struct tally *t = &r->tallies[i];

		if (enough(r, t))
			continue;
		if (tell)
			(void)broke(r, "channel %s with %s carried too little: %llu sent, %llu as it should be, %llu heard, %llu times closed, gone on after %llu", t->type->name, t->peer,
			    (unsigned long long)t->sent, (unsigned long long)t->kept, (unsigned long long)t->heard, (unsigned long long)t->closed, (unsigned long long)t->resumed);
		return false;
	}
	return true;
}

void
tally_print(const struct rig *r)
{
	for (size_t i = 0; i < r->ntallies; i++) {
		const struct tally *t = &r->tallies[i];

		(void)printf("#   %s as %s: %llu sent, %llu of them as it should be, %llu out of state, %llu packets broken; %llu heard; %llu times closed, gone on after %llu\n",
		    t->type->name, t->peer, (unsigned long long)t->sent, (unsigned long long)t->kept, (unsigned long long)t->wrong, (unsigned long long)t->spoilt,
		    (unsigned long long)t->heard, (unsigned long long)t->closed, (unsigned long long)t->resumed);
	}
}
