/* SPDX-License-Identifier: ISC
 *
 * A struct conf as text: for each daemon, for comparison, for the example.
 */
#include <string.h>

#include "conf/source.h"
#include "conf/value.h"

static bool
is_list(enum conf_kind kind)
{
	return kind == CONF_KIND_LIST || kind == CONF_KIND_DOMAINS || kind == CONF_KIND_TABLES ||
	    kind == CONF_KIND_NETS || kind == CONF_KIND_SITES || kind == CONF_KIND_FILTERS ||
	    kind == CONF_KIND_MECHANISMS || kind == CONF_KIND_SERVERS || kind == CONF_KIND_INTERFACES ||
	    kind == CONF_KIND_NEARBY;
}

/* A value so that it reads back as it is: lists are in normal form already. */
static void
put_value(struct buf *out, enum conf_kind kind, struct span text)
{
	struct buf quoted;
	struct span s = text;

	buf_init(&quoted, CONF_FILE_MAX);
	if (!is_list(kind)) {
		conf_value_quote(&quoted, text);
		s = buf_span(&quoted);
	}
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '$')
			buf_putc(out, '$');
		buf_putc(out, s.p[i]);
	}
	if (!buf_ok(&quoted))
		out->failed = true;
	buf_free(&quoted);
}

static void
put_block(struct buf *out, const char *word, struct span name, enum conf_table table, const struct span *texts,
    unsigned see)
{
	size_t n;
	const struct conf_option *rows = conf_options(table, &n);

	buf_printf(out, "%s \"%.*s\" {\n", word, SPAN_ARG(name));
	for (size_t i = 0; i < n; i++) {
		if (!(rows[i].see & see))
			continue;
		buf_printf(out, "\t%s = ", rows[i].name);
		put_value(out, rows[i].kind, texts[i]);
		buf_puts(out, "\n");
	}
	buf_puts(out, "}\n");
}

void
conf_canonical(const struct conf *conf, unsigned see, struct buf *out)
{
	size_t n;
	const struct conf_option *rows = conf_options(CONF_TABLE_OPTIONS, &n);

	for (size_t i = 0; i < n; i++) {
		if (!(rows[i].see & see))
			continue;
		buf_printf(out, "%s = ", rows[i].name);
		put_value(out, rows[i].kind, conf->source->options[i]);
		buf_puts(out, "\n");
	}
	for (size_t i = 0; i < conf->nlisteners; i++)
		put_block(out, "listener", conf->listeners[i].name, CONF_TABLE_LISTENER, conf->source->listeners[i],
		    see);
	for (size_t i = 0; i < conf->nroutes; i++)
		put_block(out, "route", conf->routes[i].name, CONF_TABLE_ROUTE, conf->source->routes[i], see);
}

static const struct conf_route *
route_named(const struct conf *conf, struct span pattern)
{
	for (size_t i = 0; i < conf->nroutes; i++)
		if (span_caseeq(conf->routes[i].name, pattern))
			return &conf->routes[i];
	return NULL;
}

struct difference {
	unsigned see;
	bool any;
	enum conf_reload reload;
	struct buf *names;
};

void
conf_put_name(struct buf *names, const char *name, struct span of)
{
	buf_printf(names, "%s%s", buf_len(names) ? ", " : "", name);
	if (of.n > 0)
		buf_printf(names, " of %.*s", SPAN_ARG(of));
}

static void
differs(struct difference *d, enum conf_reload reload, const char *name, struct span of)
{
	d->any = true;
	if (reload > d->reload)
		d->reload = reload;
	if (d->names)
		conf_put_name(d->names, name, of);
}

static void
diff_texts(struct difference *d, enum conf_table table, struct span of, const struct span *from, const struct span *to)
{
	size_t n;
	const struct conf_option *rows = conf_options(table, &n);

	for (size_t i = 0; i < n; i++)
		if ((rows[i].see & d->see) && !span_eq(from[i], to[i]))
			differs(d, rows[i].reload, rows[i].name, of);
}

static void
diff_listeners(struct difference *d, const struct conf *from, const struct conf *to)
{
	size_t j;

	for (size_t i = 0; i < from->nlisteners; i++) {
		const struct conf_listener *same = conf_listener_find(to, from->listeners[i].name);

		if (!same)
			differs(d, CONF_LIVE, "listener", from->listeners[i].name);
		else
			diff_texts(d, CONF_TABLE_LISTENER, from->listeners[i].name, from->source->listeners[i],
			    to->source->listeners[same - to->listeners]);
	}
	for (j = 0; j < to->nlisteners; j++)
		if (!conf_listener_find(from, to->listeners[j].name))
			differs(d, CONF_LIVE, "listener", to->listeners[j].name);
}

