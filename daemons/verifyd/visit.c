/* SPDX-License-Identifier: ISC */
#include "visit.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "asker.h"
#include "base/queueid.h"
#include "hook.h"
#include "mail/status.h"

enum { TEXT_MAX = B_REPLY, PREPEND_MAX = B_REPLY };

/* ---- verdicts ---- */

static void
verdict_init(struct verdict *d)
{
	*d = (struct verdict){ .status = 0 };
	buf_init(&d->text, TEXT_MAX);
	buf_init(&d->why, VISIT_WHY);
	buf_init(&d->prepend, PREPEND_MAX);
	buf_init(&d->redirect, B_LONG_ADDRESS);
}

static void
verdict_free(struct verdict *d)
{
	buf_free(&d->text);
	buf_free(&d->why);
	buf_free(&d->prepend);
	buf_free(&d->redirect);
	verdict_init(d);
}

void
visit_refuse(struct visit *v, unsigned status, unsigned reply, struct span text)
{
	struct verdict *d = &v->verdict;

	if (d->status)
		return;
	d->status = status;
	d->reply = reply;
	buf_put(&d->text, span_sub(text, 0, TEXT_MAX));
	v->front->verifyd->refused++;
}

void
visit_why(struct visit *v, struct span filter, const char *format, ...)
{
	struct buf *why = &v->verdict.why, one;
	va_list ap;

	buf_init(&one, VISIT_WHY);
	va_start(ap, format);
	buf_printf(&one, "%s%.*s: ", buf_len(why) ? "; " : "", SPAN_ARG(filter));
	buf_vprintf(&one, format, ap);
	va_end(ap);
	if (buf_ok(&one))
		for (size_t i = 0; i < buf_len(&one) && buf_space(why); i++)
			buf_putc(why, ascii_print(buf_span(&one).p[i]) ? buf_span(&one).p[i] : '?');
	buf_free(&one);
}

/* ---- macros ---- */

/* user@host, the part asked for; what has no @ is all local part. */
static struct span
address_part(struct span address, bool host)
{
	size_t at = span_rchr(address, '@');

	if (at == SIZE_MAX)
		return host ? SPAN_NONE : address;
	return host ? span_from(address, at + 1) : address;
}

static struct span
tls_word(const struct facts *f, unsigned n)
{
	struct span rest = f->tls, word = span_word(&rest);

	while (n-- > 0)
		word = span_word(&rest);
	return word.n && word.p[0] == '(' ? span_from(word, 1) : word;
}

/* Which fact each macro stands for. */
enum source { M_HOST, M_DAEMON, M_VERSION, M_CLIENT, M_ADDR, M_NAME, M_PORT, M_TLS_VERSION, M_CIPHER, M_BITS, M_ID, M_AUTH_TYPE,
	M_AUTHEN, M_MAIL_ADDR, M_MAIL_HOST, M_RCPT_ADDR, M_RCPT_HOST, M_MAILER };

static const struct {
	struct span name;
	enum source source;
} macros[] = {
	{ SPAN_INIT("j"), M_HOST }, { SPAN_INIT("{daemon_name}"), M_DAEMON }, { SPAN_INIT("v"), M_VERSION }, { SPAN_INIT("_"), M_CLIENT },
	{ SPAN_INIT("{client_addr}"), M_ADDR }, { SPAN_INIT("{client_name}"), M_NAME }, { SPAN_INIT("{client_ptr}"), M_NAME },
	{ SPAN_INIT("{client_port}"), M_PORT }, { SPAN_INIT("{tls_version}"), M_TLS_VERSION }, { SPAN_INIT("{cipher}"), M_CIPHER },
	{ SPAN_INIT("{cipher_bits}"), M_BITS }, { SPAN_INIT("i"), M_ID }, { SPAN_INIT("{auth_type}"), M_AUTH_TYPE },
	{ SPAN_INIT("{auth_authen}"), M_AUTHEN }, { SPAN_INIT("{mail_addr}"), M_MAIL_ADDR }, { SPAN_INIT("{mail_host}"), M_MAIL_HOST },
	{ SPAN_INIT("{rcpt_addr}"), M_RCPT_ADDR }, { SPAN_INIT("{rcpt_host}"), M_RCPT_HOST }, { SPAN_INIT("{mail_mailer}"), M_MAILER },
	{ SPAN_INIT("{rcpt_mailer}"), M_MAILER },
};

