/* SPDX-License-Identifier: ISC
 *
 * From a parsed file to a struct conf: finds each name's row, expands,
 * converts, and gives blocks their defaults.  Goes on behind every error.
 */
#include "conf/conf.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/expand.h"
#include "conf/source.h"
#include "conf/syntax.h"
#include "conf/value.h"

enum state { UNSET, DOING, DONE };

struct builder {
	const struct conf_running *running; /* NULL: no suite */
	struct arena *arena;
	struct conf_errors *errors;
	struct conf *conf;
	struct conf_source *source;
	const struct conf_option *rows;
	size_t nrows;
	const struct conf_item **given; /* by row; NULL: not in the file */
	enum state *states;             /* by row */
};

/* ---- names ---- */

/* Edit distance of short names, bounded. */
static size_t
distance(struct span a, struct span b)
{
	size_t row[66];

	if (a.n > 64 || b.n > 64)
		return SIZE_MAX;
	for (size_t j = 0; j <= b.n; j++)
		row[j] = j;
	for (size_t i = 1; i <= a.n; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= b.n; j++) {
			size_t best = diagonal + (a.p[i - 1] != b.p[j - 1]);

			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[b.n];
}

static void
unknown_name(struct conf_errors *errors, const struct conf_item *item, const struct conf_option *rows, size_t n)
{
	size_t best = SIZE_MAX, at = 0;

	if (errors->n == CONF_ERRORS_MAX) {
		errors->more++; /* nobody reads the suggestion */
		return;
	}
	for (size_t i = 0; i < n; i++) {
		size_t d = distance(item->name, span_str(rows[i].name));

		if (d < best) {
			best = d;
			at = i;
		}
	}
	if (best <= 1 + item->name.n / 5)
		conf_error(errors, item->at, "no option is named \"%.*s\"; did you mean \"%s\"?",
		    SPAN_ARG(item->name), rows[at].name);
	else
		conf_error(errors, item->at, "no option is named \"%.*s\"", SPAN_ARG(item->name));
}

static bool
row_by_name(const struct conf_option *rows, size_t n, struct span name, size_t *at)
{
	for (*at = 0; *at < n; ++*at)
		if (span_eq(name, span_str(rows[*at].name)))
			return true;
	return false;
}

/* Which item gives each row its value; reports unknown and repeated names. */
static void
match_items(struct conf_errors *errors, const struct conf_items *items, const struct conf_option *rows, size_t n,
    const struct conf_item **given)
{
	size_t at;

	for (size_t i = 0; i < items->n; i++) {
		const struct conf_item *item = &items->v[i];

		if (!row_by_name(rows, n, item->name, &at))
			unknown_name(errors, item, rows, n);
		else if (given[at])
			conf_error(errors, item->at, "%.*s is set a second time; the first is in line %u",
			    SPAN_ARG(item->name), given[at]->at.line);
		else
			given[at] = item;
	}
}

/* ---- global options ---- */

static bool resolve(struct builder *b, size_t at, struct fail *why);

static bool
lookup_option(void *arg, struct span name, struct span *value, struct fail *why)
{
	struct builder *b = arg;
	size_t at;

	if (!row_by_name(b->rows, b->nrows, name, &at))
		return fail_set(why, FAIL_PERM, 0, "$%.*s is no option", SPAN_ARG(name));
	if (b->states[at] == DOING)
		return fail_set(why, FAIL_PERM, 0, "$%.*s refers to itself", SPAN_ARG(name));
	if (!resolve(b, at, why))
		return false;
	*value = b->source->options[at];
	return true;
}

/* Expands and converts one value. */
static bool
set_value(struct builder *b, const struct conf_option *row, struct span raw, void *base, struct span *text,
    struct fail *why)
{
	struct buf expanded;
	bool ok;

	buf_init(&expanded, CONF_FILE_MAX);
	ok = conf_expand(raw, lookup_option, b, &expanded, why) &&
	    conf_value_set(row, buf_span(&expanded), base, b->arena, text, why);
	buf_free(&expanded);
	return ok;
}

/* The two names that the system and not the table knows. */
static struct span
computed_default(struct builder *b, const struct conf_option *row)
{
	char name[256] = "";
	size_t dot;

	if (row->offset == offsetof(struct conf, myhostname)) {
		if (gethostname(name, sizeof(name) - 1) != 0 || !name[0] || strchr(name, '$'))
			return SPAN("localhost");
		return arena_dup(b->arena, span_str(name));
	}
	if (row->offset == offsetof(struct conf, mydomain)) {
		dot = span_chr(b->conf->myhostname, '.');
		return dot == SIZE_MAX || dot + 1 >= b->conf->myhostname.n ? SPAN("localdomain")
		    : span_from(b->conf->myhostname, dot + 1);
	}
	return span_str(row->def);
}

static bool
set_default(struct builder *b, size_t at, struct fail *why)
{
	const struct conf_option *row = &b->rows[at];
	size_t host;

	if (row->offset == offsetof(struct conf, mydomain) &&
	    row_by_name(b->rows, b->nrows, SPAN("myhostname"), &host) && b->states[host] != DOING && !resolve(b, host, why))
		return false;
	return set_value(b, row, computed_default(b, row), b->conf, &b->source->options[at], why);
}

/* What the running suite has, if the row says that it cannot change it: the value in the file is for its next start. */
static void
keep_fixed(struct builder *b, const struct conf_option *row, void *base, struct span *text, struct span has, struct span of)
{
	struct conf_at nowhere = { 0, 0 };
	struct buf quoted;
	struct fail why;

	if (row->reload != CONF_FIXED || span_eq(*text, has))
		return;
	conf_put_name(b->running->later, row->name, of);
	buf_init(&quoted, CONF_FILE_MAX);
	conf_value_quote(&quoted, has);
	if (!conf_value_set(row, buf_span(&quoted), base, b->arena, text, &why))
		conf_error(b->errors, nowhere, "%s: %s", row->name, why.text);
	buf_free(&quoted);
}

/* False only where the default itself cannot be had. */
static bool
resolve(struct builder *b, size_t at, struct fail *why)
{
	const struct conf_option *row = &b->rows[at];
	const struct conf_item *item = b->given[at];
	struct conf_at nowhere = { 0, 0 };
	struct fail own;

	if (b->states[at] == DONE)
		return true;
	b->states[at] = DOING;
	if (item)
		b->source->options_at[at] = item->value_at;
	if (item && !set_value(b, row, item->value, b->conf, &b->source->options[at], &own)) {
		conf_error(b->errors, item->value_at, "%s: %s", row->name, own.text);
		item = NULL;
	}
	if (!item && !set_default(b, at, &own)) {
		b->states[at] = DONE;
		b->source->options[at] = SPAN("");
		conf_error(b->errors, nowhere, "the default of %s: %s", row->name, own.text);
		return fail_set(why, FAIL_PERM, 0, "%s has no value", row->name);
	}
	if (b->running)
		keep_fixed(b, row, b->conf, &b->source->options[at], b->running->conf->source->options[at], SPAN(""));
	b->states[at] = DONE;
	return true;
}

/* ---- blocks ---- */

static const struct service {
	enum conf_word word;
	unsigned port;
	const char *socket;
	const char *tls, *auth, *banner, *mynetworks, *milters;
	enum { ALWAYS, TLS, NEVER } stands;
} services[] = {
#define SERVICE(...) { __VA_ARGS__ },
#include "conf/services.def"
};

static const struct service *
service_of(enum conf_word word)
{
	for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++)
		if (services[i].word == word)
			return &services[i];
	return &services[0];
}

