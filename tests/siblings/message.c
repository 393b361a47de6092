/* SPDX-License-Identifier: ISC */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mail/status.h"
#include "tests/siblings/siblings.h"

/* What a field of that name may well be; the others get words of any of them. */
static const struct {
	const char *field, *words[14];
} tastes[] = {
	{ "service", { "imap", "pop3", "smtp" } },
	{ "mechanism", { "PLAIN", "LOGIN", "USER" } },
	{ "address", { "bob@example.test", "alice@example.test", "@", "\"a b\"@example.test", "postmaster", "x@remote.test", "bob@EXAMPLE.TEST", "owner-list@example.test" } },
	{ "sender", { "alice@example.test", "", "x@remote.test", "<>" } },
	{ "user", { "bob@example.test", "alice@example.test", "nobody@example.test", "*" } },
	{ "home", { "example.test/bob", "example.test/alice", "../../../etc", "/etc", "", "example.test/../x", "example.test/a/b/c/d" } },
	{ "folder", { "", ".Sent", "../x", "Sent", "..", ".a.b.c" } },
	{ "nexthop", { "[127.0.0.1]:25", "example.test", "mail.example.test", "lmtp:unix:/x", "lmtp:inet:127.0.0.1:24", "[::1]", "remote.test:26", "" } },
	{ "code", { "2.0.0", "4.4.1", "5.1.1", "9.9.9", "", "2.1.5" } },
	{ "verb", { "flush", "hold", "release", "delete", "bounce", "requeue", "expire", "dance" } },
	{ "filter", { "", "from:<>", "size>1k and age>1s", "to:@example.test or not from:x", "((((", "reason~\"a(b\"", "id:123", "age>" } },
	{ "sort", { "", "age", "-size", "sender", "domain", "attempts", "next", "x" } },
	{ "orcpt", { "", "rfc822;bob@example.test", "x+2B", ";;" } },
	{ "name", { "example.test", "127.0.0.1", "mail.example.test", "_25._tcp.mail.example.test", "", "::1", "a..b" } },
	{ "client_addr", { "127.0.0.1", "192.0.2.1", "2001:db8::1", "local:0", "x" } },
	{ "client_name", { "unknown", "mail.example.test" } },
	{ "digest", { "SHA256", "SHA384", "MD5", "", "x" } },
	{ "path", { "/etc/passwd", "x", "/", "", "/dev/null", "/nonexistent/x" } },
	{ "program", { "mailboxd", "deliverd", "queued", "suited", "smtpd", "../suited", "" } },
	{ "peer", { "mail.example.test[127.0.0.1]:25", "" } },
	{ "site", { "example.test", "" } },
	{ "tag", { "a1", "", "*" } },
	{ "owner", { "bob@example.test", "alice@example.test", "nobody@example.test", "anyone", "" } },
	{ "guest", { "", "alice@example.test", "bob@example.test", "anyone", "x" } },
	{ "domain", { "example.test", "remote.test" } },
	{ "via", { "", "", "carol@example.test", "carol@example.test\tdave@example.test" } },
	{ "forwards", { "", "", "x@remote.test", "x@remote.test\nalice@example.test" } },
	{ "text", { "enforce mail.example.test *.example.test", "testing *.example.test", "none ", "may", "encrypt", "dane-only", "secure match=nexthop", "x", "" } },
};

static const char *
taste(struct rig *r, const char *field)
{
	size_t n = 0;

	for (size_t i = 0; i < sizeof(tastes) / sizeof(tastes[0]); i++)
		if (strcmp(tastes[i].field, field) == 0) {
			while (n < sizeof(tastes[i].words) / sizeof(tastes[i].words[0]) && tastes[i].words[n])
				n++;
			return tastes[i].words[rnd(r, (uint32_t)n)];
		}
	return NULL;
}

void
words_learn(struct rig *r, const struct ipc_message *msg, const void *m)
{
	for (size_t i = 0; i < msg->desc.nfields; i++) {
		const struct desc_field *f = &msg->desc.fields[i];
		struct span s;
		size_t at;

		if (f->kind != DESC_TEXT && f->kind != DESC_BYTES && f->kind != DESC_SECRET)
			continue;
		memcpy(&s, (const char *)m + f->offset, sizeof(s));
		if (s.n == 0 || s.n > WORD_MAX)
			continue;
		at = r->nwords < WORDS ? r->nwords++ : rnd(r, WORDS);
		memcpy(r->words[at].text, s.p, s.n);
		r->words[at].n = s.n;
	}
}

