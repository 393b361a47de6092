/* SPDX-License-Identifier: ISC
 *
 * html: the text of an HTML document as its reader sees it, for searches and
 * previews: no tags, no comments, nothing of scripts, styles and the title,
 * characters for entities, one blank for any run of white space.  A tag that
 * divides (a paragraph, a cell) is white space, any other is nothing: a word that is
 * bold in the middle is one word.  Linear, never fails on what it is given.
 */
#ifndef MAIL_HTML_H
#define MAIL_HTML_H

#include "base/buf.h"

void html_text(struct span utf8, struct buf *out);

#endif