/* The raw default of a listener's option. */
static struct span
listener_default(struct builder *b, const struct conf_option *row, const struct conf_listener *l)
{
	const struct service *s = service_of(l->service);

	if (row->offset == offsetof(struct conf_listener, service))
		return conf_word_text(CONF_SERVICE_SMTP);
	if (strcmp(row->def, "@") != 0)
		return span_str(row->def);
	if (row->offset == offsetof(struct conf_listener, tls))
		return span_str(s->tls);
	if (row->offset == offsetof(struct conf_listener, auth))
		return span_str(s->auth);
	if (row->offset == offsetof(struct conf_listener, banner))
		return span_str(s->banner);
	if (row->offset == offsetof(struct conf_listener, mynetworks))
		return span_str(s->mynetworks);
	if (row->offset == offsetof(struct conf_listener, milters))
		return span_str(s->milters);
	if (s->port == 0)
		return arena_printf(b->arena, "$run_directory/%s", s->socket);
	return arena_printf(b->arena, "*:%u", s->port);
}

/* A block named for its service need not say it again. */
static bool
service_by_name(struct span name, enum conf_word *word)
{
	for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++) {
		if (span_eq(name, conf_word_text(services[i].word))) {
			*word = services[i].word;
			return true;
		}
	}
	return false;
}

/* The texts of the running suite's listener on this address, whichever its name: the socket is what cannot be changed.
 * NULL: there is none, it will be a new one. */
