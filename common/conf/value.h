/* SPDX-License-Identifier: ISC
 *
 * conf/value: one value's text to its C value and back.  Internal to conf/.
 */
#ifndef CONF_VALUE_H
#define CONF_VALUE_H

#include "conf/conf.h"

/* Reads `raw` ($ already expanded) as the row's kind into the struct at
 * `base`; *text becomes the normal form, which reads as the same value. */
bool conf_value_set(const struct conf_option *row, struct span raw, void *base, struct arena *arena,
    struct span *text, struct fail *why);

/* The text behind optional quotes; false: the quotes are not well-formed. */
bool conf_value_unquote(struct span raw, struct arena *arena, struct span *out, struct fail *why);
/* Appends s, quoted where it would not be read back as one item otherwise. */
void conf_value_quote(struct buf *out, struct span s);
/* The next item of a list separated by blanks and commas, quotes and braces
 * respected; false at the end, and with why->class set for a syntax error. */
bool conf_value_item(struct span *rest, struct arena *arena, struct span *out, struct fail *why);

/* "5m", "4000s", "1h30m"; a bare number is seconds. */
bool conf_value_duration(struct span s, int64_t *ms);
bool conf_value_size(struct span s, uint64_t *bytes);
bool conf_value_net(struct span s, struct conf_net *net);
bool conf_value_addr(struct span s, struct conf_addr *addr, struct fail *why);
/* Whether only one of both can be listened on; inet: what "*" stands for. */
bool conf_addr_clash(const struct conf_addr *a, const struct conf_addr *b, enum conf_word inet);

#endif
