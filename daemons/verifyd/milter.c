/* SPDX-License-Identifier: ISC */
#include "milter.h"

#include "base/cursor.h"
#include "mail/status.h"

enum {
	VERSION = 6,
	VERSION_MIN = 2,
	ACTIONS = 0x1ff,           /* all, and a filter's own list of macros */
	ACTION_MACROS = 0x100,
	REJECTED_RECIPIENTS = 0x800, /* the one wish that is not offered */
	PROTOCOL = 0x1fffff & ~REJECTED_RECIPIENTS,
	LEADING_SPACE = 0x100000,  /* the blank behind the colon belongs to the value */
};

struct event {
	const char *name;
	char command;
	uint32_t no_send, no_reply;
	int stage;
	uint32_t version;
};

static const struct event events[] = {
#define EVENT(name, command, no_send, no_reply, stage, version) { #name, command, no_send, no_reply, stage, version },
#include "milter.def"
};

#define MILTER_SHAPES(X) X(NOTHING) X(STRING) X(ADDRESS) X(HEADER) X(INDEXED) X(BYTES) X(CODE)
enum shape {
#define X(name) SHAPE_##name,
	MILTER_SHAPES(X)
#undef X
};

#define ANY UINT32_MAX
#define AT(event) (1u << MILTER_##event)
static const struct reply {
	const char *name;
	char letter;
	enum shape shape;
	uint32_t when, action;
} replies[] = {
#define REPLY(name, letter, shape, when, action) { #name, letter, SHAPE_##shape, when, action },
#include "milter.def"
};

/* What Postfix gives where a filter does not ask for anything else, and {client_addr} with its
 * kin beside: filters that want them say so seldom. */
static const char *const usual[MILTER_STAGES] = {
	"j {daemon_name} {daemon_addr} {client_addr} {client_name} {client_ptr} {client_port} v _",
	"{tls_version} {cipher} {cipher_bits} {cert_subject} {cert_issuer}",
	"i {auth_type} {auth_authen} {auth_author} {mail_addr} {mail_host} {mail_mailer}",
	"i {rcpt_addr} {rcpt_host} {rcpt_mailer}",
	"i",
	"i",
	"i",
};

const char *
milter_event_name(enum milter_event e)
{
	return (unsigned)e < MILTER_EVENTS ? events[e].name : "?";
}

const char *
milter_reply_name(enum milter_reply_id id)
{
	return (unsigned)id < MILTER_REPLIES ? replies[id].name : "?";
}

void
milter_init(struct milter *m)
{
	*m = (struct milter){ .version = VERSION };
	arena_init(&m->mem, MILTER_MEMORY);
}

void
milter_free(struct milter *m)
{
	arena_free(&m->mem);
	milter_init(m);
}

/* ---- out ---- */

static void
put_be32(struct buf *out, uint32_t v)
{
	const char bytes[4] = { (char)(v >> 24), (char)(v >> 16), (char)(v >> 8), (char)v };

	buf_put(out, span_of(bytes, 4));
}

static void
put_be16(struct buf *out, uint16_t v)
{
	const char bytes[2] = { (char)(v >> 8), (char)v };

	buf_put(out, span_of(bytes, 2));
}

static void
put_head(struct buf *out, char command, size_t data)
{
	put_be32(out, (uint32_t)data + 1);
	buf_putc(out, command);
}

/* No NUL ends a string before its end. */
static size_t
string_size(struct span s)
{
	size_t end = span_chr(s, '\0');

	return (end == SIZE_MAX ? s.n : end) + 1;
}

static void
put_string(struct buf *out, struct span s)
{
	buf_put(out, span_sub(s, 0, string_size(s) - 1));
	buf_putc(out, '\0');
}

void
milter_put_offer(struct buf *out)
{
	put_head(out, 'O', 12);
	put_be32(out, VERSION);
	put_be32(out, ACTIONS);
	put_be32(out, PROTOCOL);
}

void
milter_put_macros(const struct milter *m, struct buf *out, enum milter_event e,
    struct span (*value)(void *arg, struct span name), void *arg)
{
	int stage = events[e].stage;
	struct span names, rest, name;
	size_t size = 0;

	if (stage < 0)
		return;
	names = m->macros[stage].p ? m->macros[stage] : span_str(usual[stage]);
	for (rest = names; (name = span_word(&rest)).n;) {
		struct span v = value(arg, name);

		if (v.n)
			size += string_size(name) + string_size(v);
	}
	if (!size)
		return;
	put_head(out, 'D', size + 1);
	buf_putc(out, events[e].command);
	for (rest = names; (name = span_word(&rest)).n;) {
		struct span v = value(arg, name);

		if (v.n) {
			put_string(out, name);
			put_string(out, v);
		}
	}
}

