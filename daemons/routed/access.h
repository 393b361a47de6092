/* SPDX-License-Identifier: ISC
 *
 * access: what the administrator's access tables say of a client and its
 * message, asked in this order:
 *   owner      smtpd_sender_login_maps, where the sender has to belong to the login
 *   client     smtpd_client_access_maps: address, networks that contain it, name, .parents
 *   helo       smtpd_helo_access_maps: name, .parents
 *   login      smtpd_login_access_maps: name@domain, @domain
 *   sender     smtpd_sender_access_maps: user@domain, domain, .parents, user@
 *   recipient  smtpd_recipient_access_maps: likewise
 * The first key of a stage that has a value decides for that stage; what its
 * value says, and whether the next stages are asked, is a row of access.def.
 */
#ifndef ROUTED_ACCESS_H
#define ROUTED_ACCESS_H

#include "rules.h"

struct access_question {
	struct span client_addr, client_name, helo, login, sender, recipient;
};

struct access_verdict {
	bool permit;          /* an OK: the rest was not asked */
	unsigned status;      /* a refusal, row of status.def; 0 for none */
	unsigned reply;       /* its reply code when the value gave one, else 0 */
	struct span text;     /* to tell the client; empty for the row's */
	bool hold, discard;
	bool verify_sender, verify_recipient; /* by callout */
	bool note;            /* the log shall say why though nothing was refused */
	bool broken;          /* a value nobody can obey: refused for now */
	struct span redirect; /* an address, or empty */
	struct span prepend;  /* header lines, each with CRLF */
	struct span why;      /* option, table, key and value of all that had a say */
};

/* The verdict's texts are in the arena. A table that fails is a temporary refusal. */
void access_check(struct rules *rules, const struct access_question *q, struct arena *arena, struct access_verdict *v);

#endif
