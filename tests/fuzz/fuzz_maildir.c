/* SPDX-License-Identifier: ISC
 *
 * A Maildir as other programs, or an enemy with the user's rights, may have left it: what
 * stands beside the mail, file names, whole messages, our own index and cache with
 * checksums that are right. Then a session that asks for everything.
 *
 * Input: pieces of kind u8, length le16, bytes.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cursor.h"
#include "bless.h"
#include "daemons/mailboxd/imap.h"
#include "mailbox_rig.h"
#include "sys/crc32c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const files[] = { "dovecot-uidlist", "dovecot-keywords", "subscriptions", "maildirsize", "pillarpost-metadata",
	".work/dovecot-uidlist" };

enum { FILES = sizeof(files) / sizeof(*files), SNAPSHOT = FILES, FACTS, MESSAGE_CUR, MESSAGE_NEW, FOLDER, KINDS, NAME = 250, MOST = 40 };

static const struct span first_session = SPAN_INIT("a SELECT INBOX\r\nb FETCH 1:* (ENVELOPE)\r\nc LOGOUT\r\n");
static const struct span second_session = SPAN_INIT(
    "a ENABLE QRESYNC IMAP4rev2\r\n"
    "b LIST (SUBSCRIBED) \"\" (* \"Other/%\") RETURN (CHILDREN SPECIAL-USE STATUS (MESSAGES SIZE UNSEEN UIDNEXT MAILBOXID))\r\n"
    "c SELECT INBOX (QRESYNC (1 1 1:9 (1,3 1,3)))\r\n"
    "d UID FETCH 1:* (FLAGS ENVELOPE BODYSTRUCTURE RFC822.SIZE INTERNALDATE PREVIEW SAVEDATE EMAILID BODY.PEEK[] BINARY.PEEK[1]) (CHANGEDSINCE 1 VANISHED)\r\n"
    "e GETMETADATA (DEPTH infinity) INBOX (/private /shared)\r\n"
    "f GETQUOTAROOT INBOX\r\n"
    "g UID SORT (SUBJECT ARRIVAL DISPLAYFROM) UTF-8 TEXT \"a\"\r\n"
    "h UID THREAD REFERENCES UTF-8 ALL\r\n"
    "i STORE 1:* +FLAGS (\\Seen some)\r\n"
    "j COPY 1:2 work\r\n"
    "k UID MOVE 2 work\r\n"
    "l STORE 1 +FLAGS.SILENT (\\Deleted)\r\n"
    "m EXPUNGE\r\n"
    "n SETMETADATA INBOX (/private/x \"y\")\r\n"
    "o SUBSCRIBE work\r\n"
    "p RENAME work play\r\n"
    "q STATUS play (MESSAGES DELETED HIGHESTMODSEQ)\r\n"
    "r LOGOUT\r\n");

static void
put_file(int dir, const char *name, struct span content)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return;
	(void)!write(fd, content.p ? content.p : "", content.n);
	(void)close(fd);
}

static void
put_snapshot(int dir, struct span content)
{
	char copy[1 << 16];

	(void)mkdirat(dir, "pillarpost", 0700);
	if (!content.n)
		return;
	memcpy(copy, content.p, content.n);
	bless_snapshot(copy, content.n);
	put_file(dir, "pillarpost/snapshot", span_of(copy, content.n));
}

/* A name that is this directory's own. */
static bool
take_name(struct span text, const char *before, char out[NAME + 8])
{
	size_t n = strlen(before);

	if (!text.n || text.n > NAME || memchr(text.p, '/', text.n) || memchr(text.p, '\0', text.n) || span_eq(text, SPAN(".")) ||
	    span_eq(text, SPAN("..")))
		return false;
	memcpy(out, before, n);
	memcpy(out + n, text.p, text.n);
	out[n + text.n] = '\0';
	return true;
}

static void
put_piece(int dir, unsigned kind, struct span bytes)
{
	char name[NAME + 8];

	if (kind < FILES)
		put_file(dir, files[kind], bytes);
	else if (kind == SNAPSHOT)
		put_snapshot(dir, bytes);
	else if (kind == MESSAGE_CUR && take_name(span_cut(&bytes, '\n'), "cur/", name))
		put_file(dir, name, bytes);
	else if (kind == MESSAGE_NEW && take_name(span_cut(&bytes, '\n'), "new/", name))
		put_file(dir, name, bytes);
	else if (kind == FOLDER && take_name(bytes, ".", name) && span_str(name).n > 1 && strcmp(name, "..") != 0)
		(void)mkdirat(dir, name, 0700);
}

static void
fill(void *arg, int dir)
{
	static const char *const directories[] = { "cur", "new", "tmp", ".work", ".work/cur", ".work/new", ".work/tmp" };
	struct cursor c = cursor_of(*(const struct span *)arg);

	for (size_t i = 0; i < sizeof(directories) / sizeof(*directories); i++)
		(void)mkdirat(dir, directories[i], 0700);
	for (unsigned n = 0; n < MOST && !cursor_end(&c); n++) {
		unsigned kind = cursor_u8(&c) % KINDS;
		struct span bytes = cursor_bytes(&c, cursor_le16(&c));

		if (c.ok)
			put_piece(dir, kind, bytes);
	}
}

/* In place of what the first session has kept of the first message. */
static void
put_facts(struct span input)
{
	struct cursor c = cursor_of(input);
	int dir = rig_dir();

	while (!cursor_end(&c)) {
		unsigned kind = cursor_u8(&c) % KINDS;
		struct span blob = cursor_bytes(&c, cursor_le16(&c));
		struct buf file;

		if (!c.ok)
			break;
		if (kind != FACTS)
			continue;
		buf_init(&file, 1 << 17);
		buf_puts(&file, "PPFACTS 1\n");
		while (buf_len(&file) < 16)
			buf_putc(&file, '\0');
		buf_le32(&file, 1);
		buf_le32(&file, (uint32_t)blob.n);
		buf_le32(&file, crc32c(1, blob));
		buf_le32(&file, 0);
		buf_put(&file, blob);
		put_file(dir, "pillarpost/facts", buf_span(&file));
		buf_free(&file);
	}
	(void)close(dir);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span input = span_of(data, size);
	struct user *user = rig_user_with(fill, &input);

	if (!user)
		return 0;
	rig_session(user, imap_new(user, SPAN(""), true), first_session);
	put_facts(input);
	rig_session(user, imap_new(user, SPAN(""), true), second_session);
	return 0;
}
