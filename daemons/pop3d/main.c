/* SPDX-License-Identifier: ISC
 *
 * pop3d: the front of POP3: TLS, greeting, login; then the session is the
 * user's mailboxd's.
 */
#include "daemons/pop3d/pop3_login.h"
#include "front/front.h"

static unsigned
session_limit(const struct conf *conf)
{
	return (unsigned)conf->pop3_session_limit;
}

static bool
textbook(const struct conf *conf)
{
	return conf->pop3_reply_texts == CONF_REPLY_TEXTBOOK;
}

static unsigned
login_delay(const struct conf *conf)
{
	return (unsigned)((conf->pop3_login_delay + 999) / 1000);
}

static const struct front_protocol protocol = {
	.program = "pop3d", .service = "pop3", .later = "-ERR [SYS/TEMP] Service not available, try again later\r\n", .see = CONF_POP3D, .login_new = pop3_login_new,
	.session_limit = session_limit, .limit = LIMIT_pop3_session_limit, .textbook = textbook, .login_delay = login_delay,
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
