/* SPDX-License-Identifier: ISC
 *
 * tlspolicy: what the administrator wants of a next hop, what its domain
 * publishes (MTA-STS, RFC 8461) and what the DNS says of a host (DANE,
 * RFC 7672), made into one plan for each host. The strictest applies; where
 * TLSA records are usable they decide (RFC 8461 2). No I/O.
 */
#ifndef REMOTED_TLSPOLICY_H
#define REMOTED_TLSPOLICY_H

#include "base/arena.h"
#include "base/fail.h"
#include "conf/conf.h"
#include "net/tls.h"

enum { TLSPOLICY_NAMES = 8, TLSPOLICY_WHY = 240 };

/* What the sender of a message wants (RFC 8689): that no host has it whose name is not proven, or that no policy of the
 * recipient's domain holds it up. */
enum tlswish { TLSWISH_NONE, TLSWISH_REQUIRED, TLSWISH_OPTIONAL };

/* What the administrator wants. */
struct tlspolicy {
	enum tlswish wish;
	enum conf_word level;    /* CONF_TLS_* */
	bool by_table;           /* an entry of smtp_tls_policy_maps: MTA-STS is not asked for */
	struct span match[TLSPOLICY_NAMES]; /* names for verify and secure; hostname, nexthop, dot-nexthop stand for those */
	size_t nmatch;           /* 0: hostname for verify, nexthop and dot-nexthop for secure */
	struct span servername;  /* SNI; hostname and nexthop stand for those; empty: as ever */
	bool only13;
};

/* "level name=value ...", as Postfix has it; names: match (a:b or a|b), servername, protocols.
 * *out points into value. False: *why says what is wrong. */
bool tlspolicy_parse(struct span value, struct tlspolicy *out, struct fail *why);
/* Whether TLSA records are asked for, and whether the domain's MTA-STS policy. */
bool tlspolicy_wants_dane(const struct tlspolicy *p);
bool tlspolicy_wants_sts(const struct tlspolicy *p);

enum tlspolicy_mode { STS_NONE, STS_TESTING, STS_ENFORCE };
struct tlspolicy_sts {
	enum tlspolicy_mode mode;
	struct span patterns; /* of MX hosts, with blanks between */
};
/* "mode pattern ...", as stsd answers. False: something else. */
bool tlspolicy_sts_parse(struct span text, struct tlspolicy_sts *out);
/* RFC 8461 4.1: "*." stands for one label. */
bool tlspolicy_sts_has(const struct tlspolicy_sts *sts, struct span host);

enum tlspolicy_dane {
	DANE_UNASKED,  /* not wanted */
	DANE_INSECURE, /* MX or address is not validated: nothing is asked (RFC 7672 2.1.1) */
	DANE_NONE,     /* there are none */
	DANE_USELESS,  /* there are, but none that can be used */
	DANE_USABLE,
	DANE_FAILED,   /* it cannot be known now: lookup failed, or forged */
};
/* What DNS says of a host. */
struct tlspolicy_host {
	struct span name;
	bool secure;         /* that it is one of the next hop's is validated */
	bool unsigned_mx;    /* its address is, the MX record is not; */
	bool encrypt_only;   /* and its TLSA records say no more than that there is TLS */
	struct span base;    /* of the TLSA records: name, or what its CNAME leads to */
	enum tlspolicy_dane dane;
	struct span why;     /* of FAILED */
	bool forged;         /* FAILED by its signatures */
	const struct tls_tlsa *tlsa; /* usable ones */
	size_t ntlsa;
};

/* For reports (RFC 8460 4.4: policy-type). */
enum tlsplan_kind { TLSPLAN_NO_POLICY, TLSPLAN_STS, TLSPLAN_TLSA };

/* How one host is to be spoken to. */
struct tlsplan {
	enum tls_level level;
	enum tlsplan_kind kind;
	bool skip;         /* this host is not to be used at all; mail waits where no other is left */
	bool testing;      /* MTA-STS says that failures are to be reported only */
	const char *result; /* of skip: for reports (RFC 8460 4.3) */
	struct span sni;
	struct span certificate; /* the file of the one to show, if we are asked; empty: none */
	struct span names[TLSPOLICY_NAMES];
	size_t nnames;
	const struct tls_tlsa *tlsa;
	size_t ntlsa;
	bool only13;
	char why[TLSPOLICY_WHY]; /* what decided, for people (law 11) */
};

/* nexthop: its name without brackets and port, or empty. Names that are made are in the arena. */
void tlspolicy_plan(const struct tlspolicy *p, const struct tlspolicy_sts *sts, const struct tlspolicy_host *host, struct span nexthop,
    struct arena *arena, struct tlsplan *out);

const char *tlsplan_level_text(enum tls_level level);
const char *tlsplan_kind_text(enum tlsplan_kind kind); /* RFC 8460 4.4 */
/* What went wrong with TLS, as RFC 8460 4.3 has it. */
const char *tlsplan_result(enum tls_problem problem, bool offered);

#endif