uint64_t
message_id_of(const struct ipc_message *msg, const void *m)
{
	uint64_t id = 0;

	if (msg->desc.nfields && msg->desc.fields[0].kind == DESC_U64 && strcmp(msg->desc.fields[0].name, "id") == 0)
		memcpy(&id, (const char *)m + msg->desc.fields[0].offset, sizeof(id));
	return id;
}

struct conv *
conv_find(struct end *e, uint64_t id)
{
	for (size_t i = 0; i < CONVS; i++)
		if (e->convs[i].id == id)
			return &e->convs[i];
	return NULL;
}

static uint64_t
number(struct rig *r, struct end *e, const struct desc_field *f, const struct conv *c)
{
	static const uint64_t odd[] = { 0, 1, 2, 3, 15, 16, 127, 255, 65535, 65536, INT32_MAX, UINT32_MAX, INT64_MAX, UINT64_MAX };

	if (strcmp(f->name, "id") == 0 && c && rnd(r, 24))
		return c->id;
	if (strcmp(f->name, "question") == 0 && c && c->question && rnd(r, 8))
		return c->question;
	if (strcmp(f->name, "index") == 0 && c && rnd(r, 16)) /* the next one, or one of those that the daemon has told of */
		return e->side == CHANNEL_CLIENT ? c->indexes : rnd(r, c->indexes);
	if (strcmp(f->name, "size") == 0 && c && c->state & (CONV_OPEN | CONV_BODY) && rnd(r, 16))
		return c->bytes;
	if (strcmp(f->name, "release_ms") == 0 && rnd(r, 4))
		return 0;
	if (strcmp(f->name, "type") == 0 && c && c->question && rnd(r, 8))
		return c->type;
	if (f->bound)
		return rnd(r, 4) ? (f->bound < UINT32_MAX ? rnd(r, (uint32_t)f->bound + 1) : rnd(r, 1000)) : f->bound;
	if (f->kind == DESC_U64 && e->nseen && rnd(r, 4) == 0)
		return e->seen[rnd(r, (uint32_t)(e->nseen < SEEN ? e->nseen : SEEN))];
	if (strcmp(f->name, "uid") == 0 || strcmp(f->name, "gid") == 0)
		return rnd(r, 8) ? 0 : rnd(r, 100);
	if (strcmp(f->name, "status") == 0 && rnd(r, 3) == 0)
		return STATUS_OK;
	if (strcmp(f->name, "status") == 0 || strcmp(f->name, "index") == 0)
		return rnd(r, 16) ? rnd(r, 40) : odd[rnd(r, sizeof(odd) / sizeof(odd[0]))];
	return rnd(r, 3) ? rnd(r, 4096) : odd[rnd(r, sizeof(odd) / sizeof(odd[0]))];
}

/* Some bytes behind what is in room; NUL, CR and LF only where lines are allowed. */
static struct span
bytes(struct rig *r, struct buf *room, size_t n, bool line)
{
	char *p = buf_room(room, n);
	uint32_t style = rnd(r, 4);

	if (!p)
		return SPAN_NONE;
	for (size_t i = 0; i < n; i++) {
		uint32_t c = style == 0 ? rnd(r, 256) : style == 1 ? 'a' + rnd(r, 26) : style == 2 ? 32 + rnd(r, 95) : 'x';

		p[i] = (char)(line && (c == 0 || c == '\r' || c == '\n') ? '?' : (int)c);
		if (!line && style && i % 70 == 68 && i + 1 < n) {
			p[i] = '\r';
			p[++i] = '\n';
		}
	}
	buf_added(room, n);
	return span_of(p, n);
}

/* Of a dns answer: an address here, where no harm is done, or what the other types have. */
static struct span
record(struct rig *r)
{
	static const unsigned char here[16] = { [15] = 1 }, tlsa[35] = { 3, 1, 1 };

	switch (rnd(r, 6)) {
	case 0:
		return span_of((const char *)here, 16);
	case 1:
		return SPAN("v=STSv1; id=20261122;");
	case 2:
		return span_of((const char *)tlsa, sizeof(tlsa));
	default:
		return SPAN("\x7f\0\0\1");
	}
}