static const struct span *
running_listener(const struct builder *b, struct span address)
{
	const struct conf *conf = b->running ? b->running->conf : NULL;

	for (size_t i = 0; conf && i < conf->nlisteners; i++)
		if (span_eq(conf->listeners[i].address.text, address))
			return conf->source->listeners[i];
	return NULL;
}

static struct span *
build_block(struct builder *b, enum conf_table kind, const struct conf_block *block, void *base,
    struct conf_listener *listener, struct conf_at **places)
{
	size_t n;
	const struct conf_option *rows = conf_options(kind, &n);
	const struct conf_item **given = arena_alloc(b->arena, n * sizeof(struct conf_item *));
	struct span *texts = arena_alloc(b->arena, n * sizeof(*texts));
	const struct span *has;
	enum conf_word named;
	struct span raw;
	struct fail why;

	*places = arena_alloc(b->arena, n * sizeof(**places));
	if (!given || !texts || !*places)
		return NULL;
	match_items(b->errors, &block->items, rows, n, given);
	for (size_t i = 0; i < n; i++) {
		if (given[i])
			(*places)[i] = given[i]->value_at;
		if (given[i] && set_value(b, &rows[i], given[i]->value, base, &texts[i], &why))
			continue;
		if (given[i])
			conf_error(b->errors, given[i]->value_at, "%s: %s", rows[i].name, why.text);
		raw = listener ? listener_default(b, &rows[i], listener) : span_str(rows[i].def);
		if (listener && i == 0 && service_by_name(block->name, &named))
			raw = conf_word_text(named);
		if (!set_value(b, &rows[i], raw, base, &texts[i], &why)) {
			conf_error(b->errors, block->at, "the default of %s: %s", rows[i].name, why.text);
			texts[i] = SPAN("");
		}
	}
	has = listener ? running_listener(b, listener->address.text) : NULL;
	for (size_t i = 0; has && i < n; i++)
		keep_fixed(b, &rows[i], base, &texts[i], has[i], block->name);
	return texts;
}

static void
check_listener(struct builder *b, const struct conf_block *block, const struct conf_listener *l)
{
	bool imap_or_pop = l->service >= CONF_SERVICE_IMAP && l->service <= CONF_SERVICE_POP3S;

	if (l->tls != CONF_MODE_NONE && l->tls != CONF_MODE_MAY && l->cert_file.n == 0 &&
	    b->conf->smtpd_tls_chain_files.n == 0)
		conf_error(b->errors, block->at,
		    "listener %.*s: tls = %.*s needs a certificate: smtpd_tls_cert_file or cert_file", SPAN_ARG(l->name), SPAN_ARG(conf_word_text(l->tls)));
	if (l->name.n > CONF_LISTENER_NAME_MAX)
		conf_error(b->errors, block->at, "a listener's name has %d characters at most", CONF_LISTENER_NAME_MAX);
	if (l->service == CONF_SERVICE_SUBMIT && l->address.sa.ss_family != AF_UNIX)
		conf_error(b->errors, block->at,
		    "listener %.*s: submit is for a UNIX socket only, which says who is calling", SPAN_ARG(l->name));
	if (imap_or_pop && !l->auth)
		conf_error(b->errors, block->at, "listener %.*s: IMAP and POP3 are of no use without auth",
		    SPAN_ARG(l->name));
	for (size_t i = 0; i < l->mode.n; i++) {
		if (l->mode.p[i] < '0' || l->mode.p[i] > '7') {
			conf_error(b->errors, block->at, "listener %.*s: mode must be octal, such as 0666",
			    SPAN_ARG(l->name));
			break;
		}
	}
}

/* Of two that have no other errors: an address that cannot be read is at its default for now. */
static void
check_address(struct builder *b, const struct conf_block *block, const struct conf_listener *l, const struct conf_listener *other)
{
	struct conf_at at = block->at;

	for (size_t i = 0; i < block->items.n; i++)
		if (span_eq(block->items.v[i].name, SPAN("address")))
			at = block->items.v[i].value_at;
	if (conf_addr_clash(&l->address, &other->address, b->conf->inet_protocols))
		conf_error(b->errors, at, "address: %.*s is taken by listener %.*s (%.*s)", SPAN_ARG(l->address.text), SPAN_ARG(other->name),
		    SPAN_ARG(other->address.text));
}

