/* SPDX-License-Identifier: ISC
 *
 * What authd is asked about the client of a connection.
 */
#include "front/conn.h"

/* About what goes on under id already. */
bool
conn_ask_again(struct conn *c, enum conn_phase phase)
{
	if (!map_put_u64(&c->front->asked, &c->node, c->id))
		return false;
	c->phase = phase;
	return true;
}

bool
conn_ask(struct conn *c, enum conn_phase phase)
{
	c->id = ++c->front->last_id;
	return conn_ask_again(c, phase);
}

bool
ask_check(struct conn *c)
{
	struct front *f = c->front;
	struct login *l = c->login;
	struct ipc_auth_ask m = {
		.service = span_str(f->protocol->service),
		.mechanism = span_str(l->mechanism),
		.client_addr = span_str(c->addr),
		.tls = c->tls,
		.authzid = span_str(l->authzid),
		.user = span_str(l->user),
		.password = span_str(l->password),
	};

	if (!conn_ask(c, CONN_CHECK))
		return false;
	m.id = c->id;
	return ipc_send_auth_ask(f->auth, &m);
}

bool
ask_identify(struct conn *c)
{
	const struct tls_certificate *shown = c->certificate;
	struct ipc_auth_certificate m = {
		.service = span_str(c->front->protocol->service),
		.client_addr = span_str(c->addr),
		.authzid = span_str(c->login->authzid),
	};

	if (!shown || !conn_ask(c, CONN_CHECK))
		return false;
	m.id = c->id;
	m.fingerprint = span_of(shown->fingerprint, sizeof shown->fingerprint);
	m.key = span_of(shown->key, sizeof shown->key);
	m.trusted = shown->trusted;
	m.subject = span_str(shown->subject);
	m.emails = span_str(shown->emails);
	return ipc_send_auth_certificate(c->front->auth, &m);
}

bool
ask_token(struct conn *c)
{
	const struct sasl *s = &c->login->sasl;
	struct ipc_auth_token m = {
		.service = span_str(c->front->protocol->service),
		.mechanism = sasl_name(s->mechanism),
		.client_addr = span_str(c->addr),
		.user = s->user,
		.token = s->password,
	};

	if (!conn_ask(c, CONN_CHECK))
		return false;
	m.id = c->id;
	return ipc_send_auth_token(c->front->auth, &m);
}

bool
ask_scram(struct conn *c)
{
	struct front *f = c->front;
	const struct sasl *s = &c->login->sasl;
	struct ipc_auth_scram m = {
		.service = span_str(f->protocol->service),
		.mechanism = sasl_name(s->mechanism),
		.client_addr = span_str(c->addr),
		.tls = c->tls,
		.authzid = s->authzid,
		.user = s->user,
		.bare = s->bare,
		.nonce = s->nonce,
	};

	if (!conn_ask(c, CONN_CHECK))
		return false;
	m.id = c->id;
	return ipc_send_auth_scram(f->auth, &m);
}

bool
ask_proof(struct conn *c)
{
	const struct scram_final *final = &c->login->sasl.final;
	struct ipc_auth_proof m = { .id = c->id, .without_proof = final->without, .proof = span_of(final->proof, sizeof final->proof) };

	return conn_ask_again(c, CONN_CHECK) && ipc_send_auth_proof(c->front->auth, &m);
}
