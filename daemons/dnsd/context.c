/* SPDX-License-Identifier: ISC */
#include "daemons/dnsd/context.h"

#include <stdio.h>
#include <unbound.h>

bool
context_read(const char *path, struct buf *text)
{
	FILE *f = path ? fopen(path, "re") : NULL;
	char chunk[8192];
	size_t n;

	if (!f)
		return false;
	while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
		buf_put(text, span_of(chunk, n));
	(void)fclose(f);
	return buf_ok(text);
}

bool
context_add_server(struct context_servers *s, struct span server)
{
	return s->n < CONTEXT_SERVERS && span_cstr(server, s->text[s->n], sizeof(s->text[0])) && ++s->n;
}

void
context_resolv_conf(struct context_servers *s, const char *path)
{
	struct buf text;
	struct span rest;

	buf_init(&text, 65536);
	if (context_read(path, &text))
		for (rest = buf_span(&text); rest.n;) {
			struct span line = span_cut(&rest, '\n');

			if (span_eq(span_word(&line), SPAN("nameserver")))
				(void)context_add_server(s, span_trim(span_word(&line)));
		}
	buf_free(&text);
}

static bool
option(struct ub_ctx *ctx, const char *name, const char *value, struct fail *why)
{
	int err = ub_ctx_set_option(ctx, name, value);

	return err == 0 || fail_set(why, FAIL_TEMP, 0, "libunbound: %s %s: %s", name, value, ub_strerror(err));
}

static bool
set_options(const struct context_servers *s, struct ub_ctx *ctx, struct fail *why)
{
	char msg[32], rrset[32];

	(void)snprintf(msg, sizeof(msg), "%zu", s->cache_size / 3);
	(void)snprintf(rrset, sizeof(rrset), "%zu", s->cache_size / 3 * 2);
	return option(ctx, "msg-cache-size:", msg, why) && option(ctx, "rrset-cache-size:", rrset, why) &&
	    option(ctx, "do-not-query-localhost:", "no", why) && option(ctx, "outgoing-range:", "256", why) &&
	    option(ctx, "num-queries-per-thread:", "1024", why) && option(ctx, "infra-host-ttl:", "60", why) &&
	    option(ctx, "infra-keep-probing:", "yes", why) && option(ctx, "use-syslog:", "no", why) &&
	    /* Who asks a server of their own knows its private zones. */
	    (!s->n || (option(ctx, "unblock-lan-zones:", "yes", why) && option(ctx, "insecure-lan-zones:", "yes", why)));
}

/* The last call makes libunbound read its files, so that it can start in the sandbox. */
static struct ub_ctx *
make(const struct context_servers *s, const char *trust_anchor, struct fail *why)
{
	struct ub_ctx *ctx = ub_ctx_create();
	int err = 0;

	if (!ctx) {
		(void)fail_set(why, FAIL_TEMP, 0, "libunbound: no memory");
		return NULL;
	}
	(void)ub_ctx_debuglevel(ctx, 0);
	if (!set_options(s, ctx, why)) {
		ub_ctx_delete(ctx);
		return NULL;
	}
	for (size_t i = 0; i < s->n && err == 0; i++)
		err = ub_ctx_set_fwd(ctx, s->text[i]);
	if (err == 0 && trust_anchor)
		err = ub_ctx_add_ta_file(ctx, trust_anchor);
	if (err == 0)
		err = ub_ctx_async(ctx, 1);
	if (err == 0)
		err = ub_ctx_zone_remove(ctx, s->n ? "test." : "none.invalid.");
	if (err == 0 && s->own)
		err = ub_ctx_zone_remove(ctx, "127.in-addr.arpa.");
	if (err == 0)
		return ctx;
	(void)fail_set(why, FAIL_TEMP, 0, "libunbound: %s", ub_strerror(err));
	ub_ctx_delete(ctx);
	return NULL;
}

bool
context_open(struct context *c, const struct context_servers *s, const char *trust_anchor, struct fail *why)
{
	*c = (struct context){ .ub = make(s, trust_anchor, why) };
	return c->ub != NULL;
}

static void
on_readable(struct watch *w, unsigned ready)
{
	(void)ready;
	(void)ub_process(OWNER_OF(w, struct context, watch)->ub);
}

bool
context_listen(struct context *c, struct loop *loop, struct fail *why)
{
	int fd = ub_fd(c->ub);

	watch_init(&c->watch, loop, fd, on_readable);
	return (fd >= 0 && watch_want(&c->watch, WATCH_READ)) || fail_set(why, FAIL_TEMP, 0, "libunbound's answers cannot be watched");
}

void
context_close(struct context *c)
{
	watch_stop(&c->watch);
	if (c->ub)
		ub_ctx_delete(c->ub);
	c->ub = NULL;
}
