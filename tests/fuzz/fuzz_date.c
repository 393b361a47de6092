/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "mail/date.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = span_of(data, size);
	struct date d, again;
	int64_t days;
	char text[DATE_SIZE];

	if (date_parse(&d, in)) {
		/* years before 1000 do not come back: "0101" means 2001 */
		if (!date_parse(&again, span_str(date_format(text, d.time, d.zone))) && d.time > -30000000000)
			abort();
		if (d.time > -30000000000 && d.time < 253000000000 && again.time != d.time)
			abort();
	}
	if (date_parse_imap(&d, in) && d.time > -30000000000 && d.time < 253000000000 &&
	    (!date_parse_imap(&again, span_str(date_format_imap(text, d.time, d.zone))) || again.time != d.time))
		abort();
	if (date_parse_iso(&days, in) && (days < -62135683200 || days > 253402387200))
		abort();
	(void)date_parse_ctime(&d, in);
	(void)date_parse_day(&days, in);
	return 0;
}
