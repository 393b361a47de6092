/* SPDX-License-Identifier: ISC */
#include "change.h"

#include "mail/address.h"

static void
note(struct visit *v, struct span filter, const struct milter_reply *r, struct span text)
{
	log_put(LOG_filter, "session=%.*s id=%s filter=%.*s stage=END action=%s %s%.*s", SPAN_ARG(v->facts.session), v->facts.queue_id, SPAN_ARG(filter),
	    milter_reply_name(r->id), r->name.n ? "field=" : "text=", SPAN_ARG(text));
}

/* The path without its brackets; p NULL: none. */
static struct span
path(struct span value, bool null_too, struct address *a)
{
	unsigned flags = ADDRESS_UTF8 | ADDRESS_LONG_LOCAL | ADDRESS_NO_DOMAIN | (null_too ? ADDRESS_NULL : 0u);
	struct fail why;
	size_t used;

	value = span_trim(value);
	if (null_too && (!value.n || span_eq(value, SPAN("<>"))))
		return SPAN("");
	if (value.n && value.p[0] == '<') {
		if (!address_parse_path(a, value, flags, &used, &why))
			return SPAN_NONE;
	} else if (!address_parse(a, value, flags & ~(unsigned)ADDRESS_NULL, &why))
		return SPAN_NONE;
	return address_text(a).n <= B_ADDRESS ? address_text(a) : SPAN_NONE;
}

static void
change_envelope(struct visit *v, struct span filter, const struct milter_reply *r)
{
	struct channel *c = v->front->channel;
	struct address a;
	struct span to = path(r->value, r->id == MILTER_SAYS_CHGFROM, &a);

	note(v, filter, r, to.p ? to : SPAN("not an address"));
	if (!to.p)
		return;
	if (r->id == MILTER_SAYS_CHGFROM)
		(void)ipc_send_filter_sender(c, &(struct ipc_filter_sender){ .id = v->id, .address = to });
	else if (r->id == MILTER_SAYS_DELRCPT)
		(void)ipc_send_filter_remove(c, &(struct ipc_filter_remove){ .id = v->id, .address = to });
	else
		(void)ipc_send_filter_add(c, &(struct ipc_filter_add){ .id = v->id, .address = to });
}

bool
change_do(struct visit *v, struct span filter, const struct milter_reply *r, struct fail *why)
{
	struct edit *e = &v->letter.edit;
	bool good = true;

	switch (r->id) {
	case MILTER_SAYS_ADDHEADER:
		good = edit_add(e, r->name, r->value);
		break;
	case MILTER_SAYS_INSHEADER:
		good = edit_insert(e, r->index, r->name, r->value);
		break;
	case MILTER_SAYS_CHGHEADER:
		good = edit_change(e, r->index, r->name, r->value);
		break;
	case MILTER_SAYS_REPLBODY:
		return letter_replace(v, r->value, why);
	case MILTER_SAYS_QUARANTINE:
		v->verdict.hold = v->verdict.note = true;
		visit_why(v, filter, "quarantine: %.*s", SPAN_ARG(span_sub(r->value, 0, 200)));
		note(v, filter, r, r->value);
		return true;
	default:
		change_envelope(v, filter, r);
		return true;
	}
	if (!good)
		return fail_set(why, FAIL_LIMIT, 0, "too many changes of the header");
	note(v, filter, r, r->name);
	return true;
}