static struct span
text(struct rig *r, struct buf *room, const struct desc_field *f)
{
	bool list = strcmp(f->name, "via") == 0 || strcmp(f->name, "forwards") == 0; /* whatever else is there is a violation, which would be all there is */
	const char *word = rnd(r, list ? 32 : 4) ? taste(r, f->name) : NULL;
	bool line = f->kind == DESC_TEXT;
	struct span s;

	if (strcmp(f->name, "nexthop") == 0 && rnd(r, 4) == 0) {
		s = span_of(buf_room(room, 32), 0);
		buf_printf(room, "[127.0.0.1]:%u", r->sink_port);
		return s.p ? span_of(s.p, (size_t)(room->mem + room->end - s.p)) : SPAN_NONE;
	}
	if (strcmp(f->name, "data") == 0 && f->bound == 4096)
		return record(r);
	if (((strcmp(f->name, "name") == 0 && f->bound >= B_HOST) || strcmp(f->name, "client_addr") == 0) && rnd(r, 4) == 0) { /* one that nobody remembers */
		s = span_of(buf_room(room, 32), 0);
		if (f->name[0] == 'n')
			buf_printf(room, "h%u.example.test", rnd(r, UINT32_MAX));
		else
			buf_printf(room, "198.18.%u.%u", rnd(r, 256), rnd(r, 256));
		return s.p ? span_of(s.p, (size_t)(room->mem + room->end - s.p)) : SPAN_NONE;
	}
	if (f->bound == B_TICKET && f->kind == DESC_SECRET) {
		static const char tickets[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

		return rnd(r, 16) ? span_of(tickets + rnd(r, 40), B_TICKET) : span_of(tickets, rnd(r, B_TICKET + 1));
	}
	if (word)
		return span_sub(span_str(word), 0, (size_t)f->bound);
	if (r->nwords && rnd(r, 3)) {
		size_t at = rnd(r, (uint32_t)r->nwords);

		s = span_sub(span_of(r->words[at].text, r->words[at].n), 0, (size_t)f->bound);
		if (!line || (!memchr(s.p, '\n', s.n) && !memchr(s.p, '\r', s.n) && !memchr(s.p, '\0', s.n)))
			return s;
	}
	return bytes(r, room, rnd(r, 40) ? rnd(r, f->bound < 64 ? (uint32_t)f->bound + 1 : 64) : rnd(r, 4) ? rnd(r, (uint32_t)f->bound + 1) : (size_t)f->bound, line);
}

static void
fill_field(struct rig *r, struct end *e, const struct desc_field *f, const struct conv *c, union frame_message *m, struct buf *room)
{
	char *to = (char *)m + f->offset;
	uint64_t n;
	struct span s;
	bool yes;

	switch (f->kind) {
	case DESC_TEXT:
	case DESC_BYTES:
	case DESC_SECRET:
		s = text(r, room, f);
		memcpy(to, &s, sizeof(s));
		break;
	case DESC_BOOL:
		yes = rnd(r, 2);
		memcpy(to, &yes, sizeof(yes));
		break;
	default: /* little-endian: the low bytes come first */
		n = number(r, e, f, c);
		memcpy(to, &n, f->kind == DESC_U8 ? 1 : f->kind == DESC_U16 ? 2 : f->kind == DESC_U32 ? 4 : 8);
	}
}

static void
fill(struct rig *r, struct end *e, const struct ipc_message *msg, const struct conv *c, union frame_message *m, struct buf *room)
{
	memset(m, 0, sizeof(*m));
	for (size_t i = 0; i < msg->desc.nfields; i++)
		fill_field(r, e, &msg->desc.fields[i], c, m, room);
}

void
message_vary(struct rig *r, struct end *e, const struct ipc_message *msg, const struct conv *c, union frame_message *m, struct buf *room)
{
	if (msg->desc.nfields)
		fill_field(r, e, &msg->desc.fields[rnd(r, (uint32_t)msg->desc.nfields)], c, m, room);
}

/* What the rest of its conversation must agree with. */
static void
remember(struct conv *c, const struct ipc_message *msg, const union frame_message *m)
{
	for (size_t i = 0; i < msg->desc.nfields; i++) {
		struct span s;

		c->indexes += msg->from & CONV_OPEN && strcmp(msg->desc.fields[i].name, "index") == 0;
		if (msg->desc.fields[i].kind == DESC_BYTES && strcmp(msg->desc.fields[i].name, "bytes") == 0) {
			memcpy(&s, (const char *)m + msg->desc.fields[i].offset, sizeof(s));
			c->bytes += s.n;
		}
	}
}

void
conv_said(struct rig *r, struct end *e, struct conv *c, const struct ipc_message *msg, const union frame_message *m)
{
	remember(c, msg, m);
	c->state = (uint8_t)msg->next;
	if (c->state == CONV_NONE)
		*c = (struct conv){ .id = rnd(r, 8) ? ++e->next_id : c->id, .state = CONV_NONE };
}

/* A descriptor where one belongs: seldom the right one. */
static int
descriptor(struct rig *r)
{
	int fds[2] = { -1, -1 }, fd;

	switch (rnd(r, 6)) {
	case 0:
	case 1: /* content; some of it vanishes meanwhile */
		fd = memfd_create("content", MFD_CLOEXEC);
		if (fd >= 0 && rnd(r, 4))
			(void)!write(fd, "Subject: x\r\n\r\nx\r\n", 17);
		if (fd >= 0 && rnd(r, 2) && ftruncate(fd, (off_t)rnd(r, 8192)) < 0)
			return fd;
		return fd;
	case 2: /* a connection; blocking: who minds must see to it himself */
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0) {
			(void)!write(fds[0], "a NOOP\r\na LOGOUT\r\n", 18);
			(void)close(fds[0]);
		}
		return fds[1];
	case 3:
		if (pipe2(fds, O_CLOEXEC) == 0)
			(void)close(fds[rnd(r, 2) ? 1 : 0]);
		return fcntl(fds[0], F_GETFD) < 0 ? fds[1] : fds[0];
	case 4:
		return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	default:
		return fcntl(r->null, F_DUPFD_CLOEXEC, 0);
	}
}