void
milter_put_connect(struct buf *out, struct span host, char family, uint16_t port, struct span address)
{
	size_t size = string_size(host) + 1;

	if (family != 'U')
		size += 2 + string_size(address);
	put_head(out, 'C', size);
	put_string(out, host);
	buf_putc(out, family);
	if (family == 'U')
		return;
	put_be16(out, port);
	put_string(out, address);
}

void
milter_put_strings(struct buf *out, enum milter_event e, const struct span *items, size_t n)
{
	size_t size = 0;

	for (size_t i = 0; i < n; i++)
		size += string_size(items[i]);
	put_head(out, events[e].command, size);
	for (size_t i = 0; i < n; i++)
		put_string(out, items[i]);
}

/* Sendmail's filters know lines of a field by LF alone. */
void
milter_put_header(const struct milter *m, struct buf *out, struct span name, struct span value)
{
	size_t size = 0;

	if (!(m->protocol & LEADING_SPACE) && value.n && ascii_blank(value.p[0]))
		value = span_from(value, 1);
	for (size_t i = 0; i < value.n; i++)
		size += value.p[i] != '\r' && value.p[i] != '\0';
	put_head(out, 'L', string_size(name) + size + 1);
	put_string(out, name);
	while (value.n) {
		size_t n = 0;

		while (n < value.n && value.p[n] != '\r' && value.p[n] != '\0')
			n++;
		buf_put(out, span_sub(value, 0, n));
		value = span_from(value, n < value.n ? n + 1 : n);
	}
	buf_putc(out, '\0');
}

void
milter_put_bytes(struct buf *out, enum milter_event e, struct span bytes)
{
	put_head(out, events[e].command, bytes.n);
	buf_put(out, bytes);
}

void
milter_put_abort(struct buf *out)
{
	put_head(out, 'A', 0);
}

void
milter_put_quit(struct buf *out)
{
	put_head(out, 'Q', 0);
}

/* ---- in ---- */

static uint32_t
take_be32(struct cursor *c)
{
	struct span b = cursor_bytes(c, 4);

	if (!c->ok)
		return 0;
	return (uint32_t)(uint8_t)b.p[0] << 24 | (uint32_t)(uint8_t)b.p[1] << 16 | (uint32_t)(uint8_t)b.p[2] << 8 | (uint8_t)b.p[3];
}

enum milter_step
milter_next(struct span *in, struct span *packet)
{
	struct cursor c = cursor_of(*in);
	uint32_t size = take_be32(&c);

	if (!c.ok)
		return MILTER_NEED;
	if (size == 0 || size > MILTER_PACKET_MAX)
		return MILTER_BAD;
	if (cursor_left(&c) < size)
		return MILTER_NEED;
	*packet = cursor_bytes(&c, size);
	*in = cursor_rest(&c);
	return MILTER_PACKET;
}

/* What stands before the next NUL, which must be there. */
static struct span
take_string(struct cursor *c)
{
	size_t n = span_chr(cursor_rest(c), '\0');
	struct span s;

	if (n == SIZE_MAX) {
		c->ok = false;
		return SPAN_NONE;
	}
	s = cursor_bytes(c, n);
	(void)cursor_u8(c);
	return s;
}

static bool
fine_names(struct span names)
{
	unsigned n = 0;

	for (size_t i = 0; i < names.n; i++)
		if (!ascii_print(names.p[i]) && !ascii_blank(names.p[i]))
			return false;
	while (span_word(&names).n)
		n++;
	return n <= MILTER_MACROS_MAX;
}

static bool
take_macros(struct milter *m, struct cursor *c, struct fail *why)
{
	while (!cursor_end(c)) {
		uint32_t stage = take_be32(c);
		struct span names = take_string(c);

		if (!c->ok || stage >= MILTER_STAGES || !fine_names(names))
			return fail_set(why, FAIL_PEER, 0, "malformed list of macros");
		m->macros[stage] = arena_printf(&m->mem, "%.*s", SPAN_ARG(names));
		if (!m->macros[stage].p)
			return fail_set(why, FAIL_PEER, 0, "long list of macros");
	}
	return true;
}