static struct span
macro_value(struct visit *v, enum source source)
{
	const struct facts *f = &v->facts;

	switch (source) {
	case M_HOST:
		return v->front->verifyd->service->conf->myhostname;
	case M_DAEMON:
		return f->listener;
	case M_VERSION:
		return SPAN("Pillarpost");
	case M_CLIENT:
		return arena_printf(&v->mem, "%.*s [%.*s]", SPAN_ARG(f->client_name), SPAN_ARG(f->client_addr));
	case M_ADDR:
		return f->client_addr;
	case M_NAME:
		return f->client_name;
	case M_PORT:
		return arena_printf(&v->mem, "%u", (unsigned)f->client_port);
	case M_TLS_VERSION:
		return tls_word(f, 0);
	case M_CIPHER:
		return tls_word(f, 2);
	case M_BITS:
		return tls_word(f, 3);
	case M_ID:
		return span_str(f->queue_id);
	case M_AUTH_TYPE:
		return f->sasl_user.n ? f->sasl_method : SPAN_NONE;
	case M_AUTHEN:
		return f->sasl_user;
	case M_MAIL_ADDR:
		return f->sender;
	case M_MAIL_HOST:
		return address_part(f->sender, true);
	case M_RCPT_ADDR:
		return f->rcpt;
	case M_RCPT_HOST:
		return address_part(f->rcpt, true);
	case M_MAILER:
		return SPAN("smtp");
	}
	return SPAN_NONE;
}

struct span
visit_macro(void *visit, struct span name)
{
	for (size_t i = 0; i < sizeof(macros) / sizeof(*macros); i++)
		if (span_eq(name, macros[i].name))
			return macro_value(visit, macros[i].source);
	return SPAN_NONE;
}

/* ---- life ---- */

static bool
add_askers(struct visit *v, const struct conf_list *list, enum visit_stage stage)
{
	for (size_t i = 0; i < list->n; i++)
		if (!asker_init(&v->askers[v->naskers++], v, list->items[i], stage))
			return false;
	return true;
}

static bool
add_filters(struct visit *v, const struct conf *conf, const struct conf_listener *l)
{
	const struct conf_list *rcpt = &conf->smtpd_recipient_policy_service, *data = &conf->smtpd_data_policy_service,
	    *end = &conf->smtpd_end_of_data_policy_service;

	if (!l) /* of a configuration that smtpd has and we have not yet, or the other way round: nothing is to pass because of that */
		return false;
	v->hooks = calloc(l->milters.n + 1, sizeof(*v->hooks));
	v->askers = calloc(rcpt->n + data->n + end->n + 1, sizeof(*v->askers));
	if (!v->askers || !v->hooks)
		return false;
	for (size_t i = 0; i < l->milters.n; i++)
		if (!hook_init(&v->hooks[v->nhooks++], v, l->milters.items[i]))
			return false;
	return add_askers(v, rcpt, VISIT_RCPT) && add_askers(v, data, VISIT_DATA) && add_askers(v, end, VISIT_END);
}

static void
drop_filters(struct visit *v)
{
	for (size_t i = 0; i < v->nhooks; i++)
		hook_free(&v->hooks[i]);
	for (size_t i = 0; i < v->naskers; i++)
		asker_free(&v->askers[i]);
	free(v->hooks);
	free(v->askers);
	v->hooks = NULL;
	v->askers = NULL;
	v->nhooks = v->naskers = 0;
}

/* A session follows a new configuration from its next message on. */
static void
renew_filters(struct visit *v, struct span listener)
{
	const struct service *s = v->front->verifyd->service;

	if (v->hooks && v->generation == s->generation)
		return;
	drop_filters(v);
	v->generation = s->generation;
	v->broken = !add_filters(v, s->conf, conf_listener_find(s->conf, listener));
}

struct visit *
visit_new(struct front *f, uint64_t id)
{
	struct visit *v = calloc(1, sizeof(*v));

	if (!v)
		return NULL;
	v->front = f;
	v->id = id;
	arena_init(&v->mem, VISIT_MEMORY);
	list_init(&v->questions);
	verdict_init(&v->verdict);
	letter_init(&v->letter);
	if (!map_put_u64(&f->visits, &v->by_id, id)) {
		free(v);
		return NULL;
	}
	f->verifyd->visits++;
	return v;
}

static void
forget_questions(struct visit *v)
{
	struct list *node;

	while ((node = list_shift(&v->questions)))
		free(OWNER_OF(node, struct question, node));
	v->busy = false;
}

void
visit_free(struct visit *v)
{
	forget_questions(v);
	drop_filters(v);
	map_remove(&v->front->visits, &v->by_id);
	v->front->verifyd->visits--;
	verdict_free(&v->verdict);
	letter_free(&v->letter);
	arena_free(&v->mem);
	free(v);
}

struct visit *
visit_find(struct front *f, uint64_t id)
{
	struct map_node *node = map_get_u64(&f->visits, id);

	return node ? OWNER_OF(node, struct visit, by_id) : NULL;
}

/* ---- questions ---- */

static struct question *
first(const struct visit *v)
{
	return OWNER_OF(v->questions.next, struct question, node);
}

enum visit_stage
visit_stage(const struct visit *v)
{
	return first(v)->stage;
}

static bool
wants_content(const struct visit *v)
{
	for (size_t i = 0; i < v->nhooks; i++)
		if (hook_wants_content(&v->hooks[i]))
			return true;
	for (size_t i = 0; i < v->naskers && !v->facts.known; i++)
		if (v->askers[i].stages & 1u << VISIT_END)
			return true;
	return false;
}

