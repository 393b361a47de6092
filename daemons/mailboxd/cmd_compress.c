/* SPDX-License-Identifier: ISC
 *
 * cmd_compress: COMPRESS (RFC 4978).
 */
#include "daemons/mailboxd/imap.h"

enum cmd_result
cmd_compress(struct cmd *c)
{
	if (!span_caseeq(c->arg[0], SPAN("DEFLATE")))
		return cmd_bad(c, "Unknown compression mechanism.");
	if (c->s->base.out.squeeze)
		return cmd_no(c, "[COMPRESSIONACTIVE] DEFLATE is active already.");
	c->s->compressing = true;
	return cmd_ok(c, "DEFLATE is active behind this line.");
}
