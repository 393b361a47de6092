/* SPDX-License-Identifier: ISC */
#include "tools/mailctl/user_offline.h"

int
user_offline(struct mailctl *m, unsigned type, const void *request)
{
	(void)m, (void)type, (void)request;
	return mailctl_fail(EX_UNAVAILABLE_, "authd is not running: start the suite first (mailctl start)");
}