static void
answer(struct visit *v)
{
	static const unsigned good[] = { STATUS_SENDER_OK, STATUS_RECIPIENT_OK, STATUS_OK, STATUS_OK };
	const struct verdict *d = &v->verdict;
	struct question *q = first(v);
	enum visit_stage stage = q->stage;
	struct ipc_filter_answer m = {
		.id = v->id, .question = q->number, .status = (uint16_t)(d->status ? d->status : good[stage]), .reply = (uint16_t)d->reply,
		.hold = d->hold, .discard = d->discard, .note = d->note, .redirect = buf_span(&d->redirect), .prepend = buf_span(&d->prepend),
		.text = buf_span(&d->text), .why = buf_span(&d->why),
	};

	if (stage == VISIT_DATA)
		m.content = !d->status && !d->discard && wants_content(v);
	if (stage == VISIT_END) {
		m.content = !d->status && !d->discard;
		m.eightbit = v->letter.eightbit || v->letter.edit.eightbit;
		v->front->verifyd->changed += v->letter.edit.changed;
	}
	list_remove(&q->node);
	free(q);
	v->busy = false;
	v->discarded = d->discard && !d->status;
	(void)ipc_send_filter_answer(v->front->channel, &m);
	verdict_free(&v->verdict);
}

/* Whether the next filter is being asked. */
static bool
step(struct visit *v, enum visit_stage stage)
{
	size_t i = v->step++;

	if (i < v->naskers)
		return !v->facts.known && asker_ask(&v->askers[i], stage);
	return hook_ask(&v->hooks[i - v->naskers], stage);
}

/* The first question to all filters, then the next one. */
static void
run(struct visit *v)
{
	while (!list_empty(&v->questions)) {
		struct question *q = first(v);

		if (!v->busy) {
			v->busy = true;
			v->step = 0;
			if (q->stage == VISIT_RCPT)
				v->facts.rcpt = q->address;
		}
		v->verdict.discard |= v->discarded;
		while (v->step < v->naskers + v->nhooks && !v->verdict.status && !v->verdict.discard)
			if (step(v, q->stage))
				return;
		answer(v);
	}
}

void
visit_go_on(struct visit *v)
{
	run(v);
}

bool
visit_ask(struct visit *v, uint64_t number, enum visit_stage stage, struct span address)
{
	struct question *q;
	size_t n = 0;

	LIST_EACH(&v->questions, it)
		n++;
	if (n >= VISIT_QUESTIONS)
		return false;
	q = calloc(1, sizeof(*q) + address.n + 1);
	if (!q)
		return false;
	q->number = number;
	q->stage = stage;
	if (address.n) {
		char *copy = (char *)(q + 1);

		for (size_t i = 0; i < address.n; i++)
			copy[i] = address.p[i];
		q->address = span_of(copy, address.n);
	}
	v->front->verifyd->questions++;
	list_push(&v->questions, &q->node);
	if (!v->busy)
		run(v);
	return true;
}

void
visit_reset(struct visit *v)
{
	forget_questions(v);
	for (size_t i = 0; i < v->naskers; i++)
		asker_reset(&v->askers[i]);
	for (size_t i = 0; i < v->nhooks; i++)
		hook_reset(&v->hooks[i]);
	verdict_free(&v->verdict);
	letter_free(&v->letter);
	v->discarded = false;
	v->facts.rcpt = SPAN_NONE;
	v->facts.queue_id[0] = '\0';
}

bool
visit_mail(struct visit *v, const struct ipc_filter_mail *m)
{
	struct facts *f = &v->facts;

	visit_reset(v);
	renew_filters(v, m->listener);
	v->letters++;
	arena_reset(&v->mem);
	*f = (struct facts){
		.client_port = m->client_port, .known = m->known, .body8 = m->body8, .smtputf8 = m->smtputf8, .size = m->size,
		.listener = arena_dup(&v->mem, m->listener), .session = arena_dup(&v->mem, m->session),
		.client_name = arena_dup(&v->mem, m->client_name), .client_addr = arena_dup(&v->mem, m->client_addr),
		.helo = arena_dup(&v->mem, m->helo), .protocol = arena_dup(&v->mem, m->protocol), .tls = arena_dup(&v->mem, m->tls),
		.sasl_method = arena_dup(&v->mem, m->sasl_method), .sasl_user = arena_dup(&v->mem, m->sasl_user),
		.sender = arena_dup(&v->mem, m->sender),
	};
	if (v->broken)
		visit_refuse(v, STATUS_MISCONFIGURED, 0, SPAN_NONE);
	return visit_ask(v, m->question, VISIT_MAIL, SPAN_NONE);
}

bool
visit_data(struct visit *v, const struct ipc_filter_data *m)
{
	char id[QUEUEID_TEXT + 1];
	struct facts *f = &v->facts;

	if (f->queue_id[0] || !list_empty(&v->questions))
		return false; /* smtpd asks when all recipients have their answer */
	(void)snprintf(f->queue_id, sizeof(f->queue_id), "%.*s", SPAN_ARG(queueid_text(m->queue_id, id)));
	f->nrcpt = m->nrcpt;
	f->rcpt = arena_dup(&v->mem, m->rcpt);
	return visit_ask(v, m->question, VISIT_DATA, SPAN_NONE);
}
