/* SPDX-License-Identifier: ISC
 *
 * param: "value; name=value; ..." of MIME fields (RFC 2045 5.1) and the
 * continuations, character sets and languages of RFC 2231.
 */
#ifndef MAIL_PARAM_H
#define MAIL_PARAM_H

#include "base/arena.h"
#include "base/buf.h"

struct param {
	struct param *next;
	struct span name;  /* as written, "filename*0*" included */
	struct span value; /* unquoted, otherwise as written */
};

struct param_list {
	struct param *first;
	unsigned count;
};

/* Parses what stands behind the first ';' of a field (pass all of it; leading ';' and blanks are skipped). Tolerates
 * blanks and comments around '=', unquoted values with odd characters, a missing quote. False only when the arena is
 * exhausted. */
bool param_parse(struct param_list *list, struct span raw, struct arena *arena);

/* The plain parameter of that name. */
bool param_raw(const struct param_list *list, struct span name, struct span *value);
/* The value as UTF-8 with RFC 2231 (and, as found in the wild, RFC 2047) decoded, appended to out. False: none, or out
 * failed. */
bool param_get(const struct param_list *list, struct span name, struct buf *out);

/* Appends "; name=value", quoted or as RFC 2231 name*=utf-8''... as the value needs. */
void param_put(struct buf *out, struct span name, struct span utf8);

#endif
