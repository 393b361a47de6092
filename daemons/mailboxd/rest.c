/* SPDX-License-Identifier: ISC
 *
 * rest: an idling IMAP session as bytes, and the session made of them again by
 * a later process (userd keeps them and the connection meanwhile).  Only one that idles in a
 * folder, has said all there is to say and has nothing else open.
 */
#include "daemons/mailboxd/abroad.h"
#include "daemons/mailboxd/aside.h"
#include "daemons/mailboxd/context.h"
#include "daemons/mailboxd/notify.h"
#include "desc/desc.h"

enum { REST_VERSION = 1, RECENT_MAX = 4096 };

/* RESTED(kind, name, bound, meaning) */
#define RESTED(ROW)                                                                \
	ROW(U8, version, 0, "of this table")                                       \
	ROW(U32, enabled, 0, "ENABLED_* bits")                                     \
	ROW(TEXT, tag, 1024, "of the IDLE that waits for its end")                 \
	ROW(TEXT, folder, STORE_NAME_MAX, "that is selected")                      \
	ROW(BOOL, readonly, 0, "by EXAMINE")                                       \
	ROW(U32, uidvalidity, 0, "of the folder")                                  \
	ROW(U32, told, 0, "highest UID the client knows of")                       \
	ROW(U32, ntold, 0, "messages it knows of")                                 \
	ROW(U64, modseq, 0, "of the folder then")                                  \
	ROW(TEXT, recent, RECENT_MAX, "UIDs that are \\Recent for it, as a set")    \
	ROW(I64, silent_ms, 0, "since the client last said something")             \
	ROW(BOOL, may_leave, 0, "the connection can go back to its front")         \
	ROW(U64, front, 0, "which that is")

struct rested {
#define ROW(kind, name, bound, meaning) desc_##kind##_type name;
	RESTED(ROW)
#undef ROW
};

static const struct desc_field fields[] = {
#define ROW(kind, name, bound, meaning) { #name, DESC_##kind, bound, offsetof(struct rested, name), meaning },
	RESTED(ROW)
#undef ROW
};

static const struct desc rested_desc = { "rested", fields, sizeof fields / sizeof *fields, sizeof(struct rested), "an IMAP session that rests" };

/* Nothing but the IDLE is under way. */
static bool
only_idles(const struct imap *s)
{
	return s->idling && s->cmd.def && s->state == STATE_SELECTED && !s->base.closing && !s->base.waiting && !s->base.more && !s->dead &&
	       !buf_len(&s->base.in) && outq_empty(&s->base.out) && !s->base.out.squeeze && !s->notify && !aside_busy(s) && list_empty(&s->contexts) &&
	       !s->saved.n && !s->vanished.n && !buf_len(&s->notes) && !s->skip && !s->refusing && !s->compressing && !s->unauthenticating &&
	       !s->guest && abroad_at_home(s);
}

bool
imap_rest(const struct session *base, struct buf *state)
{
	const struct imap *s = OWNER_OF(base, struct imap, base);
	struct view_rest view = { 0 };
	struct buf recent;
	bool ok = only_idles(s);

	uidset_init(&view.recent);
	buf_init(&recent, RECENT_MAX);
	ok = ok && view_rest(&s->view, &view);
	if (ok) {
		uidset_text(&view.recent, &recent);
		ok = buf_ok(&recent) && desc_encode(&rested_desc, &(struct rested){ .version = REST_VERSION, .enabled = s->enabled, .tag = s->cmd.tag,
			.folder = mailbox_name(s->view.mailbox), .readonly = view.readonly, .uidvalidity = view.uidvalidity, .told = view.told, .ntold = view.ntold,
			.modseq = view.modseq, .recent = buf_span(&recent), .silent_ms = s->silent_ms, .may_leave = base->may_leave, .front = base->front }, state);
	}
	uidset_free(&view.recent);
	buf_free(&recent);
	return ok;
}

static bool
enter_again(struct imap *s, const struct rested *was)
{
	struct view_rest view = { .uidvalidity = was->uidvalidity, .told = was->told, .ntold = was->ntold, .modseq = was->modseq, .readonly = was->readonly };
	struct fail why;
	bool ok;

	uidset_init(&view.recent);
	ok = (!was->recent.n || uidset_parse(&view.recent, was->recent, 0)) && view_resume(&s->view, s->user->store, was->folder, &view, &why);
	uidset_free(&view.recent);
	if (ok)
		s->state = STATE_SELECTED;
	return ok;
}

struct session *
imap_resume(struct user *user, struct span state, int64_t elapsed_ms)
{
	struct session *base = imap_new(user, SPAN_NONE, false);
	struct imap *s = base ? OWNER_OF(base, struct imap, base) : NULL;
	struct rested was;
	size_t lf;

	if (!s)
		return NULL;
	buf_reset(&base->out.mem); /* it was greeted long ago */
	if (!desc_decode_older(&rested_desc, state, &was, NULL) || was.version != REST_VERSION || !enter_again(s, &was)) {
		imap_bye(s, "The mailbox has changed, log in again.");
		return base;
	}
	s->enabled = was.enabled;
	base->may_leave = was.may_leave;
	base->front = was.front;
	buf_put(&base->in, was.tag);
	buf_put(&base->in, SPAN(" IDLE\r\n"));
	session_run(base);
	lf = span_chr(buf_span(&base->out.mem), '\n');
	if (!s->idling || lf == SIZE_MAX) {
		imap_bye(s, "Log in again.");
		return base;
	}
	buf_eat(&base->out.mem, lf + 1); /* "+ idling" was said, too */
	s->silent_ms = was.silent_ms + elapsed_ms;
	return base;
}
