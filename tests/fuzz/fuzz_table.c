/* SPDX-License-Identifier: ISC
 *
 * Text sources of tables: the first byte chooses the type, the rest is the
 * file (or the inline text); then some keys are looked up.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "table/table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
ask(const char *spec, size_t n)
{
	static const char *const keys[] = { "alice@example.org", "bob", "10.1.2.3", "2001:db8::1", "x-l@y", "" };
	struct table_options options = { .syntax = TABLE_MAP };
	struct arena arena;
	struct table *t;
	struct span value;
	struct fail why;

	arena_init(&arena, 4 << 20);
	if (table_open(span_of(spec, n), &options, &t, &why)) {
		for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
			(void)table_lookup(t, span_str(keys[i]), &arena, &value, &why);
		table_close(&t);
	}
	arena_free(&arena);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char spec[64], *text;
	int fd;

	if (size == 0)
		return 0;
	if (data[0] == 'i') {
		text = malloc(size + 6);
		if (text) {
			memcpy(text, "inline:", 7);
			memcpy(text + 7, data + 1, size - 1);
			ask(text, size + 6);
		}
		free(text);
		return 0;
	}
	fd = memfd_create("table", MFD_CLOEXEC);
	if (fd < 0)
		return 0;
	if (write(fd, data + 1, size - 1) == (ssize_t)(size - 1)) {
		snprintf(spec, sizeof(spec), "%s:/proc/self/fd/%d", data[0] == 'p' ? "pcre" : data[0] == 'c' ? "cidr"
		    : "file", fd);
		ask(spec, strlen(spec));
	}
	close(fd);
	return 0;
}