static bool
left_out(struct rig *r, const struct end *e, const struct ipc_message *msg)
{
	/* Always a violation, which would be all there is of this channel. */
	if (e->type == &ipc_channel_ctl && msg->direction == TO_CLIENT && strcmp(msg->desc.name, "ctl_attempt") == 0)
		return rnd(r, 2000) > 0;
	/* Each is a process. */
	if (strcmp(msg->desc.name, "root_spawn") == 0)
		return rnd(r, 50) > 0;
	/* What this orders is its right: to end. */
	return e->type == &ipc_channel_suite_admin;
}

/* One of those that may come in this conversation, or of all. */
static const struct ipc_message *
choose(struct rig *r, const struct end *e, enum ipc_direction ours, const struct conv *c, bool any)
{
	const struct ipc_message *found = NULL;
	uint32_t n = 0;

	for (size_t i = 0; i < e->type->nmessages; i++) {
		const struct ipc_message *msg = &e->type->messages[i];

		if (msg->direction == ours && (any || msg->from & c->state) && !left_out(r, e, msg) && rnd(r, ++n) == 0)
			found = msg;
	}
	return found;
}

const struct ipc_message *
message_make(struct rig *r, struct end *e, union frame_message *m, struct buf *room, int *fd)
{
	enum ipc_direction ours = e->side == CHANNEL_CLIENT ? TO_SERVER : TO_CLIENT;
	uint32_t first = rnd(r, CONVS);
	struct conv *c = &e->convs[first];
	bool any = rnd(r, r->target->calm ? 20000 : 2000) == 0;
	const struct ipc_message *found = choose(r, e, ours, c, any);

	for (uint32_t i = 1; !found && i < CONVS; i++) /* who answers has few conversations open */
		found = choose(r, e, ours, c = &e->convs[(first + i) % CONVS], false);
	if (!found && !r->target->calm && rnd(r, 1000) == 0) /* which closes the channel: oftener, and nothing else would come to pass */
		found = choose(r, e, ours, c, any = true);
	if (!found)
		return NULL;
	fill(r, e, found, c, m, room);
	*fd = found->fds ? descriptor(r) : -1;
	if (found->fds && *fd < 0)
		return NULL;
	if (e->tally && !(found->from & c->state))
		e->tally->wrong++;
	if (!any)
		conv_said(r, e, c, found, m);
	return found;
}

/* Breaks a packet that was in order. */
void
message_spoil(struct rig *r, struct end *e, struct buf *packet, unsigned *nfds)
{
	char *p = packet->mem + packet->at;
	size_t n = buf_len(packet);

	switch (rnd(r, 8)) {
	case 0: /* bits */
	case 1:
	case 2:
		for (uint32_t i = rnd(r, 4) + 1; n && i; i--)
			p[rnd(r, (uint32_t)n)] ^= (char)(1 << rnd(r, 8));
		break;
	case 3:
		buf_cut(packet, rnd(r, (uint32_t)n + 1));
		break;
	case 4: /* noise */
		buf_reset(packet);
		(void)bytes(r, packet, 1 + rnd(r, 300), false);
		break;
	case 5: /* of the other direction, or none at all */
		buf_le16(packet, (uint16_t)rnd(r, (uint32_t)e->type->nmessages + 2));
		buf_le16(packet, 0);
		buf_le32(packet, 0);
		break;
	case 6: /* descriptors where none belong, or none where one does */
		if (*nfds < FRAME_FDS && rnd(r, 2))
			while (*nfds < FRAME_FDS && (e->fds[*nfds] = descriptor(r)) >= 0)
				++*nfds;
		else if (n >= FRAME_HEADER)
			p[2] = (char)(p[2] + 1);
		break;
	default: /* a length that is not there */
		if (n >= FRAME_HEADER)
			p[4 + rnd(r, 4)] = (char)rnd(r, 256);
	}
}
