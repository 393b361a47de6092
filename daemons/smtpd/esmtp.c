/* SPDX-License-Identifier: ISC
 *
 * esmtp: the parameters of MAIL and RCPT (RFC 5321 4.1.2).
 */
#include "command.h"
#include "mail/date.h"
#include "mail/orcpt.h"

enum {
	ENVID_MAX = 100, /* RFC 3461 4.4, encoded */
	AUTH_MAX = 500,  /* RFC 4954 5 */
};

enum param_command { PARAM_MAIL, PARAM_RCPT };

/* What a handler may fill. */
struct target {
	struct session *s;
	struct transaction *t;
	struct recipient *r; /* RCPT only */
};

/* False: *status is the refusal, BAD_PARAMETER unless set. */
typedef bool param_handler(struct target *to, struct span value, unsigned *status);

#define PARAM(command, keyword, ext, rfc, handler) static param_handler handler;
#include "params.def"

static const struct param_row {
	enum param_command command;
	struct span keyword;
	unsigned extension;
	param_handler *take;
} rows[] = {
#define PARAM(command, keyword, ext, rfc, handler) { PARAM_##command, SPAN_INIT(keyword), ext, handler },
#include "params.def"
};
enum { NROWS = sizeof(rows) / sizeof(*rows) };

static bool
mail_size(struct target *to, struct span value, unsigned *status)
{
	uint64_t limit = to->s->policy->listener->message_size_limit;

	if (value.n == 0 || value.n > 20)
		return false;
	for (size_t i = 0; i < value.n; i++)
		if (!ascii_digit(value.p[i]))
			return false;
	if (!span_u64(value, UINT64_MAX, &to->t->size)) /* of 20 digits, but more than anybody has */
		to->t->size = UINT64_MAX;
	if (!limit || to->t->size <= limit)
		return true;
	*status = STATUS_TOO_BIG; /* RFC 1870 6.1 (2) */
	return false;
}

static bool
mail_body(struct target *to, struct span value, unsigned *status)
{
	(void)status;
	to->t->binary = span_caseeq(value, SPAN("BINARYMIME")) && to->s->policy->extensions & EXT(BINARYMIME); /* RFC 3030 3 */
	to->t->body8 = to->t->binary || span_caseeq(value, SPAN("8BITMIME"));
	return to->t->body8 || span_caseeq(value, SPAN("7BIT"));
}

static bool
mail_utf8(struct target *to, struct span value, unsigned *status)
{
	(void)status;
	to->t->utf8 = !value.p;
	return to->t->utf8;
}

static bool
mail_requiretls(struct target *to, struct span value, unsigned *status)
{
	(void)status;
	to->t->requiretls = !value.p;
	return to->t->requiretls;
}

/* One of the two, and no later than we would keep it. */
static bool
hold_until(struct target *to, int64_t now, int64_t time)
{
	int64_t limit = (int64_t)to->s->policy->conf->smtpd_future_release_limit / 1000;

	if (to->t->release_ms || time > now + limit)
		return false;
	to->t->release_ms = time * 1000;
	return true;
}

static bool
mail_holdfor(struct target *to, struct span value, unsigned *status)
{
	int64_t now = to->s->ports->time(to->s->owner);
	uint64_t n;

	(void)status;
	if (value.n > 9 || !span_u64(value, 999999999, &n) || n == 0 || !hold_until(to, now, now + (int64_t)n))
		return false;
	to->t->release_ms += 999; /* the second has begun: no shorter than was asked for */
	return true;
}

static bool
mail_holduntil(struct target *to, struct span value, unsigned *status)
{
	int64_t now = to->s->ports->time(to->s->owner), time;

	(void)status;
	return date_parse_iso(&time, value) && time > 0 && hold_until(to, now, time); /* what is past is now */
}

/* ["-" / "+"] 1*9DIGIT ";" ("N" / "R") ["T"]; no mail comes back before it was sent. */
static bool
mail_by(struct target *to, struct span value, unsigned *status)
{
	struct span time = span_cut(&value, ';');
	bool minus = span_starts(time, SPAN("-"));
	char mode = value.n ? ascii_lower(value.p[0]) : '\0';
	uint64_t n;

	(void)status;
	if (minus || span_starts(time, SPAN("+")))
		time = span_from(time, 1);
	if (time.n > 9 || !span_u64(time, 999999999, &n) || (mode != 'n' && mode != 'r'))
		return false;
	if (value.n > 1 && !(value.n == 2 && ascii_lower(value.p[1]) == 't'))
		return false;
	to->t->by_s = minus ? -(int64_t)n : (int64_t)n;
	to->t->by_mode = (uint8_t)((mode == 'r' ? BY_RETURN : BY_NOTIFY) | (value.n > 1 ? BY_TRACE : 0));
	return mode == 'n' || to->t->by_s > 0;
}

