/* SPDX-License-Identifier: ISC
 *
 * bless: checksums made right in place, so that what they protect is reached: an
 * enemy who may write a file can count them as well.
 */
#ifndef FUZZ_BLESS_H
#define FUZZ_BLESS_H

#include <stddef.h>
#include <stdint.h>

/* Of each record (journal/segment.h) wherever the mark stands; p is behind the segment's header. */
void bless_records(char *p, size_t n, uint32_t mark);
/* Of a segment's index file, which then has entries up to its end. */
void bless_segment_index(char *p, size_t n);
/* Of a mailbox's snapshot; the names then go on up to its end. */
void bless_snapshot(char *p, size_t n);

#endif
