/* SPDX-License-Identifier: ISC */
#include "dialog_file.h"

#include <dirent.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dialog.h"

static bool
is_variable_char(char c)
{
	return ascii_alnum(c) || c == '-' || c == '_' || c == '.' || c == '/' || c == '+';
}

/* Takes "{=v}" from the pattern and what it stands for from the text. */
static bool
capture(struct span *pattern, struct span *text, struct dialog_variables *vars)
{
	size_t n = 0;
	char *to;

	if (!vars || !span_starts(*pattern, SPAN("{=")) || pattern->n < 4 || pattern->p[3] != '}' || pattern->p[2] < 'a' || pattern->p[2] > 'z')
		return false;
	to = vars->value[pattern->p[2] - 'a'];
	while (n < text->n && n < DIALOG_VARIABLE - 1 && is_variable_char(text->p[n])) {
		to[n] = text->p[n];
		n++;
	}
	to[n] = '\0';
	*pattern = span_from(*pattern, 4);
	*text = span_from(*text, n);
	return n > 0;
}

bool
dialog_match(struct span pattern, struct span text)
{
	return dialog_capture(pattern, text, NULL);
}

bool
dialog_substitute(struct span line, const struct dialog_variables *vars, struct buf *out)
{
	if (span_find(line, SPAN("{$")) == SIZE_MAX)
		return false;
	while (line.n) {
		if (span_starts(line, SPAN("{$")) && line.n >= 4 && line.p[3] == '}' && line.p[2] >= 'a' && line.p[2] <= 'z') {
			buf_puts(out, vars->value[line.p[2] - 'a']);
			line = span_from(line, 4);
		} else {
			buf_putc(out, line.p[0]);
			line = span_from(line, 1);
		}
	}
	return true;
}

bool
dialog_capture(struct span pattern, struct span text, struct dialog_variables *vars)
{
	struct span retry_pattern = SPAN_NONE, retry_text = SPAN_NONE;
	bool can_retry = false;

	for (;;) {
		if (span_starts(pattern, SPAN("{*}"))) {
			pattern = span_from(pattern, 3);
			retry_pattern = pattern;
			retry_text = text;
			can_retry = true;
			continue;
		}
		if (span_starts(pattern, SPAN("{#}")) && text.n && ascii_digit(text.p[0])) {
			while (text.n && ascii_digit(text.p[0]))
				text = span_from(text, 1);
			pattern = span_from(pattern, 3);
			continue;
		}
		if (capture(&pattern, &text, vars))
			continue;
		if (span_starts(pattern, SPAN("{?}")) && text.n) {
			pattern = span_from(pattern, 3);
			text = span_from(text, 1);
			continue;
		}
		if (pattern.n && text.n && pattern.p[0] == text.p[0]) {
			pattern = span_from(pattern, 1);
			text = span_from(text, 1);
			continue;
		}
		if (!pattern.n && !text.n)
			return true;
		if (!can_retry || !retry_text.n)
			return false;
		retry_text = span_from(retry_text, 1);
		pattern = retry_pattern;
		text = retry_text;
	}
}

bool
dialog_regex(struct span pattern, struct span text)
{
	struct buf expr, subject;
	regex_t re;
	bool hit = false;

	buf_init(&expr, 65536);
	buf_init(&subject, 1 << 20);
	buf_printf(&expr, "^(%.*s)$", SPAN_ARG(pattern));
	buf_putc(&expr, '\0');
	buf_put(&subject, text);
	buf_putc(&subject, '\0');
	if (buf_ok(&expr) && buf_ok(&subject) && regcomp(&re, buf_span(&expr).p, REG_EXTENDED | REG_NOSUB) == 0) {
		hit = regexec(&re, buf_span(&subject).p, 0, NULL, 0) == 0;
		regfree(&re);
	}
	buf_free(&expr);
	buf_free(&subject);
	return hit;
}

bool
dialog_time(struct span s, uint64_t *ms)
{
	static const struct {
		struct span unit;
		uint64_t ms;
	} units[] = { { SPAN_INIT("ms"), 1 }, { SPAN_INIT("s"), 1000 }, { SPAN_INIT("m"), 60000 }, { SPAN_INIT("h"), 3600000 } };

	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++)
		if (span_ends(s, units[i].unit) && span_u64(span_sub(s, 0, s.n - units[i].unit.n), 1000000, ms)) {
			*ms *= units[i].ms;
			return true;
		}
	return false;
}

bool
dialog_tag(struct span line, struct span tag, struct span bare, struct span *rest)
{
	if (span_starts(line, tag)) {
		*rest = span_from(line, tag.n);
		return true;
	}
	*rest = SPAN("");
	return bare.n && span_eq(line, bare);
}

