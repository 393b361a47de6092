/* SPDX-License-Identifier: ISC
 *
 * The tables themselves, and what can be asked of their rows.
 */
#include <string.h>

#include "conf/conf.h"

#define OPTION(name_, kind_, def_, min_, max_, see_, reload_, text_)                                  \
	{ .name = #name_, .kind = CONF_KIND_##kind_, .def = def_, .min = min_, .max = max_, .see = see_, \
	  .reload = reload_, .text = text_, .offset = offsetof(struct conf, name_) },
static const struct conf_option options[] = {
#include "conf/options.def"
};

#define OPTION(name_, kind_, def_, min_, max_, see_, reload_, text_)                                  \
	{ .name = #name_, .kind = CONF_KIND_##kind_, .def = def_, .min = min_, .max = max_, .see = see_, \
	  .reload = reload_, .text = text_, .offset = offsetof(struct conf_listener, name_) },
static const struct conf_option listener_options[] = {
#include "conf/listener.def"
};

#define OPTION(name_, kind_, def_, min_, max_, see_, reload_, text_)                                  \
	{ .name = #name_, .kind = CONF_KIND_##kind_, .def = def_, .min = min_, .max = max_, .see = see_, \
	  .reload = reload_, .text = text_, .offset = offsetof(struct conf_route, name_) },
static const struct conf_option route_options[] = {
#include "conf/route.def"
};

static const struct {
	const char *section, *option;
} order[] = {
#define SECTION(title) { title, NULL },
#define OPTION(name, kind, def, min, max, see, reload, text) { NULL, #name },
#include "conf/options.def"
};

static const struct span words[] = {
#define WORD(constant, text) SPAN_INIT(text),
#include "conf/words.def"
};

static const char *const kinds[] = {
#define X(kind, type, meaning) meaning,
	CONF_KINDS(X)
#undef X
};

static const char *const daemons[] = {
#define X(upper, lower) #lower,
	CONF_DAEMONS(X)
#undef X
};

const struct conf_option *
conf_options(enum conf_table table, size_t *n)
{
	switch (table) {
	case CONF_TABLE_LISTENER:
		*n = sizeof(listener_options) / sizeof(listener_options[0]);
		return listener_options;
	case CONF_TABLE_ROUTE:
		*n = sizeof(route_options) / sizeof(route_options[0]);
		return route_options;
	default:
		*n = sizeof(options) / sizeof(options[0]);
		return options;
	}
}

const char *
conf_section(const struct conf_option *option)
{
	for (size_t i = 1; i < sizeof(order) / sizeof(order[0]); i++) {
		if (order[i].option && strcmp(order[i].option, option->name) == 0)
			return order[i - 1].section;
	}
	return NULL;
}

const char *
conf_kind_name(enum conf_kind kind)
{
	return kinds[kind];
}

struct span
conf_word_text(enum conf_word word)
{
	return word < CONF_WORD_COUNT ? words[word] : SPAN("");
}

unsigned
conf_daemon_by_name(struct span name)
{
	for (unsigned i = 0; i < sizeof(daemons) / sizeof(daemons[0]); i++) {
		if (span_eq(name, span_str(daemons[i])))
			return 1U << i;
	}
	return 0;
}
