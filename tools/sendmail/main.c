/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mail/charset.h"
#include "mail/limits.h"
#include "tools/sendmail/post.h"
#include "tools/sendmail/sendmail.h"

int
complain(int status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)fputs("sendmail: ", stderr);
	(void)vfprintf(stderr, fmt, ap);
	(void)fputc('\n', stderr);
	va_end(ap);
	return status;
}

enum { READ_CHUNK = 65536 };

/* Has s a line that is a dot? What is in front of `fresh` has been looked at. */
static bool
dot_line(struct span s, size_t fresh)
{
	struct span rest = span_from(s, fresh > 3 ? fresh - 3 : 0);

	return span_starts(s, SPAN(".\n")) || span_starts(s, SPAN(".\r\n")) || span_find(rest, SPAN("\n.\n")) != SIZE_MAX ||
	       span_find(rest, SPAN("\n.\r\n")) != SIZE_MAX;
}

/* Up to the end of input, or to a line of one dot where that is the end: somebody may be typing. */
static bool
read_input(struct buf *in, bool dots)
{
	for (;;) {
		size_t had = buf_len(in);
		size_t want = buf_space(in) < READ_CHUNK ? buf_space(in) + 1 : READ_CHUNK;
		char *room = buf_room(in, want);
		ssize_t n;

		if (!room) /* too large: the buffer says so */
			return true;
		do
			n = read(STDIN_FILENO, room, want);
		while (n < 0 && errno == EINTR);
		if (n <= 0)
			return n == 0;
		buf_added(in, (size_t)n);
		if (!dots && dot_line(buf_span(in), had))
			return true;
	}
}

/* The name of the calling user, and what the user database calls her. */
struct caller {
	char login[ADDRESS_SIZE];
	char full_name[256];
};

static void
find_caller(struct caller *who)
{
	struct passwd *pw = getpwuid(getuid());
	size_t n = 0;

	who->full_name[0] = '\0';
	if (!pw) {
		(void)snprintf(who->login, sizeof(who->login), "%u", (unsigned)getuid());
		return;
	}
	(void)snprintf(who->login, sizeof(who->login), "%s", pw->pw_name);
	for (const char *p = pw->pw_gecos; *p && *p != ',' && n + 1 < sizeof(who->full_name); p++)
		who->full_name[n++] = *p;
	who->full_name[n] = '\0';
}

static bool
find_sender(struct message *m, const char *text, struct span origin, struct arena *arena)
{
	struct message one = { .nrecipients = 0 };
	struct span s = span_trim(span_str(text));
	struct fail why;

	if (s.n == 0 || span_eq(s, SPAN("<>")))
		return true; /* the null sender */
	if (!message_add_recipients(&one, s, origin, arena, &why) || one.nrecipients != 1)
		return complain(0, "%s: not a sender address", text) != 0;
	m->sender = one.recipients[0];
	return true;
}

static bool
take_arguments(struct message *m, const struct sendmail_options *o, struct span origin, struct arena *arena)
{
	struct fail why = { .text = "" };

	for (int i = 0; i < o->nrecipients; i++)
		if (!message_add_recipients(m, span_str(o->recipients[i]), origin, arena, &why))
			return complain(0, "%s", why.text) != 0;
	return true;
}

/* Reads the message and finds out where it goes. */
static int
prepare(struct message *m, const struct sendmail_options *o, const struct conf *conf, struct span full_name,
	struct arena *arena)
{
	uint64_t limit = conf->message_size_limit ? conf->message_size_limit : UINT32_MAX;
	unsigned line = conf->line_length_limit > LIMIT_LINE ? (unsigned)conf->line_length_limit - 2 : LIMIT_LINE;
	struct fail why = { .text = "" };
	struct buf in;
	bool ok;

	buf_init(&in, (size_t)limit);
	buf_init(&m->content, (size_t)limit * 2 + 65536);
	if (!read_input(&in, o->dots))
		return complain(EX_IOERR, "standard input: %s", strerror(errno));
	ok = buf_ok(&in) && message_canonical(&m->content, buf_span(&in), line, o->dots);
	buf_free(&in);
	if (!ok || buf_len(&m->content) > limit)
		return complain(EX_DATAERR, "the message is larger than message_size_limit (%llu bytes)",
				(unsigned long long)limit);
	if (o->from_header && !message_header_recipients(m, conf->myorigin, arena, &why))
		return complain(EX_DATAERR, "%s", why.text);
	if (m->nrecipients == 0)
		return complain(EX_USAGE, "no recipients%s", o->from_header ? " in the header" : "");
	return message_fix_header(m, full_name) ? EX_OK : complain(EX_OSERR, "out of memory");
}

static int
send_or_verify(const struct sendmail_options *o, const struct conf *conf, struct arena *arena)
{
	struct message m = { .nrecipients = 0 };
	struct caller who;
	const char *name = o->full_name ? o->full_name : getenv("NAME");
	int status;

	find_caller(&who);
	if (!find_sender(&m, o->sender ? o->sender : who.login, conf->myorigin, arena))
		return EX_USAGE;
	if (!take_arguments(&m, o, conf->myorigin, arena))
		return EX_NOUSER;
	if (m.nrecipients == 0 && !o->from_header)
		return complain(EX_USAGE, "no recipients; usage: sendmail [-t] [-f SENDER] [RECIPIENT ...]");
	if (o->mode == MODE_VERIFY)
		return submit_verify(o, conf, &m);
	status = prepare(&m, o, conf, span_str(name ? name : who.full_name), arena);
	if (status == EX_OK)
		status = submit_message(o, conf, &m);
	buf_free(&m.content);
	return status;
}

static const struct {
	const char *name;
	int (*main)(int argc, char **argv);
} others[] = { { "postqueue", postqueue_main }, { "postsuper", postsuper_main }, { "postcat", postcat_main } };

static const char *
program_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

int
main(int argc, char **argv)
{
	struct sendmail_options o;
	struct arena arena;
	const struct conf *conf;
	int status = EX_USAGE;

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (argc > 0 && strcmp(program_name(argv[0]), others[i].name) == 0)
			return others[i].main(argc, argv);
	(void)signal(SIGPIPE, SIG_IGN);
	if (!options_parse(&o, argc, argv))
		return EX_USAGE;
	arena_init(&arena, (size_t)CONF_ARENA_MAX * 4);
	conf = (o.mode == MODE_LIST || o.mode == MODE_FLUSH ? conf_load_to_ask : conf_load_or_tell)(o.config_path, &arena, stderr);
	if (!conf) { /* a message is not to be lost while somebody edits it */
		arena_free(&arena);
		return o.mode == MODE_SEND ? EX_TEMPFAIL : EX_CONFIG;
	}
	switch (o.mode) {
	case MODE_SEND:
	case MODE_VERIFY:
		status = send_or_verify(&o, conf, &arena);
		break;
	case MODE_SMTP:
		status = submit_relay(conf);
		break;
	case MODE_LIST:
		status = admin_list(&o, conf);
		break;
	case MODE_FLUSH:
		status = admin_flush(&o, conf);
		break;
	case MODE_ALIASES:
		status = admin_aliases(conf);
		break;
	}
	arena_free(&arena);
	return fflush(stdout) == 0 ? status : EX_IOERR;
}