bool
dialog_has_line(struct span text, struct span word)
{
	while (text.p)
		if (span_eq(span_trim(span_cut(&text, '\n')), word))
			return true;
	return false;
}

static int
hex(char c)
{
	c = ascii_lower(c);
	return ascii_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool unescape(struct buf *out, struct span s);

/* \{N text}: the text N times; *s stands behind the backslash. */
static bool
repeat(struct buf *out, struct span *s)
{
	size_t close = span_chr(*s, '}');
	struct span body;
	uint64_t times;

	if (close == SIZE_MAX)
		return false;
	body = span_sub(*s, 1, close - 1);
	*s = span_from(*s, close + 1);
	if (!span_u64(span_cut(&body, ' '), 100000000, &times))
		return false;
	while (times-- > 0 && buf_ok(out))
		if (!unescape(out, body))
			return false;
	return true;
}

static bool
escape(struct buf *out, struct span *s)
{
	static const char from[] = "rnt0\\", to[] = "\r\n\t\0\\";
	const char *at;

	if (!s->n)
		return false;
	if (s->p[0] == '{')
		return repeat(out, s);
	if (s->p[0] == 'x') {
		if (s->n < 3 || hex(s->p[1]) < 0 || hex(s->p[2]) < 0)
			return false;
		buf_putc(out, (char)(hex(s->p[1]) * 16 + hex(s->p[2])));
		*s = span_from(*s, 3);
		return true;
	}
	at = memchr(from, s->p[0], sizeof(from) - 1);
	if (!at)
		return false;
	buf_putc(out, to[at - from]);
	*s = span_from(*s, 1);
	return true;
}

static bool
unescape(struct buf *out, struct span s)
{
	while (s.n) {
		char c = s.p[0];

		s = span_from(s, 1);
		if (c != '\\')
			buf_putc(out, c);
		else if (!escape(out, &s))
			return false;
	}
	return buf_ok(out);
}

bool
dialog_client_line(struct span line, struct buf *packet, uint64_t *times)
{
	struct span text;
	bool crlf = true;

	*times = 1;
	if (dialog_tag(line, SPAN("C> "), SPAN_NONE, &text))
		crlf = false;
	else if (span_starts(line, SPAN("C*"))) {
		text = span_from(line, 2);
		if (!span_u64(span_cut(&text, ':'), 10000000, times))
			packet->failed = true;
		if (text.n && text.p[0] == ' ')
			text = span_from(text, 1);
	} else if (!dialog_tag(line, SPAN("C: "), SPAN("C:"), &text))
		return false;
	for (uint64_t i = 0; i < *times && buf_ok(packet); i++) {
		if (!unescape(packet, text))
			packet->failed = true;
		if (crlf)
			buf_put(packet, SPAN("\r\n"));
	}
	return true;
}

const char *
dialog_base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

bool
dialog_read_file(const char *path, struct buf *text)
{
	FILE *f = fopen(path, "rb");
	char chunk[8192];
	size_t n;

	if (!f)
		return false;
	while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
		buf_put(text, span_of(chunk, n));
	(void)fclose(f);
	return buf_ok(text);
}

void
dialog_swap_sides(struct buf *text)
{
	char *p = text->mem + text->at;
	size_t n = buf_len(text);

	for (size_t i = 0; i + 1 < n; i++)
		if ((i == 0 || p[i - 1] == '\n') && (p[i] == 'C' || p[i] == 'S') && (p[i + 1] == ':' || p[i + 1] == '>' || p[i + 1] == '*' || p[i + 1] == '~'))
			p[i] = p[i] == 'C' ? 'S' : 'C';
}

static int
is_dialog(const struct dirent *e)
{
	return span_ends(span_str(e->d_name), SPAN(".dlg"));
}

bool
dialog_find_files(const char *name, struct dialog_files *files)
{
	const char *top = getenv("srcdir");
	char dir[2048], path[4096];
	struct dirent **list = NULL;
	int n;

	(void)snprintf(dir, sizeof(dir), "%s/tests/dialog/%s", top && *top ? top : ".", name);
	n = scandir(dir, &list, is_dialog, alphasort);
	files->n = 0;
	files->paths = n > 0 ? calloc((size_t)n, sizeof(*files->paths)) : NULL;
	for (int i = 0; i < n; i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", dir, list[i]->d_name);
		free(list[i]);
		if (files->paths && (files->paths[files->n] = strdup(path)))
			files->n++;
	}
	free(list);
	return files->n > 0;
}

void
dialog_free_files(struct dialog_files *files)
{
	for (size_t i = 0; i < files->n; i++)
		free(files->paths[i]);
	free(files->paths);
	*files = (struct dialog_files){ 0 };
}