/* What a block that was not there before wants more for than a look at the blocks. */
static void
diff_new_route(struct difference *d, const struct conf *to, size_t at)
{
	size_t n;
	const struct conf_option *rows = conf_options(CONF_TABLE_ROUTE, &n);

	for (size_t i = 0; i < n; i++)
		if ((rows[i].see & d->see) && rows[i].reload > CONF_LIVE && to->source->routes[at][i].n > 0)
			differs(d, rows[i].reload, rows[i].name, to->routes[at].name);
}

static void
diff_route_sets(struct difference *d, const struct conf *from, const struct conf *to)
{
	differs(d, CONF_LIVE, "routes", SPAN(""));
	for (size_t i = 0; i < to->nroutes; i++) {
		const struct conf_route *old = route_named(from, to->routes[i].name);

		if (old)
			diff_texts(d, CONF_TABLE_ROUTE, to->routes[i].name, from->source->routes[old - from->routes], to->source->routes[i]);
		else
			diff_new_route(d, to, i);
	}
}

static void
diff_routes(struct difference *d, const struct conf *from, const struct conf *to)
{
	bool same = from->nroutes == to->nroutes;

	for (size_t i = 0; same && i < from->nroutes; i++)
		same = span_eq(from->routes[i].name, to->routes[i].name);
	if (!same) {
		diff_route_sets(d, from, to);
		return;
	}
	for (size_t i = 0; i < from->nroutes; i++)
		diff_texts(d, CONF_TABLE_ROUTE, from->routes[i].name, from->source->routes[i], to->source->routes[i]);
}

bool
conf_diff(const struct conf *from, const struct conf *to, unsigned see, enum conf_reload *reload, struct buf *names)
{
	struct difference d = { .see = see, .reload = CONF_LIVE, .names = names };

	diff_texts(&d, CONF_TABLE_OPTIONS, SPAN(""), from->source->options, to->source->options);
	diff_listeners(&d, from, to);
	diff_routes(&d, from, to);
	*reload = d.reload;
	return d.any;
}

bool
conf_value(const struct conf *conf, struct span name, struct span *out)
{
	size_t n;
	const struct conf_option *rows = conf_options(CONF_TABLE_OPTIONS, &n);

	for (size_t i = 0; i < n; i++) {
		if (span_eq(name, span_str(rows[i].name))) {
			*out = conf->source->options[i];
			return true;
		}
	}
	return false;
}

bool
conf_where(const struct conf *conf, enum conf_table table, size_t block, const char *name, unsigned *line, unsigned *column)
{
	const struct conf_source *source = conf->source;
	const struct conf_at *at = table == CONF_TABLE_OPTIONS ? source->options_at : (table == CONF_TABLE_LISTENER ? source->listeners_at : source->routes_at)[block];
	size_t n;
	const struct conf_option *rows = conf_options(table, &n);

	*line = *column = 0;
	for (size_t i = 0; i < n; i++)
		if (strcmp(rows[i].name, name) == 0) {
			*line = at[i].line;
			*column = at[i].column;
		}
	return *line > 0;
}

const struct conf_listener *
conf_listener_find(const struct conf *conf, struct span name)
{
	for (size_t i = 0; i < conf->nlisteners; i++)
		if (span_eq(conf->listeners[i].name, name))
			return &conf->listeners[i];
	return NULL;
}

const struct conf_route *
conf_route_match(const struct conf *conf, struct span address)
{
	size_t at = span_rchr(address, '@'), dot;
	struct span rest = at == SIZE_MAX ? address : span_from(address, at + 1);
	const struct conf_route *r;

	if (conf->nroutes == 0)
		return NULL;
	if ((r = route_named(conf, address)) || (r = route_named(conf, rest)))
		return r;
	while ((dot = span_chr(span_from(rest, 1), '.')) != SIZE_MAX) {
		rest = span_from(rest, dot + 1); /* from this dot on */
		if ((r = route_named(conf, rest)))
			return r;
	}
	return route_named(conf, SPAN("*"));
}

