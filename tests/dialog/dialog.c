/* SPDX-License-Identifier: ISC */
#include "dialog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dialog_file.h"

enum {
	MAX_OUTPUT = 16 << 20,
	MAX_INPUT = 64 << 20,
};

struct dialog {
	const struct dialog_core *core;
	void *state;          /* the core's */
	const char *path;
	bool started, bytewise;
	struct buf packet;    /* C: lines not given yet */
	struct buf input;     /* given, not taken by the core */
	struct buf reply;     /* read by S+ */
	struct buf output;    /* said by the core, not read by an S: line */
	struct buf actions;   /* one a line, not matched by an A: line */
	struct buf content;   /* the last delivered message, not compared yet */
	bool has_content;
	bool in_content;      /* reading | lines */
	struct dialog_variables variables;
	unsigned line;        /* of the file */
	struct buf why;       /* empty: all is well */
};

static void fail_at(struct dialog *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void
fail_at(struct dialog *d, const char *fmt, ...)
{
	va_list ap;

	if (buf_len(&d->why))
		return;
	buf_printf(&d->why, "%s:%u: ", d->path, d->line);
	va_start(ap, fmt);
	buf_vprintf(&d->why, fmt, ap);
	va_end(ap);
}

void
dialog_output(struct dialog *d, struct span bytes)
{
	buf_put(&d->output, bytes);
}

void
dialog_action(struct dialog *d, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&d->actions, fmt, ap);
	va_end(ap);
	buf_putc(&d->actions, '\n');
}

void
dialog_content(struct dialog *d, struct span content)
{
	buf_reset(&d->content);
	buf_put(&d->content, content);
	d->has_content = true;
}

/* Gives the core what it will take until nothing moves. */
static void
pump(struct dialog *d)
{
	size_t n;

	do {
		n = buf_len(&d->input) ? d->core->input(d->state, buf_span(&d->input)) : 0;
		if (n > buf_len(&d->input)) {
			fail_at(d, "the core took more than there was");
			return;
		}
		buf_eat(&d->input, n);
	} while (n > 0 || d->core->turn(d->state));
}

static void
start(struct dialog *d)
{
	if (d->started)
		return;
	d->started = true;
	d->core->start(d->state);
	pump(d);
}

/* Sends the gathered C: lines: as one packet, or byte by byte. */
static void
deliver(struct dialog *d)
{
	struct span all = buf_span(&d->packet);
	size_t step = d->bytewise ? 1 : all.n;

	start(d);
	for (size_t at = 0; at < all.n; at += step) {
		buf_put(&d->input, span_sub(all, at, step));
		pump(d);
	}
	buf_reset(&d->packet);
}

static void
expect_line(struct dialog *d, struct span pattern, bool regex)
{
	struct span out, line;
	size_t at;

	deliver(d);
	out = buf_span(&d->output);
	at = span_find(out, SPAN("\r\n"));
	if (at == SIZE_MAX) {
		fail_at(d, "expected \"%.*s\", the server %s%.*s", SPAN_ARG(pattern),
		    out.n ? "left an unfinished line: " : d->core->closed(d->state) ? "closed" : "is silent",
		    SPAN_ARG(out));
		return;
	}
	line = span_sub(out, 0, at);
	if (regex ? !dialog_regex(pattern, line) : !dialog_capture(pattern, line, &d->variables))
		fail_at(d, "expected \"%.*s\", got \"%.*s\"", SPAN_ARG(pattern), SPAN_ARG(line));
	buf_eat(&d->output, at + 2);
}

/* A whole reply of several lines, kept for "has" and "hasnt". */
static void
read_reply(struct dialog *d, struct span code)
{
	struct span out, line;
	size_t at;

	deliver(d);
	buf_reset(&d->reply);
	do {
		out = buf_span(&d->output);
		at = span_find(out, SPAN("\r\n"));
		line = at == SIZE_MAX ? SPAN_NONE : span_sub(out, 0, at);
		if (!span_starts(line, code) || line.n <= code.n || !(line.p[code.n] == '-' || line.p[code.n] == ' ')) {
			fail_at(d, "expected a whole reply %.*s, got \"%.*s\"", SPAN_ARG(code), SPAN_ARG(line));
			return;
		}
		buf_put(&d->reply, span_from(line, code.n + 1));
		buf_putc(&d->reply, '\n');
		at = line.p[code.n] == ' ';
		buf_eat(&d->output, line.n + 2);
	} while (!at);
}

