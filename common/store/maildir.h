/* SPDX-License-Identifier: ISC
 *
 * maildir: the names of a Maildir and its directories.
 *
 * A file's name is "<unique>,S=<octets>,W=<octets with CRLF>", in cur/ with
 * ":2,<letters>" behind; sizes as Dovecot writes them.  Knows no UIDs.
 */
#ifndef STORE_MAILDIR_H
#define STORE_MAILDIR_H

#include "base/fail.h"
#include "journal/vfs.h"

enum {
	MAILDIR_NAME_MAX = 255,
	MAILDIR_BASE_MAX = 180, /* of ours and of foreign ones that can carry letters */
	MAILDIR_PATH_MAX = 512, /* of a message below the user's Maildir, with the NUL: FOLDER/cur/NAME */
};

/* The letters behind ":2," as bits; the first five are FLAG_* of mailbox.h.
 * 'P' is kept but without meaning here; then the keyword letters a to z. */
enum {
	LETTER_ANSWERED = 1 << 0, /* R */
	LETTER_FLAGGED = 1 << 1,  /* F */
	LETTER_DELETED = 1 << 2,  /* T */
	LETTER_SEEN = 1 << 3,     /* S */
	LETTER_DRAFT = 1 << 4,    /* D */
	LETTER_FLAGS = 0x1f,
	LETTER_PASSED = 1 << 5, /* P */
	LETTER_KEYWORD_SHIFT = 6,
};

struct maildir_name {
	struct span base; /* before ':' */
	struct span odd;  /* from ':' on, where it is not just what the letters give */
	uint32_t letters;
	uint64_t size, vsize; /* from S= and W=; UINT64_MAX where absent */
};

/* False: not the name of a message (hidden, empty, too long). */
bool maildir_name_valid(struct span file);
bool maildir_name_parse(struct span file, struct maildir_name *out);
/* "cur/<base>:2,<letters>" or "new/<base>"; odd, if not empty, stands in place
 * of the letters.  False: too long for a file name. */
bool maildir_path(char out[MAILDIR_NAME_MAX + 5], struct span base, struct span odd, uint32_t letters, bool in_new);

/* A unique name without sizes, never given twice on this host. */
struct maildir_namer {
	char host[64];
	uint32_t random, count;
	long pid;
};
void maildir_namer_init(struct maildir_namer *n, struct span host);
/* Writes at most MAILDIR_BASE_MAX octets with the NUL. */
void maildir_unique(struct maildir_namer *n, char out[MAILDIR_BASE_MAX]);
void maildir_add_sizes(char base[MAILDIR_BASE_MAX], uint64_t size, uint64_t vsize);

/* Gives the file a second name ([FOLDER/]cur/NAME both); where no link can be made it is a copy with
 * the same time, whole and durable before it has the name.  False and errno, EEXIST: the name is taken. */
bool maildir_link(struct vfs *v, const char *from, const char *to);

/* Makes dir (below the root; "" is the root itself) with tmp, new and cur, durably. */
bool maildir_make(struct vfs *v, const char *dir, struct fail *why);
bool maildir_exists(struct vfs *v, const char *dir);
/* A directory beneath dir, never through a symbolic link; NULL and *why. */
struct vfs *maildir_vfs(int dir, const char *path, struct fail *why);

#endif
