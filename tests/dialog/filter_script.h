/* SPDX-License-Identifier: ISC
 *
 * verifyd as the dialogs of smtpd play it: its answers at each stage, the
 * changes it wants, and the content that it gives back in small pieces.
 */
#ifndef DIALOG_FILTER_SCRIPT_H
#define DIALOG_FILTER_SCRIPT_H

#include "daemons/smtpd/session.h"
#include "dialog.h"

enum { FILTER_EVENTS = 512, FILTER_CHANGES = 32 };

enum filter_script_stage { SCRIPT_MAIL, SCRIPT_RCPT, SCRIPT_DATA, SCRIPT_END, SCRIPT_STAGES };

struct filter_script {
	struct dialog *dialog;
	struct arena *mem;
	bool away, deaf; /* deaf: wants no content */
	struct {
		struct span pattern; /* RCPT: of the address */
		struct ipc_filter_answer answer;
		bool silent, set;
	} stages[SCRIPT_STAGES];
	struct {
		char kind; /* s, a, r: sender, add, remove */
		struct span address;
	} changes[FILTER_CHANGES];
	size_t nchanges;
	struct span field;         /* put in front of what comes back */
	struct buf content;
	size_t back;               /* of content */
	struct {
		enum filter_script_stage stage;
		uint64_t question;
		bool plain, pieces;
	} events[FILTER_EVENTS];
	size_t first, last;
	uint64_t id;
};

void filter_script_init(struct filter_script *f, struct dialog *d, struct arena *mem);
void filter_script_free(struct filter_script *f);
bool filter_script_mail(struct filter_script *f, struct ipc_filter_mail *m);
bool filter_script_send(struct filter_script *f, unsigned type, const void *m);
/* Does the next thing that is due; false: nothing is. */
bool filter_script_turn(struct filter_script *f, struct session *s);
void filter_script_lost(struct filter_script *f);
/* mail|rcpt|data|end STATUS|silent|hold|discard [text]; sender|add|remove ADDRESS; field TEXT; deaf */
bool filter_script_directive(struct filter_script *f, struct span rest);

#endif