bool
milter_negotiated(struct milter *m, struct span packet, struct fail *why)
{
	struct cursor c = cursor_of(packet);

	if (cursor_u8(&c) != 'O')
		return fail_set(why, FAIL_PEER, 0, "no negotiation");
	m->version = take_be32(&c);
	m->actions = take_be32(&c);
	m->protocol = take_be32(&c);
	if (!c.ok)
		return fail_set(why, FAIL_PEER, 0, "malformed negotiation");
	if (m->version < VERSION_MIN || m->version > VERSION)
		return fail_set(why, FAIL_PEER, 0, "protocol version %u", (unsigned)m->version);
	m->protocol &= PROTOCOL;
	if (m->actions & ~(uint32_t)ACTIONS)
		return fail_set(why, FAIL_PEER, 0, "wants actions that were not offered: 0x%x", (unsigned)m->actions);
	return !(m->actions & ACTION_MACROS) || take_macros(m, &c, why);
}

bool
milter_wants(const struct milter *m, enum milter_event e)
{
	return !(m->protocol & events[e].no_send) && m->version >= events[e].version;
}

bool
milter_answers(const struct milter *m, enum milter_event e)
{
	return !(m->protocol & events[e].no_reply);
}

/* 550 5.7.1 text CRLF 550-... */
static bool
take_code(struct cursor *c, struct milter_reply *r)
{
	struct span s = take_string(c), code = span_sub(s, 0, 3);
	uint64_t n;

	if (!c->ok || !span_u64(code, 599, &n) || code.n != 3 || n < 400)
		return false;
	s = span_from(s, 3);
	if (s.n && s.p[0] != ' ' && s.p[0] != '-')
		return false;
	s = span_from(s, s.n > 0);
	r->code = (unsigned)n;
	r->xcode = status_take_code(r->code, &s);
	r->text = s;
	return true;
}

/* A field's name as RFC 5322 2.2 has it. */
static bool
fine_name(struct span name)
{
	for (size_t i = 0; i < name.n; i++)
		if (name.p[i] <= ' ' || name.p[i] > '~' || name.p[i] == ':')
			return false;
	return name.n > 0 && name.n < 998;
}

static bool
take_shape(enum shape shape, struct cursor *c, struct milter_reply *r)
{
	switch (shape) {
	case SHAPE_NOTHING:
		return true;
	case SHAPE_STRING:
		r->value = take_string(c);
		return c->ok;
	case SHAPE_ADDRESS: /* parameters behind it are left aside */
		r->value = take_string(c);
		return c->ok;
	case SHAPE_INDEXED:
		r->index = take_be32(c);
		r->name = take_string(c);
		r->value = take_string(c);
		return c->ok && fine_name(r->name);
	case SHAPE_HEADER:
		r->name = take_string(c);
		r->value = take_string(c);
		return c->ok && fine_name(r->name);
	case SHAPE_BYTES:
		r->value = cursor_rest(c);
		return true;
	case SHAPE_CODE:
		return take_code(c, r);
	}
	return false;
}

bool
milter_take(const struct milter *m, enum milter_event at, struct span packet, struct milter_reply *r, struct fail *why)
{
	struct cursor c = cursor_of(packet);
	char letter = (char)cursor_u8(&c);

	*r = (struct milter_reply){ .code = 0 };
	for (size_t i = 0; i < MILTER_REPLIES; i++) {
		const struct reply *row = &replies[i];

		if (row->letter != letter)
			continue;
		r->id = (enum milter_reply_id)i;
		if (!(row->when & 1u << at))
			return fail_set(why, FAIL_PEER, 0, "%s in answer to %s", row->name, events[at].name);
		if (row->action && !(m->actions & row->action))
			return fail_set(why, FAIL_PEER, 0, "%s, which was not agreed on", row->name);
		return take_shape(row->shape, &c, r) || fail_set(why, FAIL_PEER, 0, "malformed %s", row->name);
	}
	return fail_set(why, FAIL_PEER, 0, "unknown reply 0x%02x", (unsigned)(unsigned char)letter);
}

static void
put_line(struct buf *out, struct span line)
{
	for (size_t i = 0; i < line.n; i++) {
		if (line.p[i] == '%' && i + 1 < line.n && line.p[i + 1] == '%')
			i++; /* smfi_setreply() wants them doubled */
		buf_putc(out, ascii_print(line.p[i]) ? line.p[i] : '?');
	}
}

void
milter_put_text(struct buf *out, const struct milter_reply *r)
{
	struct span rest = r->text;

	for (bool first = true; rest.p; first = false) {
		struct span line = span_trim(span_cut(&rest, '\n'));
		uint64_t code;

		if (!first) {
			if (line.n > 3 && span_u64(span_sub(line, 0, 3), 599, &code) && (line.p[3] == '-' || line.p[3] == ' ')) {
				line = span_from(line, 4);
				(void)status_take_code(r->code, &line);
			}
			if (line.n)
				buf_putc(out, ' ');
		}
		put_line(out, line);
	}
}
