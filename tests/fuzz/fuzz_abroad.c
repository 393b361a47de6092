/* SPDX-License-Identifier: ISC
 *
 * Another user's mailboxd that says anything at all: a session of ours goes
 * there with commands of every kind (the first byte chooses which), and the
 * input is what it hears, a piece of it after each thing that it has said.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "daemons/mailboxd/imap.h"
#include "mailbox_rig.h"

enum { TURNS = 400, PIECE = 2000 };

static const char *const scripts[] = {
	"a SELECT \"Other Users/a/x\"\r\nb FETCH 1:* (FLAGS BODY[])\r\nc IDLE\r\nDONE\r\nd STORE 1 +FLAGS (\\Seen)\r\ne CLOSE\r\n",
	"a SELECT \"Other Users/a/x\"\r\nb UID COPY 1:* INBOX\r\nc COPY 1 work\r\nd NOOP\r\ne SELECT INBOX\r\n",
	"a SELECT INBOX\r\nb COPY 1:2 \"Other Users/a/x\"\r\nc MOVE 1 \"Other Users/a/x\"\r\nd FETCH 1 FLAGS\r\n",
	"a APPEND \"Other Users/a/x\" (\\Seen) {5+}\r\n12345 {3+}\r\n123\r\nb APPEND \"Other Users/a/x\" CATENATE (TEXT {2+}\r\nxx)\r\nc NOOP\r\n",
	"a LIST \"\" *\r\nb LIST \"Other Users/\" % RETURN (MYRIGHTS STATUS (MESSAGES))\r\nc STATUS \"Other Users/a/x\" (MESSAGES)\r\nd GETACL \"Other Users/a/x\"\r\n",
	"a ENABLE QRESYNC UIDONLY UTF8=ACCEPT\r\nb SELECT \"Other Users/a/x\"\r\nc UID COPY 1:* INBOX\r\nd UID FETCH 1:* (UID)\r\ne SELECT \"Other Users/b/y\"\r\nf UNSELECT\r\n",
};

static struct far {
	int fd;            /* of the last visit; -1: none */
	struct span bytes; /* still to be said */
} far;

static void
hang_up(void)
{
	if (far.fd >= 0)
		(void)close(far.fd);
	far.fd = -1;
}

static void
say(void)
{
	size_t n = far.bytes.n < PIECE ? far.bytes.n : PIECE, cut = span_chr(span_sub(far.bytes, 0, n), '\xff');

	if (cut != SIZE_MAX)
		n = cut;
	if (far.fd >= 0 && n)
		(void)send(far.fd, far.bytes.p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (!far.bytes.n)
		hang_up();
	far.bytes = span_from(far.bytes, cut == SIZE_MAX ? n : n + 1);
}

static void
ask_visit(struct user *user, struct span owner, struct broker_request *r)
{
	static const char greeting[] = "* PREAUTH [CAPABILITY IMAP4rev1] x\r\n";
	int fds[2];

	(void)user, (void)owner;
	hang_up();
	if (!far.bytes.n || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0) {
		r->on_done(r, false, -1, SPAN("no"));
		return;
	}
	far.fd = fds[1];
	(void)send(far.fd, greeting, sizeof greeting - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	r->on_done(r, true, fds[0], SPAN(""));
}

static void
ask_sharers(struct user *user, struct broker_request *r)
{
	(void)user;
	r->on_owner(r, SPAN("a@example.test"));
	r->on_owner(r, SPAN("c@example.org"));
	r->on_done(r, true, -1, SPAN(""));
}

static void
ask_share(struct user *user, struct span guest, bool on, struct broker_request *r)
{
	(void)user, (void)guest, (void)on;
	r->on_done(r, true, -1, SPAN(""));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct broker broker = { ask_visit, ask_sharers, ask_share };
	struct user *user = rig_user();
	struct session *s;
	char heard[4096];

	if (!size)
		return 0;
	user->name = SPAN("bob@example.test");
	user->broker = &broker;
	far = (struct far){ -1, span_of(data + 1, size - 1) };
	s = imap_new(user, SPAN(""), true);
	list_push(&user->sessions, &s->node);
	buf_puts(&s->in, scripts[data[0] % (sizeof scripts / sizeof *scripts)]);
	for (unsigned i = 0; i < TURNS && !s->closing; i++) {
		struct buf out;

		session_run(s);
		buf_init(&out, 64 << 20);
		(void)outq_drain(&s->out, &out);
		buf_free(&out);
		(void)loop_turn(user->loop, s->waiting ? 5 : 0);
		if (far.fd >= 0 && recv(far.fd, heard, sizeof heard, MSG_DONTWAIT) > 0)
			say();
		else if (far.fd >= 0 && i % 8 == 7)
			say();
	}
	while (s->waiting)
		(void)loop_turn(user->loop, 5);
	s->ops->eof(s);
	list_remove(&s->node);
	s->ops->free(s);
	hang_up();
	user->broker = NULL;
	return 0;
}