static bool
leads_to(const struct conf_route *r, struct span nexthop)
{
	size_t before = nexthop.n - r->nexthop.n; /* of "lmtp:" or "lmtp:inet:" */

	return r->nexthop.n > 0 && span_caseends(nexthop, r->nexthop) && (before == 0 || nexthop.p[before - 1] == ':');
}

const struct conf_route *
conf_route_for_hop(const struct conf *conf, struct span nexthop)
{
	const struct conf_route *r;

	for (size_t i = 0; i < conf->nroutes; i++)
		if (leads_to(&conf->routes[i], nexthop))
			return &conf->routes[i];
	if (nexthop.n == 0 || nexthop.p[0] == '[' || span_starts(nexthop, SPAN("lmtp:")))
		return NULL;
	r = conf_route_match(conf, span_sub(nexthop, 0, span_chr(nexthop, ':')));
	return r && r->nexthop.n == 0 ? r : NULL;
}

/* dane asks for nothing where there are no TLSA records. */
static int
strictness(enum conf_word level)
{
	return level == CONF_TLS_DANE ? 2 * CONF_TLS_MAY + 1 : 2 * (int)level;
}

enum conf_word
conf_tls_for_hop(const struct conf *conf, struct span nexthop)
{
	const struct conf_route *r = conf_route_for_hop(conf, nexthop);
	enum conf_word level = r ? r->tls : conf->smtp_tls_security_level;

	for (size_t i = 0; i < conf->nroutes; i++)
		if (leads_to(&conf->routes[i], nexthop) && strictness(conf->routes[i].tls) > strictness(level))
			level = conf->routes[i].tls;
	return level;
}

/* ---- the example file ---- */

static void
put_wrapped(struct buf *out, const char *prefix, struct span text)
{
	size_t column = 0;
	struct span word;

	while ((word = span_word(&text)).n > 0) {
		if (column > 0 && column + word.n > 76) {
			buf_puts(out, "\n");
			column = 0;
		}
		if (column == 0) {
			buf_puts(out, prefix);
			column = strlen(prefix);
		} else {
			buf_puts(out, " ");
			column++;
		}
		buf_put(out, word);
		column += word.n;
	}
	buf_puts(out, "\n");
}

static void
put_example(struct buf *out, const struct conf_option *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const char *section = conf_section(&rows[i]);

		if (section)
			buf_printf(out, "\n#### %s ####\n", section);
		buf_puts(out, "\n");
		put_wrapped(out, "# ", span_str(rows[i].text));
		buf_printf(out, "#%s =%s%s\n", rows[i].name, *rows[i].def ? " " : "", rows[i].def);
	}
}

static void
put_example_block(struct buf *out, enum conf_table table)
{
	size_t n;
	const struct conf_option *rows = conf_options(table, &n);

	for (size_t i = 0; i < n; i++) {
		buf_printf(out, "#   %s\n", rows[i].name);
		put_wrapped(out, "#       ", span_str(rows[i].text));
	}
}

void
conf_example(struct buf *out)
{
	size_t n;
	const struct conf_option *rows = conf_options(CONF_TABLE_OPTIONS, &n);

	buf_puts(out, "# Configuration of Pillarpost; see pillarpost.conf(5).\n#\n"
		      "# name = value; a line that begins with a blank goes on with the value before it.\n"
		      "# $name is the value of another option, $$ a dollar sign. Comments stand on lines\n"
		      "# of their own. Every option is shown with its default: remove the # and change it.\n"
		      "# \"mailctl check\" shows every error, \"mailctl reload\" applies a change.\n");
	put_example(out, rows, n);
	buf_puts(out, "\n#### Listeners ####\n\n"
		      "# Without any such block the usual services stand on the usual ports. Options:\n");
	put_example_block(out, CONF_TABLE_LISTENER);
	buf_puts(out, "#\n#listener smtp { address = *:25; }\n"
		      "#listener submission { address = *:587; tls = encrypt; auth = yes; }\n"
		      "#listener inside {\n#\tservice = smtp\n#\taddress = 10.0.0.1:2525\n#\ttls = none\n#}\n"
		      "\n#### Routes ####\n\n# The way to a domain (domain, .domain, user@domain, *). Options:\n");
	put_example_block(out, CONF_TABLE_ROUTE);
	buf_puts(out, "#\n#route example.net { nexthop = [mx.example.net]:25; tls = secure; concurrency = 5; }\n"
		      "#route .corp.example { transport = lmtp; nexthop = inet:store.corp.example:24; }\n");
}