/* RFC 6710 4.1: above 0 from those alone whom we trust, and as far. */
static bool
mail_priority(struct target *to, struct span value, unsigned *status)
{
	const struct session *s = to->s;
	bool minus = span_starts(value, SPAN("-"));
	int limit = session_may_relay(s) ? (int)s->policy->conf->smtpd_mt_priority_limit : 0, n;
	uint64_t digit;

	(void)status;
	value = span_from(value, minus);
	if (value.n != 1 || !span_u64(value, 9, &digit) || (minus && digit == 0))
		return false;
	n = minus ? -(int)digit : (int)digit;
	to->t->lowered = n > limit;
	to->t->priority = (uint8_t)(10 + (n > limit ? limit : n));
	return true;
}

static bool
mail_ret(struct target *to, struct span value, unsigned *status)
{
	(void)status;
	to->t->ret = span_caseeq(value, SPAN("FULL")) ? 1 : span_caseeq(value, SPAN("HDRS")) ? 2 : 0;
	return to->t->ret != 0;
}

/* Decoded xtext that is printable ASCII, as RFC 3461 4.2 and 4.4 have it; copied. */
static bool
take_xtext(struct session *s, struct span value, size_t max, struct span *copy)
{
	struct buf raw;
	bool good;

	buf_init(&raw, 1024);
	good = value.n > 0 && value.n <= max && xtext_decode(&raw, value) && buf_len(&raw) > 0;
	for (size_t i = 0; good && i < buf_len(&raw); i++)
		good = ascii_print(buf_span(&raw).p[i]);
	if (good) {
		*copy = arena_dup(&s->mail_mem, buf_span(&raw));
		good = copy->p != NULL;
	}
	buf_free(&raw);
	return good;
}

static bool
mail_envid(struct target *to, struct span value, unsigned *status)
{
	(void)status;
	return take_xtext(to->s, value, ENVID_MAX, &to->t->envid);
}

/* Checked and put aside: we trust nobody's word on who wrote a message. */
static bool
mail_auth(struct target *to, struct span value, unsigned *status)
{
	struct span ignored;

	(void)status;
	return take_xtext(to->s, value, AUTH_MAX, &ignored);
}

static bool
rcpt_notify(struct target *to, struct span value, unsigned *status)
{
	static const struct {
		struct span word;
		uint8_t bit;
	} words[] = { { SPAN_INIT("SUCCESS"), 1 }, { SPAN_INIT("FAILURE"), 2 }, { SPAN_INIT("DELAY"), 4 }, { SPAN_INIT("NEVER"), 8 } };
	uint8_t set = 0;

	(void)status;
	while (value.p) {
		struct span word = span_cut(&value, ',');
		uint8_t bit = 0;

		for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
			if (span_caseeq(word, words[i].word))
				bit = words[i].bit;
		if (!bit)
			return false;
		set |= bit;
	}
	to->r->notify = set;
	return set != 0 && (!(set & 8) || set == 8); /* NEVER stands alone */
}

static bool
rcpt_orcpt(struct target *to, struct span value, unsigned *status)
{
	(void)status;
	if (!orcpt_valid(value, to->t->utf8))
		return false;
	to->r->orcpt = arena_dup(&to->s->mail_mem, value);
	return to->r->orcpt.p != NULL;
}

unsigned
esmtp_offered(const struct session *s)
{
	unsigned set = s->policy->extensions;

	return s->tls.n ? set : set & ~EXT(REQUIRETLS); /* RFC 8689 2 */
}

static const struct param_row *
find(enum param_command command, struct span keyword)
{
	for (size_t i = 0; i < NROWS; i++)
		if (rows[i].command == command && span_caseeq(rows[i].keyword, keyword))
			return &rows[i];
	return NULL;
}

static bool
take_params(struct target *to, enum param_command command, struct span params, unsigned *status)
{
	unsigned seen = 0;
	struct span word;

	while ((word = span_word(&params)).n) {
		struct span value = word, keyword = span_cut(&value, '=');
		const struct param_row *row = find(command, keyword);

		if (!row || !(esmtp_offered(to->s) & row->extension)) {
			*status = STATUS_UNKNOWN_PARAMETER; /* RFC 5321 4.1.1.11 */
			return false;
		}
		*status = STATUS_BAD_PARAMETER;
		if (seen & (1u << (row - rows)) || !row->take(to, value, status))
			return false;
		seen |= 1u << (row - rows);
	}
	return true;
}

bool
esmtp_mail_params(struct session *s, struct transaction *t, struct span params, unsigned *status)
{
	return take_params(&(struct target){ .s = s, .t = t }, PARAM_MAIL, params, status);
}

bool
esmtp_rcpt_params(struct session *s, struct recipient *r, struct span params, unsigned *status)
{
	return take_params(&(struct target){ .s = s, .t = s->mail, .r = r }, PARAM_RCPT, params, status);
}
