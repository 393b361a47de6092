/* SPDX-License-Identifier: ISC
 *
 * filter: a session's messages before the site's filters: verifyd is asked at
 * MAIL, for each good recipient, at DATA and behind the content. Content that filters want
 * to see goes to verifyd in place of queued, and comes back from there, as they have made it,
 * once they let it pass; so nothing is in the queue that they have not seen whole. Where no
 * filter is configured nothing of this happens.
 */
#ifndef SMTPD_FILTER_H
#define SMTPD_FILTER_H

#include "transaction.h"

/* Whether this session's messages are looked at. */
bool filter_on(const struct session *s);
/* The questions. The answer goes on with the command; when none can be asked for, the client is told. */
void filter_mail(struct session *s);
void filter_data(struct session *s);
/* routed's answer is kept until the filters have theirs. False: it cannot be asked. */
bool filter_rcpt(struct session *s, struct recipient *r, const struct ipc_rcpt_answer *m);
/* Content, while transaction.screened; false: verifyd is away. */
bool filter_content(struct session *s, struct span bytes);
bool filter_end(struct session *s);
/* What the session waits for when it cannot take more content. */
bool filter_full(const struct session *s);
/* There is room for content that comes back. */
void filter_on_room(struct session *s);
/* The message, the session is over. */
void filter_reset(struct session *s);
void filter_close(struct session *s);

#endif
