/* SPDX-License-Identifier: ISC */
#include "log/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 4096, GATHER = 32768, GATHER_MS = 5 };

static const struct {
	const char *name;
	enum log_level level;
	const char *doc;
} events[] = {
#define EVENT(name, level, doc) { #name, LOG_LEVEL_##level, doc },
#include "log/events.def"
};

static const struct {
	const char *name;
	int syslog;
} levels[] = {
	[LOG_LEVEL_DEBUG] = { "debug", 7 },
	[LOG_LEVEL_INFO] = { "info", 6 },
	[LOG_LEVEL_NOTICE] = { "notice", 5 },
	[LOG_LEVEL_WARNING] = { "warning", 4 },
	[LOG_LEVEL_ERROR] = { "error", 3 },
};

static struct {
	char tag[64];
	int fd;
	bool datagram;
	bool gap; /* a line was not taken: the next that is comes behind word of it */
	int pid;
	struct loop *loop;
	struct turn flush;
	struct timer gather;
	enum log_level least;
	size_t used;
	char who[96]; /* tag and pid */
	size_t who_n;
	time_t second; /* of stamp */
	char stamp[32];
	char text[GATHER];
} logger = { .tag = "pillarpost", .fd = STDERR_FILENO, .least = LOG_LEVEL_INFO };

static void
on_flush(struct turn *t)
{
	(void)t;
	log_flush();
}

static void
on_gathered(struct timer *t)
{
	(void)t;
	log_flush();
}

void
log_open(const char *tag, int fd, struct loop *loop)
{
	int type = 0;
	socklen_t len = sizeof(type);

	log_flush();
	if (logger.flush.on_turn)
		turn_cancel(&logger.flush);
	(void)snprintf(logger.tag, sizeof(logger.tag), "%s", tag);
	logger.fd = fd;
	logger.loop = loop;
	logger.datagram = getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_DGRAM;
	turn_init(&logger.flush, on_flush);
	logger.pid = getpid();
	logger.who_n = 0;
	if (loop)
		timer_init(&logger.gather, loop, on_gathered);
}

void
log_set_level(enum log_level least)
{
	logger.least = least;
}

bool
log_enabled(enum log_event event)
{
	return events[event].level >= logger.least;
}

void
log_flush(void)
{
	const char *p = logger.text;
	size_t left = logger.used;

	logger.used = 0;
	if (logger.loop && timer_running(&logger.gather))
		timer_stop(&logger.gather);
	while (left > 0 && !logger.gap) {
		ssize_t n = write(logger.fd, p, left);

		logger.gap = n == 0 || (n < 0 && errno != EINTR);
		p += n > 0 ? n : 0;
		left -= n > 0 ? (size_t)n : 0;
	}
}

/* Length of a well-formed UTF-8 sequence of two to four bytes at p, else 0. */
static size_t
multibyte(const unsigned char *p, size_t left)
{
	size_t n = p[0] >= 0xc2 && p[0] < 0xe0 ? 2 : p[0] >= 0xe0 && p[0] < 0xf0 ? 3 : p[0] >= 0xf0 && p[0] < 0xf5 ? 4 : 0;

	if (n == 0 || n > left || (p[0] == 0xc2 && p[1] < 0xa0)) /* C1 controls */
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

static void
clean(char *text, size_t n)
{
	for (size_t i = 0; i < n;) {
		unsigned char c = (unsigned char)text[i];
		size_t many = c >= 0x80 ? multibyte((unsigned char *)text + i, n - i) : c >= ' ' && c != 0x7f;

		if (many == 0) {
			text[i] = '?';
			many = 1;
		}
		i += many;
	}
}

static struct span
stamp(void)
{
	struct timespec now;
	struct tm tm;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	if (now.tv_sec != logger.second) {
		logger.second = now.tv_sec;
		(void)gmtime_r(&now.tv_sec, &tm);
		/* not strftime(): it sets the time zone, which nobody asks for here, and that is a page of its own in each of many processes */
		(void)snprintf(logger.stamp, sizeof(logger.stamp), "%04d-%02d-%02dT%02d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
	}
	logger.stamp[19] = '.';
	for (long i = 22, ms = now.tv_nsec / 1000000; i > 19; i--, ms /= 10)
		logger.stamp[i] = (char)('0' + ms % 10);
	logger.stamp[23] = 'Z';
	return span_of(logger.stamp, 24);
}

static char *
put(char *to, struct span text)
{
	return (char *)memcpy(to, text.p, text.n) + text.n;
}

/* The names are short, a line is long. */
static size_t
put_head(char *line, enum log_event event)
{
	char *to = line;

	if (!logger.who_n || logger.pid == 0)
		logger.who_n = (size_t)snprintf(logger.who, sizeof(logger.who), "%s[%d]: ", logger.tag, logger.pid ? logger.pid : (int)getpid());
	if (logger.datagram) /* RFC 3164 as local syslogs take it: facility mail */
		to += snprintf(line, 8, "<%d>", 16 + levels[events[event].level].syslog);
	else
		to = put(put(to, stamp()), SPAN(" "));
	to = put(put(to, span_of(logger.who, logger.who_n)), span_str(events[event].name));
	return (size_t)(put(to, SPAN(" ")) - line);
}

/* Bad news is written in this turn, other lines when there are some: a client
 * that is being served does not wait for the log. */
static bool
gather(enum log_level level)
{
	if (level < LOG_LEVEL_WARNING)
		return timer_running(&logger.gather) || timer_set(&logger.gather, GATHER_MS);
	turn_later(&logger.flush, logger.loop);
	return true;
}

void
log_put(enum log_event event, const char *fmt, ...)
{
	char *line;
	size_t head, room;
	va_list ap;
	int n;

	if (!log_enabled(event))
		return;
	if (logger.gap) {
		logger.gap = false;
		log_put(LOG_failure, "the log took no more for a time: lines are missing before this one");
	}
	if (GATHER - logger.used < LINE_MAX_BYTES)
		log_flush();
	line = logger.text + logger.used;
	head = put_head(line, event);
	room = LINE_MAX_BYTES - 1 - head;
	va_start(ap, fmt);
	n = vsnprintf(line + head, room, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	if ((size_t)n >= room)
		n = (int)room - 1; /* cut: a log line is never a reason to fail */
	clean(line + head, (size_t)n);
	line[head + (size_t)n] = '\n';
	if (logger.datagram) {
		logger.gap |= send(logger.fd, line, head + (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0;
		return;
	}
	logger.used += head + (size_t)n + 1;
	if (!logger.loop || !gather(events[event].level))
		log_flush();
}

const char *
log_event_name(enum log_event event)
{
	return events[event].name;
}

const char *
log_event_doc(enum log_event event)
{
	return events[event].doc;
}

enum log_level
log_event_level(enum log_event event)
{
	return events[event].level;
}

const char *
log_level_name(enum log_level level)
{
	return levels[level].name;
}
