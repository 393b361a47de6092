/* SPDX-License-Identifier: ISC
 *
 * downgrade: makes a message with 8-bit content fit a peer without 8BITMIME
 * (RFC 6152 3): parts with bytes beyond ASCII become quoted-printable or base64.
 * Every other byte stays as it is.
 */
#ifndef MAIL_DOWNGRADE_H
#define MAIL_DOWNGRADE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/fail.h"

/* Appends the message (CRLF lines). Raw bytes beyond ASCII in header fields are no matter of 8BITMIME and stay.
 * False with STATUS_CONVERSION_REQUIRED: it has a part that must not be changed (multipart/signed, message/partial and
 * the like), or FAIL_LIMIT: out or arena failed. */
bool downgrade(struct buf *out, struct span message, struct arena *arena, struct fail *why);

#endif
