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

bool
login_sasl(struct login *l)
{
	bool ok = span_cstr(l->sasl.authzid, l->authzid, sizeof l->authzid) && login_user(l, l->sasl.user) &&
	          login_password(l, l->sasl.password);

	if (ok)
		login_check(l, sasl_name(l->sasl.mechanism));
	sasl_end(&l->sasl);
	return ok;
}

void
login_forget(struct login *l)
{
	sasl_end(&l->sasl);
	explicit_bzero(l->password, sizeof l->password);
	l->authzid[0] = l->user[0] = '\0';
}

bool
login_failed(struct login *l)
{
	return ++l->failures >= l->set.attempts;
}
