/* SPDX-License-Identifier: ISC
 *
 * rate: how often something happened within anvil_rate_time_unit, by kind and
 * key; for all processes of smtpd together, as they all ask here. Bounded: when it is
 * full the counter that began first is forgotten.
 */
#ifndef ROUTED_RATE_H
#define ROUTED_RATE_H

#include "base/list.h"
#include "base/map.h"
#include "base/span.h"
#include "conf/conf.h"
#include "ipc/messages.h"

enum { RATE_COUNTERS_MAX = 100000, RATE_KEY_MAX = 320 };

/* kind, option, whether the key is the login (else the client), which questions count (set of rcpt_about), what is counted */
#define RATE_KINDS(X)                                                                                                    \
	X(CLIENT_CONNECTIONS, smtpd_client_connection_rate_limit, false, 1u << RCPT_CONNECTION, "connections of a client")   \
	X(CLIENT_MESSAGES, smtpd_client_message_rate_limit, false, 1u << RCPT_FIRST, "messages of a client")                 \
	X(CLIENT_RECIPIENTS, smtpd_client_recipient_rate_limit, false, 1u << RCPT_FIRST | 1u << RCPT_FURTHER,                \
	    "recipients of a client")                                                                                        \
	X(LOGIN_MESSAGES, smtpd_login_message_rate_limit, true, 1u << RCPT_FIRST, "messages of a login")                     \
	X(LOGIN_RECIPIENTS, smtpd_login_recipient_rate_limit, true, 1u << RCPT_FIRST | 1u << RCPT_FURTHER,                   \
	    "recipients of a login")
enum rate_kind {
#define X(name, option, login, about, text) RATE_##name,
	RATE_KINDS(X)
#undef X
	RATE_KIND_COUNT
};

struct rates {
	struct map counters;
	struct list by_start; /* oldest window first */
	size_t n;
};

void rates_init(struct rates *r);
void rates_free(struct rates *r);
/* Counts once more. False: that is more than limit (0: none) within unit_ms. */
bool rate_count(struct rates *r, enum rate_kind kind, struct span key, uint64_t limit, int64_t unit_ms, int64_t now_ms);
/* anvil_rate_time_unit: counts the question for each kind that it is of, up to the first that is over its limit: that
 * option's name; NULL: none is.  Who may relay without a login is counted by no client's limit. */
const char *rate_exceeded(struct rates *r, const struct conf *conf, const struct ipc_rcpt_ask *m, int64_t now_ms);

#endif
