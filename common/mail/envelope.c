/* SPDX-License-Identifier: ISC */
#include "mail/envelope.h"

#include <stddef.h>

#include "mail/header.h"
#include "mail/limits.h"

enum { AS_TEXT, AS_ADDRESSES };

static const struct {
	struct span name;
	int as;
	size_t offset;
} fields[] = {
	{ SPAN_INIT("Date"), AS_TEXT, offsetof(struct envelope, date) },
	{ SPAN_INIT("Subject"), AS_TEXT, offsetof(struct envelope, subject) },
	{ SPAN_INIT("From"), AS_ADDRESSES, offsetof(struct envelope, from) },
	{ SPAN_INIT("Sender"), AS_ADDRESSES, offsetof(struct envelope, sender) },
	{ SPAN_INIT("Reply-To"), AS_ADDRESSES, offsetof(struct envelope, reply_to) },
	{ SPAN_INIT("To"), AS_ADDRESSES, offsetof(struct envelope, to) },
	{ SPAN_INIT("Cc"), AS_ADDRESSES, offsetof(struct envelope, cc) },
	{ SPAN_INIT("Bcc"), AS_ADDRESSES, offsetof(struct envelope, bcc) },
	{ SPAN_INIT("In-Reply-To"), AS_TEXT, offsetof(struct envelope, in_reply_to) },
	{ SPAN_INIT("Message-ID"), AS_TEXT, offsetof(struct envelope, message_id) },
};

/* A second field of the same name goes on with the first (RFC 5322 forbids it, mail has it). */
static bool
take_addresses(struct addrlist *to, struct span value, struct arena *arena)
{
	struct addrlist more;
	struct addrlist_item **tail = &to->first;

	if (to->count >= LIMIT_ADDRESSES)
		return true;
	if (!addrlist_parse(&more, value, arena))
		return false;
	while (*tail)
		tail = &(*tail)->next;
	*tail = more.first;
	to->count += more.count;
	return true;
}

bool
envelope_take(struct envelope *e, const struct header_field *f, struct arena *arena)
{
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		void *member = (char *)e + fields[i].offset;

		if (!span_caseeq(f->name, fields[i].name))
			continue;
		if (fields[i].as == AS_ADDRESSES)
			return take_addresses(member, f->value, arena);
		if (!((struct span *)member)->p) {
			*(struct span *)member = header_unfold(f->value, arena);
			return ((struct span *)member)->p != NULL;
		}
		break;
	}
	return true;
}

bool
envelope_parse(struct envelope *e, struct span header, struct arena *arena)
{
	struct header_walk w = header_walk(header);
	struct header_field f;

	*e = (struct envelope){ .date = SPAN_NONE };
	while (header_next(&w, &f))
		if (!envelope_take(e, &f, arena))
			return false;
	return true;
}
