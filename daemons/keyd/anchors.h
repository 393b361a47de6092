/* SPDX-License-Identifier: ISC
 *
 * anchors: the authorities that clients' certificates are judged by, read from a
 * PEM file for the fronts, which may open none.
 */
#ifndef KEYD_ANCHORS_H
#define KEYD_ANCHORS_H

#include "base/buf.h"
#include "base/fail.h"
#include "base/list.h"

enum { ANCHORS_FILE_MAX = 1024 * 1024, ANCHORS_MAX = 1000 };

struct anchor {
	struct list node;
	struct buf pem; /* one certificate */
};

struct anchors {
	struct list list; /* struct anchor */
	size_t n;
};

void anchors_init(struct anchors *a);
void anchors_free(struct anchors *a);
void anchors_take(struct anchors *to, struct anchors *from); /* in place of what is there; from is empty afterwards */
/* Every certificate of a file. False, and nothing added: there is none, or one that cannot be read. */
bool anchors_read(struct anchors *a, struct span pem, struct fail *why);

#endif
