/* SPDX-License-Identifier: ISC
 *
 * EXTERNAL (RFC 4422 A): a login by the certificate that a TLS client has shown. The front
 * says which one it is; whose login it is, and as whom its holder may act, is said here.
 */
#include <string.h>

#include "daemons/authd/certmap.h"
#include "daemons/authd/check.h"

/* The login to check: the one that was asked for, if it is among them, else the first. Empty: none. */
static struct span
choose(const struct authd *a, struct span logins, struct span authzid)
{
	struct span login;

	while (logins.n) {
		login = span_word(&logins);
		while (login.n) {
			struct span one = span_cut(&login, ',');

			if (one.n && (!authzid.n || check_maybe_same(a, one, authzid)))
				return one;
		}
	}
	return SPAN_NONE;
}

static void
decide(struct link *l, const struct ipc_auth_certificate *m, enum table_found found, struct span logins, struct arena *mem)
{
	struct ipc_auth_ask ask = {
		.id = m->id,
		.service = m->service,
		.mechanism = SPAN("EXTERNAL"),
		.client_addr = m->client_addr,
		.tls = true,
		.user = found == TABLE_FOUND ? choose(l->authd, logins, m->authzid) : SPAN_NONE,
	};
	struct span folder;
	struct buf head;
	struct user user;
	bool known, own;
	struct check *k;

	buf_init(&head, B_ADDRESS);
	if (found == TABLE_FOUND && !ask.user.n && check_folder(l->authd, m->service, m->authzid, &head, &folder))
		ask.user = choose(l->authd, logins, buf_span(&head));
	k = check_admit(l, &ask, mem, &user, &known);
	buf_free(&head);
	if (!k)
		return;
	own = check_own_identity(k, m->authzid);
	if (found == TABLE_NONE)
		check_answer_wrong(k, "nobody is known to have this certificate");
	else if (!ask.user.n || !own)
		check_answer_wrong(k, "the certificate is not good for that identity");
	else if (!known || !user.hash.n)
		check_answer_wrong(k, "unknown user or login is not possible");
	else
		check_answer_good(k, &user);
}

bool
external_begin(struct link *l, const struct ipc_auth_certificate *m)
{
	struct authd *a = l->authd;
	struct span logins = SPAN_NONE;
	enum table_found found;
	struct arena mem;
	struct fail why;

	arena_init(&mem, SCRATCH_MAX + TABLE_VALUE_MAX);
	found = certmap_find(&a->certmap, m, loop_now_ms(a->service->loop), &mem, &logins, &why);
	if (found == TABLE_FAILED) {
		log_put(LOG_failure, "auth_certificate_maps: %s", why.text);
		check_refuse(l->channel, m->id, "auth_certificate_maps cannot be read");
	} else {
		decide(l, m, found, logins, &mem);
	}
	arena_free(&mem);
	return true;
}
