/* SPDX-License-Identifier: ISC
 *
 * date: dates of mail: RFC 5322 3.3 with the obsolete forms of 4.3 and of RFC 822 (2-digit years, named
 * zones, no zone), IMAP's INTERNALDATE and search dates. No locale, no TZ, any year from 1 to 9999.
 */
#ifndef MAIL_DATE_H
#define MAIL_DATE_H

#include "base/buf.h"

struct date {
	int64_t time;     /* seconds since 1970-01-01 00:00:00 UTC */
	int zone;         /* minutes east of UTC */
	bool zone_known;  /* false: none given, "-0000", or a military or unknown name (RFC 5322 4.3): read as UTC */
};

/* Comments and folding may stand anywhere; what follows a complete date is ignored. False: not a date. */
bool date_parse(struct date *d, struct span s);
/* "17-Jul-1996 02:44:25 -0700", the day with a leading blank or digit (RFC 3501 date-time, without the quotes). */
bool date_parse_imap(struct date *d, struct span s);
/* "1-Feb-1994" (RFC 3501 date-text without the quotes): days since 1970-01-01. */
bool date_parse_day(int64_t *days, struct span s);
/* ctime form of mbox lines and asctime: "Thu Jul  1 02:44:25 1999", optional zone behind. */
bool date_parse_ctime(struct date *d, struct span s);

enum { DATE_SIZE = 40 };

/* "Mon, 12 Oct 1998 15:27:39 +0000"; in that zone. Returns out. */
const char *date_format(char out[DATE_SIZE], int64_t time, int zone);
/* "12-Oct-1998 15:27:39 +0000", the day with a leading blank as RFC 3501 wants it. */
const char *date_format_imap(char out[DATE_SIZE], int64_t time, int zone);
/* "2026-11-21T10:52:31Z" */
const char *date_format_iso(char out[DATE_SIZE], int64_t time);

/* RFC 3339 5.6, "2026-11-21T10:52:31Z" or with "+01:00" behind; a fraction of a second is dropped. False: not one. */
bool date_parse_iso(int64_t *time, struct span s);

/* The system's offset at that time, minutes east. */
int date_local_zone(int64_t time);

/* The calendar in the proleptic Gregorian reckoning, no zone. */
int64_t date_days(int year, int month, int day); /* since 1970-01-01; month 1 to 12 */

#endif
