/* SPDX-License-Identifier: ISC */
#include "policy.h"

#include "net/sasl.h"

static unsigned
without(unsigned set, const struct conf_list *discard)
{
	static const struct span keywords[] = {
#define X(name, keyword) SPAN_INIT(keyword),
		SMTPD_EXTENSIONS(X)
#undef X
	};

	for (size_t i = 0; i < discard->n; i++)
		for (unsigned bit = 0; bit < EXT_BIT_COUNT; bit++)
			if (span_caseeq(discard->items[i], keywords[bit]))
				set &= ~(1u << bit);
	return set;
}

void
policy_init(struct policy *p, const struct conf *conf, const struct conf_listener *l)
{
	*p = (struct policy){
		.conf = conf,
		.listener = l,
		.lmtp = l->service == CONF_SERVICE_LMTP,
		.local = l->service == CONF_SERVICE_SUBMIT,
		.submission = l->service == CONF_SERVICE_SUBMISSION || l->service == CONF_SERVICE_SUBMISSIONS,
		.wrapper = l->tls == CONF_MODE_WRAPPER,
		.tls_first = l->tls == CONF_MODE_ENCRYPT,
		.auth = l->auth,
		.mechanisms = sasl_set(conf->auth_mechanisms.items, conf->auth_mechanisms.n),
		.milters = l->milters.n > 0,
		.services = conf->smtpd_recipient_policy_service.n + conf->smtpd_data_policy_service.n + conf->smtpd_end_of_data_policy_service.n > 0,
		.profile = (unsigned)(conf->smtpd_reply_texts - CONF_REPLY_STANDARD),
	};
	if (!conf->auth_oauth2_introspection_url.n)
		p->mechanisms &= ~(unsigned)SASL_OAUTH;
	p->extensions = EXT(PIPELINING) | EXT(SIZE) | EXT(8BITMIME) | EXT(DSN) | EXT(CHUNKING) | EXT(BINARYMIME) | EXT(SMTPUTF8) | EXT(DELIVERBY) | EXT(MTPRIORITY) | EXT(LIMITS) | EXT(ENHANCEDSTATUSCODES);
	if (l->tls == CONF_MODE_MAY || l->tls == CONF_MODE_ENCRYPT)
		p->extensions |= EXT(STARTTLS);
	if (l->tls != CONF_MODE_NONE)
		p->extensions |= EXT(REQUIRETLS); /* once TLS is on */
	if ((p->submission || p->local) && conf->smtpd_future_release_limit > 0) /* RFC 4865: of submission alone */
		p->extensions |= EXT(FUTURERELEASE);
	if (p->auth)
		p->extensions |= EXT(AUTH);
	if (l->etrn_hosts.n && !p->lmtp)
		p->extensions |= EXT(ETRN);
	if (l->xforward_hosts.n)
		p->extensions |= EXT(XFORWARD);
	if (l->xclient_hosts.n)
		p->extensions |= EXT(XCLIENT);
	/* The wordings of the textbooks have no such codes, and RFC 2034 4 wants them in all replies or none. */
	if (p->profile)
		p->extensions &= ~EXT(ENHANCEDSTATUSCODES);
	p->extensions = without(p->extensions, &conf->smtpd_discard_ehlo_keywords);
	if (!(p->extensions & EXT(CHUNKING)) || !(p->extensions & EXT(8BITMIME))) /* RFC 3030 3 */
		p->extensions &= ~EXT(BINARYMIME);
	if (!conf->smtputf8_enable || !(p->extensions & EXT(8BITMIME))) /* RFC 6531 3.1 (8) */
		p->extensions &= ~EXT(SMTPUTF8);
}
