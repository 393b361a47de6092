/* SPDX-License-Identifier: ISC */
#include "front/login.h"

#include <string.h>

bool
login_user(struct login *l, struct span user)
{
	return user.n > 0 && span_cstr(user, l->user, sizeof l->user);
}

bool
login_password(struct login *l, struct span password)
{
	return span_cstr(password, l->password, sizeof l->password);
}

void
login_check(struct login *l, struct span mechanism)
{
	(void)span_cstr(mechanism, l->mechanism, sizeof l->mechanism);
	l->want = LOGIN_CHECK;
}

struct sasl_offer
login_offer(const struct login *l)
{
	struct sasl_offer offer = { .mechanisms = l->set.mechanisms, .closed = l->tls || !l->set.disable_plaintext || l->loopback,
		.tls = l->tls, .certificate = l->certificate };

	if (!l->set.auth || (l->set.tls_required && !l->tls))
		offer.mechanisms = 0;
	if (l->tls) {
		offer.binding = l->binding;
		offer.arg = l->binding_arg;
	}
	return offer;
}

bool
login_by_password(const struct login *l)
{
	struct sasl_offer offer = login_offer(l);

	return sasl_usable(&offer) & SASL_PASSWORD;
}

static bool
take_password(struct login *l)
{
	bool ok = span_cstr(l->sasl.authzid, l->authzid, sizeof l->authzid) && login_user(l, l->sasl.user) &&
	          login_password(l, l->sasl.password);

	if (ok)
		login_check(l, sasl_name(l->sasl.mechanism));
	sasl_end(&l->sasl);
	return ok;
}

static bool
take_identity(struct login *l)
{
	bool ok = span_cstr(l->sasl.authzid, l->authzid, sizeof l->authzid) && span_cstr(l->sasl.authzid, l->user, sizeof l->user); /* for the log */

	(void)span_cstr(sasl_name(l->sasl.mechanism), l->mechanism, sizeof l->mechanism);
	sasl_end(&l->sasl);
	if (ok)
		l->want = LOGIN_IDENTIFY;
	return ok;
}

static void
put_challenge(struct login *l)
{
	l->answering = true;
	buf_put(l->out, SPAN("+ "));
	buf_put(l->out, sasl_challenge(&l->sasl));
	buf_put(l->out, SPAN("\r\n"));
}

static void
want_of_exchange(struct login *l, enum login_want want)
{
	(void)span_cstr(l->sasl.user, l->user, sizeof l->user); /* for the log */
	(void)span_cstr(sasl_name(l->sasl.mechanism), l->mechanism, sizeof l->mechanism);
	l->want = want;
}

bool
login_exchange(struct login *l, enum sasl_result result)
{
	l->answering = false;
	switch (result) {
	case SASL_CHALLENGE:
		put_challenge(l);
		return true;
	case SASL_CHECK:
		return take_password(l);
	case SASL_IDENTIFY:
		return take_identity(l);
	case SASL_TOKEN:
		want_of_exchange(l, LOGIN_TOKEN);
		return true;
	case SASL_REFUSED:
		l->ops->refused(l, LOGIN_WRONG);
		return true;
	case SASL_BEGIN:
		want_of_exchange(l, LOGIN_BEGIN);
		return true;
	case SASL_PROVE:
		want_of_exchange(l, LOGIN_PROVE);
		return true;
	case SASL_DONE:
		want_of_exchange(l, LOGIN_ENTER);
		return true;
	case SASL_CANCELLED:
	case SASL_BAD:
		break;
	}
	sasl_end(&l->sasl);
	return false;
}

bool
login_challenged(struct login *l, struct span message)
{
	struct fail why;

	l->want = LOGIN_INPUT;
	return login_exchange(l, sasl_challenged(&l->sasl, message, &why));
}

bool
login_proved(struct login *l, struct span signature)
{
	struct fail why;

	l->want = LOGIN_INPUT;
	return login_exchange(l, sasl_proved(&l->sasl, signature, &why));
}

bool
login_token_refused(struct login *l, struct span error)
{
	struct fail why;

	l->want = LOGIN_INPUT;
	return login_exchange(l, sasl_refused(&l->sasl, error, &why));
}

void
login_forget(struct login *l)
{
	l->answering = false;
	sasl_end(&l->sasl);
	explicit_bzero(l->password, sizeof l->password);
	l->authzid[0] = l->user[0] = '\0';
}

bool
login_failed(struct login *l)
{
	return ++l->failures >= l->set.attempts;
}
