/* SPDX-License-Identifier: ISC */
#include "mail/status.h"

static const struct status rows[STATUS_COUNT] = {
	[STATUS_NONE] = { "NONE", "", 0, FAIL_NONE, "", "" },
#define STATUS(name, code, reply, class, text, report) [STATUS_##name] = { #name, code, reply, class, text, report },
#include "mail/status.def"
#undef STATUS
};

const struct status *
status_get(unsigned id)
{
	return &rows[id < STATUS_COUNT ? id : STATUS_NONE];
}

static unsigned
find(struct span code)
{
	for (unsigned i = 1; i < STATUS_COUNT; i++)
		if (span_eq(span_str(rows[i].code), code))
			return i;
	return STATUS_NONE;
}

enum { CODE_MAX = 9 }; /* "5.123.456" */

/* RFC 3463 2: class "." subject "." detail, where class is 2, 4 or 5 and the others have 1 to 3 digits. */
static size_t
code_size(struct span s)
{
	size_t n = 1;

	if (s.n == 0 || (s.p[0] != '2' && s.p[0] != '4' && s.p[0] != '5'))
		return 0;
	for (int i = 0; i < 2; i++) {
		size_t digits = 0;

		if (n >= s.n || s.p[n] != '.')
			return 0;
		for (n++; n < s.n && ascii_digit(s.p[n]); n++)
			digits++;
		if (digits < 1 || digits > 3)
			return 0;
	}
	return n;
}

unsigned
status_find_code(struct span code)
{
	char general[CODE_MAX + 3];
	size_t subject;
	unsigned id;

	if (code.n == 0 || code_size(code) != code.n)
		return STATUS_NONE;
	id = find(code);
	if (id)
		return id;
	subject = span_rchr(code, '.');
	for (size_t i = 0; i < subject; i++)
		general[i] = code.p[i];
	general[subject] = '.';
	general[subject + 1] = '0';
	id = find(span_of(general, subject + 2));
	if (id)
		return id;
	return code.p[0] == '2' ? STATUS_OK : code.p[0] == '4' ? STATUS_TEMP : STATUS_PERM;
}

unsigned
status_find_reply(unsigned reply)
{
	static const struct {
		unsigned reply;
		enum status_id id;
	} known[] = {
		{ 421, STATUS_NOT_ACCEPTING }, { 450, STATUS_MAILBOX_TEMP }, { 451, STATUS_SYSTEM_LOCAL_TEMP },
		{ 452, STATUS_DISK_FULL }, { 454, STATUS_TLS_FAILED }, { 500, STATUS_BAD_COMMAND },
		{ 501, STATUS_BAD_ARGUMENT }, { 502, STATUS_NOT_IMPLEMENTED }, { 503, STATUS_BAD_SEQUENCE },
		{ 504, STATUS_BAD_PARAMETER }, { 521, STATUS_NOT_ACCEPTING_EVER }, { 530, STATUS_AUTH_REQUIRED },
		{ 535, STATUS_AUTH_FAILED }, { 550, STATUS_PERM }, { 551, STATUS_MOVED },
		{ 552, STATUS_MAILBOX_FULL }, { 553, STATUS_ADDRESS_PERM }, { 554, STATUS_PERM },
		{ 555, STATUS_UNKNOWN_PARAMETER }, { 556, STATUS_NULL_MX },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].reply == reply)
			return known[i].id;
	if (reply >= 200 && reply < 300)
		return STATUS_OK;
	return reply >= 500 && reply < 600 ? STATUS_PERM : STATUS_TEMP;
}

unsigned
status_find_name(struct span name)
{
	for (unsigned i = 1; i < STATUS_COUNT; i++)
		if (span_caseeq(span_str(rows[i].name), name))
			return i;
	return STATUS_NONE;
}

struct span
status_take_code(unsigned reply, struct span *text)
{
	size_t n = code_size(*text);
	struct span code;

	if (n == 0 || (unsigned)(text->p[0] - '0') != reply / 100 || (n < text->n && !ascii_blank(text->p[n])))
		return SPAN_NONE;
	code = span_sub(*text, 0, n);
	*text = span_from(*text, n);
	while (text->n && ascii_blank(text->p[0]))
		*text = span_from(*text, 1);
	return code;
}

unsigned
status_of_fail(const struct fail *why)
{
	if (why->status > STATUS_NONE && why->status < STATUS_COUNT)
		return why->status;
	switch (why->class) {
	case FAIL_PERM:
		return STATUS_PERM;
	case FAIL_PEER:
		return STATUS_PROTOCOL_TEMP;
	case FAIL_LIMIT:
		return STATUS_SYSTEM_LOCAL_TEMP;
	case FAIL_NONE:
		return STATUS_NONE;
	case FAIL_TEMP:
		break;
	}
	return STATUS_TEMP;
}
