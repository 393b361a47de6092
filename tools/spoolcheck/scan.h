/* SPDX-License-Identifier: ISC
 *
 * scan: every record that can be read from the files of a journal, whatever
 * has happened to them: flipped bytes, torn, cut or missing files, lost
 * headers.  What is broken is told with file and offset and stepped over.
 * Only reads.
 */
#ifndef SPOOLCHECK_SCAN_H
#define SPOOLCHECK_SCAN_H

#include "journal/segment.h"

/* A segment whose place among the others is not known for sure is given twice:
 * before the rest, for what messages there are, and behind it, for what became of them. */
enum scan_pass { SCAN_ONCE, SCAN_BEFORE, SCAN_AFTER };

struct scan_record {
	struct journal_record r; /* body: as much as is there */
	const char *file;        /* "journal/00000001.seg" */
	uint32_t number;         /* of the file */
	size_t body_at;          /* where in the file the body stands */
	bool sound;              /* its checksum is right; else the head is likely, the body is not */
	enum scan_pass pass;
};

struct scan {
	struct vfs *vfs;
	const char *dir;
	char kind[4];
	void *arg;
	void (*on_record)(void *arg, const struct scan_record *r);
	/* n == 0: not a matter of bytes. */
	void (*on_damage)(void *arg, const char *file, uint64_t at, uint64_t n, const char *what);
	void (*on_progress)(void *arg, uint64_t done, uint64_t total); /* may be NULL */
	uint64_t done, total;  /* bytes */
	unsigned segments;     /* that hold records */
	unsigned gaps;         /* segments between them that are not there: recycled, or lost */
};

/* False: the directory cannot be read at all. */
bool scan_run(struct scan *s, struct fail *why);

/* Reads up to n bytes at `at`; what the disk refuses is left zero and counted in
 * *bad (may be NULL). Returns the bytes that exist. */
size_t scan_read(struct vfs *v, int fd, char *to, size_t n, uint64_t at, uint64_t *bad);

#endif