static bool
build_listeners(struct builder *b, const struct conf_block *blocks, size_t nblocks, size_t n)
{
	struct conf_listener *v = arena_alloc(b->arena, n * sizeof(*v) + 1);
	size_t at = 0;

	b->source->listeners = arena_alloc(b->arena, n * sizeof(struct span *) + 1);
	b->source->listeners_at = arena_alloc(b->arena, n * sizeof(struct conf_at *) + 1);
	if (!v || !b->source->listeners || !b->source->listeners_at)
		return false;
	for (size_t i = 0; i < nblocks; i++) {
		size_t errors = b->errors->n;

		if (blocks[i].kind != CONF_TABLE_LISTENER)
			continue;
		for (size_t j = 0; j < at; j++)
			if (span_eq(v[j].name, blocks[i].name))
				conf_error(b->errors, blocks[i].at, "a second listener is named \"%.*s\"",
				    SPAN_ARG(blocks[i].name));
		v[at].name = blocks[i].name;
		b->source->listeners[at] = build_block(b, CONF_TABLE_LISTENER, &blocks[i], &v[at], &v[at], &b->source->listeners_at[at]);
		if (!b->source->listeners[at])
			return false;
		if (b->errors->n > errors)
			v[at].address.len = 0;
		for (size_t j = 0; j < at; j++)
			check_address(b, &blocks[i], &v[at], &v[j]);
		check_listener(b, &blocks[i], &v[at]);
		at++;
	}
	b->conf->listeners = v;
	b->conf->nlisteners = at;
	return true;
}

static void
check_route(struct builder *b, const struct conf_block *block, const struct conf_route *r)
{
	bool reply = r->transport == CONF_TRANSPORT_ERROR || r->transport == CONF_TRANSPORT_RETRY;

	if (r->transport == CONF_TRANSPORT_LMTP && r->nexthop.n == 0)
		conf_error(b->errors, block->at,
		    "route %.*s: lmtp needs a nexthop, such as unix:/path or inet:host:port", SPAN_ARG(r->name));
	if (!reply && span_chr(r->nexthop, ' ') != SIZE_MAX)
		conf_error(b->errors, block->at, "route %.*s: a next hop has no blanks", SPAN_ARG(r->name));
}

static bool
build_routes(struct builder *b, const struct conf_block *blocks, size_t nblocks, size_t n)
{
	struct conf_route *v = arena_alloc(b->arena, n * sizeof(*v) + 1);
	size_t at = 0;

	b->source->routes = arena_alloc(b->arena, n * sizeof(struct span *) + 1);
	b->source->routes_at = arena_alloc(b->arena, n * sizeof(struct conf_at *) + 1);
	if (!v || !b->source->routes || !b->source->routes_at)
		return false;
	for (size_t i = 0; i < nblocks; i++) {
		if (blocks[i].kind != CONF_TABLE_ROUTE)
			continue;
		for (size_t j = 0; j < at; j++)
			if (span_caseeq(v[j].name, blocks[i].name))
				conf_error(b->errors, blocks[i].at, "a second route is for \"%.*s\"",
				    SPAN_ARG(blocks[i].name));
		v[at].name = blocks[i].name;
		b->source->routes[at] = build_block(b, CONF_TABLE_ROUTE, &blocks[i], &v[at], NULL, &b->source->routes_at[at]);
		if (!b->source->routes[at])
			return false;
		check_route(b, &blocks[i], &v[at]);
		at++;
	}
	b->conf->routes = v;
	b->conf->nroutes = at;
	return true;
}

/* ---- default listeners ---- */

/* Where a service listens when the file has no listener blocks. */
static struct span
default_address(struct builder *b, const struct service *s, struct span interface)
{
	if (s->port == 0)
		return arena_printf(b->arena, "%.*s/%s", SPAN_ARG(b->conf->run_directory), s->socket);
	if (span_eq(interface, SPAN("all")))
		return arena_printf(b->arena, "*:%u", s->port); /* also of one family: its sockets are known by this at a reload */
	if (span_eq(interface, SPAN("loopback-only")))
		interface = b->conf->inet_protocols == CONF_INET_IPV6 ? SPAN("::1") : SPAN("127.0.0.1");
	if (span_chr(interface, ':') != SIZE_MAX && interface.p[0] != '[')
		return arena_printf(b->arena, "[%.*s]:%u", SPAN_ARG(interface), s->port);
	return arena_printf(b->arena, "%.*s:%u", SPAN_ARG(interface), s->port);
}