static void
expect_in_reply(struct dialog *d, struct span pattern, bool wanted)
{
	struct span rest = buf_span(&d->reply);
	bool found = false;

	while (rest.n)
		found |= dialog_match(pattern, span_cut(&rest, '\n'));
	if (found != wanted)
		fail_at(d, "the reply %s \"%.*s\": %.*s", wanted ? "lacks" : "has", SPAN_ARG(pattern), SPAN_ARG(buf_span(&d->reply)));
}

static void
expect_action(struct dialog *d, struct span pattern)
{
	deliver(d);
	while (buf_len(&d->actions)) {
		struct span rest = buf_span(&d->actions), line = span_cut(&rest, '\n');
		bool hit = dialog_match(pattern, line);

		buf_eat(&d->actions, line.n + 1);
		if (hit)
			return;
	}
	fail_at(d, "no action \"%.*s\" since the last that matched", SPAN_ARG(pattern));
}

static void
expect_no_action(struct dialog *d, struct span pattern)
{
	struct span rest, line;

	deliver(d);
	for (rest = buf_span(&d->actions); rest.n;)
		if (dialog_match(pattern, line = span_cut(&rest, '\n')))
			fail_at(d, "the core has done \"%.*s\"", SPAN_ARG(line));
}

static void
expect_content_line(struct dialog *d, struct span pattern)
{
	struct span all = buf_span(&d->content);
	size_t at = span_find(all, SPAN("\r\n"));

	if (pattern.n && pattern.p[0] == ' ')
		pattern = span_from(pattern, 1);
	if (at == SIZE_MAX) {
		fail_at(d, "content: expected \"%.*s\", got its end", SPAN_ARG(pattern));
		return;
	}
	if (!dialog_match(pattern, span_sub(all, 0, at)))
		fail_at(d, "content: expected \"%.*s\", got \"%.*s\"", SPAN_ARG(pattern), SPAN_ARG(span_sub(all, 0, at)));
	buf_eat(&d->content, at + 2);
}

static void
content_ends(struct dialog *d)
{
	if (d->in_content && buf_len(&d->content))
		fail_at(d, "content goes on: \"%.*s\"", SPAN_ARG(span_sub(buf_span(&d->content), 0, 200)));
	d->in_content = false;
}

/* Words of the runner itself; false: not one of them. */
static bool
own_word(struct dialog *d, struct span word, struct span rest)
{
	uint64_t ms;

	if (span_eq(word, SPAN("silent"))) {
		deliver(d);
		if (buf_len(&d->output))
			fail_at(d, "expected silence, got \"%.*s\"", SPAN_ARG(buf_span(&d->output)));
	} else if (span_eq(word, SPAN("closed"))) {
		deliver(d);
		if (!d->core->closed(d->state))
			fail_at(d, "the server has not closed");
	} else if (span_eq(word, SPAN("open"))) {
		deliver(d);
		if (d->core->closed(d->state))
			fail_at(d, "the server has closed");
	} else if (span_eq(word, SPAN("eof"))) {
		deliver(d);
		d->core->eof(d->state);
		pump(d);
	} else if (span_eq(word, SPAN("advance"))) {
		deliver(d);
		if (!dialog_time(rest, &ms))
			fail_at(d, "advance wants a time such as 300s");
		else
			d->core->advance(d->state, (int64_t)ms);
		pump(d);
	} else if (span_eq(word, SPAN("content"))) {
		deliver(d);
		if (!d->has_content)
			fail_at(d, "nothing was delivered");
		d->has_content = false;
		d->in_content = true;
	} else if (span_eq(word, SPAN("nocontent"))) {
		deliver(d);
		if (d->has_content)
			fail_at(d, "something was delivered");
	} else
		return span_eq(word, SPAN("whole"));
	return true;
}

static void
do_directive(struct dialog *d, struct span line)
{
	struct span rest = line, word = span_word(&rest);

	rest = span_trim(rest);
	if (own_word(d, word, rest))
		return;
	if (d->started)
		deliver(d);
	if (!d->core->directive(d->state, word, rest))
		fail_at(d, "unknown directive \"%.*s\"", SPAN_ARG(line));
	if (d->started)
		pump(d);
}

