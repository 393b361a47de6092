/* SPDX-License-Identifier: ISC
 *
 * downgrade: makes a message fit a peer without 8BITMIME (RFC 6152 3) or without
 * BINARYMIME (RFC 3030 3): parts with bytes that peer does not take become
 * quoted-printable or base64.  Every other byte stays as it is.
 */
#ifndef MAIL_DOWNGRADE_H
#define MAIL_DOWNGRADE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/fail.h"

enum {
	DOWNGRADE_8BIT = 1,   /* bytes beyond ASCII go */
	DOWNGRADE_BINARY = 2, /* what is no line of text goes: NUL, bare CR and LF, lines over 998 (RFC 2045 2.9) */
};

/* Appends the message (CRLF lines; with DOWNGRADE_BINARY those of its header at least). Raw bytes beyond ASCII in header fields are no matter of 8BITMIME and stay.
 * False with STATUS_CONVERSION_REQUIRED: it has a part that must not be changed (multipart/signed, message/partial and
 * the like; a multipart whose boundary does not occur; of a binary one: fields or boundaries that are broken) or as many
 * as LIMIT_MIME_PARTS, or FAIL_LIMIT: out or arena failed. What is in a multipart/signed keeps each byte. */
bool downgrade(struct buf *out, struct span message, unsigned what, struct arena *arena, struct fail *why);

#endif