static bool
default_block(struct builder *b, const struct service *s, size_t which, struct conf_block *block)
{
	const struct conf_list *interfaces = &b->conf->inet_interfaces;
	struct conf_item *items = arena_alloc(b->arena, sizeof(*items));
	struct span word = conf_word_text(s->word), address;

	if (!items)
		return false;
	address = default_address(b, s, which < interfaces->n ? interfaces->items[which] : SPAN("all"));
	*items = (struct conf_item){ .name = SPAN("address"), .value = address };
	*block = (struct conf_block){ .kind = CONF_TABLE_LISTENER, .name = word, .items = { items, 1, 1 } };
	if (which > 0) {
		items = arena_alloc(b->arena, 2 * sizeof(*items));
		if (!items)
			return false;
		items[0] = block->items.v[0];
		items[1] = (struct conf_item){ .name = SPAN("service"), .value = word };
		block->items = (struct conf_items){ items, 2, 2 };
		block->name = arena_printf(b->arena, "%.*s%zu", SPAN_ARG(word), which + 1);
	}
	return block->name.p != NULL && address.p != NULL;
}

static bool
default_listeners(struct builder *b)
{
	bool have_tls = b->conf->smtpd_tls_cert_file.n > 0 || b->conf->smtpd_tls_chain_files.n > 0;
	size_t nservices = sizeof(services) / sizeof(services[0]), n = 0;
	size_t each = b->conf->inet_interfaces.n ? b->conf->inet_interfaces.n : 1;
	struct conf_block *blocks = arena_alloc(b->arena, nservices * each * sizeof(*blocks));

	if (!blocks)
		return false;
	for (size_t i = 0; i < nservices; i++) {
		if (services[i].stands == NEVER || (services[i].stands == TLS && !have_tls))
			continue;
		for (size_t which = 0; which < (services[i].port ? each : 1); which++)
			if (!default_block(b, &services[i], which, &blocks[n++]))
				return false;
	}
	return build_listeners(b, blocks, n, n);
}

/* ---- the whole ---- */

static int
by_position(const void *a, const void *b)
{
	const struct conf_error *x = a, *y = b;

	if (x->line != y->line)
		return x->line < y->line ? -1 : 1;
	return x->column < y->column ? -1 : x->column > y->column;
}

static bool
build(struct builder *b, const struct conf_file *file)
{
	size_t nlisteners = 0, nroutes = 0;
	struct fail why;

	match_items(b->errors, &file->items, b->rows, b->nrows, b->given);
	for (size_t i = 0; i < b->nrows; i++)
		(void)resolve(b, i, &why);
	for (size_t i = 0; i < file->nblocks; i++)
		*(file->blocks[i].kind == CONF_TABLE_LISTENER ? &nlisteners : &nroutes) += 1;
	if (!build_routes(b, file->blocks, file->nblocks, nroutes))
		return false;
	return nlisteners > 0 ? build_listeners(b, file->blocks, file->nblocks, nlisteners) : default_listeners(b);
}

static bool
builder_init(struct builder *b, const struct conf_running *running, struct arena *arena, struct conf_errors *errors)
{
	*b = (struct builder){ .running = running, .arena = arena, .errors = errors };
	b->rows = conf_options(CONF_TABLE_OPTIONS, &b->nrows);
	b->conf = ARENA_NEW(arena, struct conf);
	b->source = ARENA_NEW(arena, struct conf_source);
	b->given = arena_alloc(arena, b->nrows * sizeof(struct conf_item *));
	b->states = arena_alloc(arena, b->nrows * sizeof(*b->states));
	if (!b->conf || !b->source || !b->given || !b->states)
		return false;
	b->source->options = arena_alloc(arena, b->nrows * sizeof(struct span));
	b->source->options_at = arena_alloc(arena, b->nrows * sizeof(struct conf_at));
	b->conf->source = b->source;
	return b->source->options && b->source->options_at;
}

const struct conf *
conf_build(struct span text, const struct conf_running *running, struct arena *arena, struct conf_errors *errors)
{
	struct conf_at nowhere = { 0, 0 };
	struct conf_file file;
	struct builder b;
	bool whole, built;

	errors->n = errors->more = 0;
	whole = conf_syntax(text, arena, &file, errors);
	built = builder_init(&b, running, arena, errors) && build(&b, &file);
	if (!built)
		conf_error(errors, nowhere, "no memory for the configuration");
	qsort(errors->items, errors->n, sizeof(errors->items[0]), by_position);
	return whole && built ? b.conf : NULL;
}

const struct conf *
conf_parse(struct span text, struct arena *arena, struct conf_errors *errors)
{
	const struct conf *conf = conf_build(text, NULL, arena, errors);

	return errors->n == 0 ? conf : NULL;
}

const struct conf *
conf_default(struct arena *arena)
{
	struct conf_errors *errors = malloc(sizeof(*errors));
	const struct conf *conf = errors ? conf_parse(SPAN(""), arena, errors) : NULL;

	free(errors);
	return conf;
}
