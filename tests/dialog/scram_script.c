/* SPDX-License-Identifier: ISC */
#include "scram_script.h"

#include <stdio.h>

#include "base/base64.h"
#include "table/scramkey.h"

#define SALT "W22ZaJ0SNY7soEsUEjb6gQ=="
#define NONCE "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"

void
scram_script_begin(struct scram_script *s, struct span user, struct span bare, struct span nonce)
{
	*s = (struct scram_script){ .known = span_eq(user, SPAN("user")) };
	(void)snprintf(s->challenge, sizeof(s->challenge), "r=%.*s%s,s=%s,i=4096", SPAN_ARG(nonce), NONCE, SALT);
	(void)snprintf(s->message, sizeof(s->message), "%.*s,%s", SPAN_ARG(bare), s->challenge);
}

bool
scram_script_prove(struct scram_script *s, struct span without_proof, struct span proof)
{
	char whole[10000];
	struct scramkey key;
	struct buf salt;
	int n = snprintf(whole, sizeof(whole), "%s,%.*s", s->message, SPAN_ARG(without_proof));

	buf_init(&salt, 64);
	(void)base64_decode(&salt, SPAN(SALT));
	scramkey_make(SPAN("pencil"), buf_span(&salt), 4096, &key);
	buf_free(&salt);
	return scramkey_check(&key, span_of(whole, (size_t)n), (const uint8_t *)proof.p, s->signature) && s->known;
}

bool
scram_script_binding(void *arg, struct span type, struct buf *out)
{
	(void)arg;
	if (!span_eq(type, SPAN("tls-exporter")))
		return false;
	for (int i = 0; i < 32; i++)
		buf_putc(out, 'E');
	return true;
}
