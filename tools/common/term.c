/* SPDX-License-Identifier: ISC */
#include "tools/common/term.h"

#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { NARROW = 20, QUIET_MS = 2000, TELL_MS = 250 };

unsigned
term_width(FILE *f)
{
	struct winsize size;

	if (!isatty(fileno(f)))
		return 0;
	if (ioctl(fileno(f), TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
		return 80;
	return size.ws_col < NARROW ? NARROW : size.ws_col;
}

static bool
harmless(struct span s)
{
	unsigned char high = 0, low = 0;

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		high |= c;
		low |= c < ' ' || c == 0x7f;
	}
	return !low && high < 0x80;
}

void
term_put(struct buf *out, struct span s)
{
	if (harmless(s)) { /* a million times */
		buf_put(out, s);
		return;
	}
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		/* C1 controls in UTF-8 are C2 80..9F. */
		bool c1 = c == 0xc2 && i + 1 < s.n && (unsigned char)s.p[i + 1] < 0xa0;

		buf_putc(out, c < ' ' || c == 0x7f || c1 ? '?' : s.p[i]);
		i += c1;
	}
}

void
term_line(FILE *f, struct span line, unsigned width)
{
	size_t columns = 0, fits = line.n;

	for (size_t i = 0; width && i < line.n; i++) {
		if (((unsigned char)line.p[i] & 0xc0) == 0x80)
			continue;
		if (columns == width - 3)
			fits = i;
		columns++;
	}
	if (width && columns > width)
		(void)fprintf(f, "%.*s...\n", (int)fits, line.p);
	else
		(void)fprintf(f, "%.*s\n", SPAN_ARG(line));
}

static bool
read_line(char *line, size_t size, size_t *n, unsigned char give_up)
{
	char c;

	for (*n = 0; read(STDIN_FILENO, &c, 1) == 1 && c != '\n'; line[(*n)++] = c)
		if (*n + 1 >= size || (give_up && (unsigned char)c == give_up))
			return false;
	if (*n && line[*n - 1] == '\r')
		--*n;
	return true;
}

/* Signals are keys meanwhile: who is killed leaves the terminal without echo. */
bool
term_secret(const char *prompt, char *line, size_t size, size_t *n)
{
	struct termios old, quiet;
	bool ok;

	if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &old) < 0)
		return read_line(line, size, n, 0);
	quiet = old;
	quiet.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
	quiet.c_cc[VEOL] = old.c_cc[VINTR]; /* ends the line */
	(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
	(void)fputs(prompt, stderr);
	ok = read_line(line, size, n, old.c_cc[VINTR]);
	(void)fputc('\n', stderr);
	(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
	return ok;
}

static int64_t
now_ms(void)
{
	struct timespec now = { .tv_sec = 0 };

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void
term_progress_begin(struct term_progress *p)
{
	*p = (struct term_progress){ .begun_ms = now_ms() };
}

bool
term_progress_due(struct term_progress *p)
{
	int64_t now = now_ms();

	if (now - p->begun_ms < QUIET_MS || now - p->told_ms < TELL_MS || !isatty(STDERR_FILENO))
		return false;
	p->told_ms = now;
	return true;
}

void
term_progress_end(struct term_progress *p)
{
	if (p->told_ms)
		(void)fputs("\r\033[K", stderr);
	p->told_ms = 0;
}

const char *
term_size(uint64_t bytes, char text[16])
{
	static const char units[] = " kMGTPE";
	unsigned unit = 0;
	double n = (double)bytes;

	while (n >= 999.5 && units[unit + 1]) {
		n /= 1024;
		unit++;
	}
	(void)snprintf(text, 16, unit && n < 9.95 ? "%.1f%c" : "%.0f%c", n, unit ? units[unit] : '\0');
	return text;
}

const char *
term_age(uint64_t seconds, char text[16])
{
	uint64_t n = seconds < 100 ? seconds : seconds < 6000 ? seconds / 60 : seconds < 172800 ? seconds / 3600 : seconds / 86400;
	char unit = seconds < 100 ? 's' : seconds < 6000 ? 'm' : seconds < 172800 ? 'h' : 'd';

	(void)snprintf(text, 16, "%llu%c", (unsigned long long)(n < 99999 ? n : 99999), unit);
	return text;
}
