/* SPDX-License-Identifier: ISC
 *
 * imapd: the front of IMAP: TLS, greeting, login; then the session is the
 * user's mailboxd's.
 */
#include "daemons/imapd/imap_login.h"
#include "front/front.h"

static unsigned
session_limit(const struct conf *conf)
{
	return (unsigned)conf->imap_session_limit;
}

static const struct front_protocol protocol = {
	.program = "imapd", .service = "imap", .later = "* BYE [UNAVAILABLE] Service not available, try again later\r\n", .see = CONF_IMAPD, .login_new = imap_login_new, .session_limit = session_limit, .limit = LIMIT_imap_session_limit,
};

static bool
on_boot(struct service *s, struct fail *why)
{
	return front_boot(s, &protocol, why);
}

int
main(int argc, char **argv)
{
	struct service_ops ops = front_service(&protocol, on_boot);

	return service_main(&ops, argc, argv);
}