static void
do_line(struct dialog *d, struct span line)
{
	struct span text;
	uint64_t times = 1;

	if (line.n && line.p[0] == '|' && d->in_content) {
		expect_content_line(d, span_from(line, 1));
		return;
	}
	content_ends(d);
	if (span_trim(line).n == 0 || line.p[0] == '#')
		return;
	if (dialog_tag(line, SPAN("S: "), SPAN("S:"), &text))
		expect_line(d, text, false);
	else if (dialog_tag(line, SPAN("S+ "), SPAN_NONE, &text))
		read_reply(d, text);
	else if (dialog_tag(line, SPAN("has "), SPAN_NONE, &text) || dialog_tag(line, SPAN("hasnt "), SPAN_NONE, &text))
		expect_in_reply(d, text, line.p[3] == ' ');
	else if (dialog_tag(line, SPAN("S~ "), SPAN_NONE, &text))
		expect_line(d, text, true);
	else if (dialog_tag(line, SPAN("A: "), SPAN_NONE, &text))
		expect_action(d, text);
	else if (dialog_tag(line, SPAN("A! "), SPAN_NONE, &text))
		expect_no_action(d, text);
	else if (dialog_client_line(line, &d->packet, &times)) {
		if (!buf_ok(&d->packet))
			fail_at(d, "bad escape or too much input");
	} else
		do_directive(d, line);
}

static void
run_once(struct dialog *d, struct span text)
{
	struct buf with;

	buf_init(&with, MAX_INPUT);
	d->state = d->core->open(d);
	if (!d->state) {
		fail_at(d, "no core");
		return;
	}
	while (text.p && !buf_len(&d->why)) {
		struct span line = span_cut(&text, '\n');

		d->line++;
		if (line.n && line.p[line.n - 1] == '\r')
			line.n--;
		buf_reset(&with);
		if (dialog_substitute(line, &d->variables, &with))
			line = buf_span(&with);
		do_line(d, line);
	}
	buf_free(&with);
	if (!buf_len(&d->why)) {
		content_ends(d);
		deliver(d);
		if (buf_len(&d->output))
			fail_at(d, "unread at the end: \"%.*s\"", SPAN_ARG(span_sub(buf_span(&d->output), 0, 300)));
	}
	d->core->free(d->state);
}

/* True when the file passes in one mode; otherwise says why on stdout. */
static bool
run_mode(const struct dialog_core *core, const char *path, struct span text, bool bytewise)
{
	struct dialog d = { .core = core, .path = path, .bytewise = bytewise };
	bool passed;

	buf_init(&d.packet, MAX_INPUT);
	buf_init(&d.input, MAX_INPUT);
	buf_init(&d.reply, MAX_OUTPUT);
	buf_init(&d.output, MAX_OUTPUT);
	buf_init(&d.actions, MAX_OUTPUT);
	buf_init(&d.content, MAX_INPUT);
	buf_init(&d.why, MAX_OUTPUT);
	run_once(&d, text);
	passed = buf_len(&d.why) == 0;
	if (!passed)
		printf("# %.*s%s\n", SPAN_ARG(buf_span(&d.why)), bytewise ? " (byte by byte)" : "");
	buf_free(&d.packet);
	buf_free(&d.input);
	buf_free(&d.reply);
	buf_free(&d.output);
	buf_free(&d.actions);
	buf_free(&d.content);
	buf_free(&d.why);
	return passed;
}

static bool
run_file(const struct dialog_core *core, const char *path)
{
	struct buf text;
	bool passed = false;

	buf_init(&text, MAX_INPUT);
	if (!dialog_read_file(path, &text))
		printf("# %s: cannot be read\n", path);
	else {
		if (core->client)
			dialog_swap_sides(&text);
		passed = run_mode(core, path, buf_span(&text), false) &&
		    (dialog_has_line(buf_span(&text), SPAN("whole")) || run_mode(core, path, buf_span(&text), true));
	}
	buf_free(&text);
	return passed;
}

int
dialog_main(const struct dialog_core *core, int argc, char **argv)
{
	struct dialog_files files = { 0 };
	unsigned passed = 0, failed = 0;

	if (argc > 1)
		files = (struct dialog_files){ argv + 1, (size_t)argc - 1 };
	else if (!dialog_find_files(core->name, &files)) {
		printf("Bail out! no dialogs for %s\n", core->name);
		return 1;
	}
	printf("1..%zu\n", files.n);
	for (size_t i = 0; i < files.n; i++) {
		bool ok = run_file(core, files.paths[i]);

		if (ok)
			passed++;
		else
			failed++;
		printf("%s %zu - %s\n", ok ? "ok" : "not ok", i + 1, dialog_base_name(files.paths[i]));
	}
	printf("# %s: %u passed, %u failed\n", core->name, passed, failed);
	if (argc <= 1)
		dialog_free_files(&files);
	return failed ? 1 : 0;
}
