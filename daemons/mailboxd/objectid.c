/* SPDX-License-Identifier: ISC */
#include "daemons/mailboxd/objectid.h"

#include "base/digest.h"

enum { OCTETS = 16 }; /* of a digest that an id shows */

/* Lower case only, as ids that differ in case alone are to be avoided (RFC 8474 8.1). */
static void
write_id(char out[OBJECTID_SIZE], char kind, struct span digest)
{
	static const char hex[] = "0123456789abcdef";
	size_t n = 0;

	out[n++] = kind;
	for (size_t i = 0; i < OCTETS && i < digest.n; i++) {
		out[n++] = hex[(unsigned char)digest.p[i] >> 4];
		out[n++] = hex[digest.p[i] & 15];
	}
	out[n] = '\0';
}

bool
objectid_email(struct text *t, char out[OBJECTID_SIZE])
{
	struct span digest;

	if (!text_digest(t, &digest))
		return false;
	write_id(out, 'M', digest);
	return true;
}

/* RFC 8474 5.2: it may never change, so what the message itself says decides:
 * the first of its references, else itself. */
bool
objectid_thread(struct text *t, char out[OBJECTID_SIZE])
{
	uint8_t digest[DIGEST_SHA256];
	const struct facts *f;
	struct span rest, own, first;

	if (!text_facts(t, &f))
		return false;
	rest = f->ids;
	own = span_cut(&rest, '\n');
	first = span_cut(&rest, '\n');
	if (!first.n)
		first = own;
	if (!first.n && !text_digest(t, &first))
		return false;
	digest_parts((const struct span[]){ SPAN("thread\n"), first }, 2, digest);
	write_id(out, 'T', span_of(digest, sizeof digest));
	return true;
}

void
objectid_put_mailbox(struct buf *out, uint64_t id)
{
	buf_printf(out, "(F%016llx)", (unsigned long long)id);
}
