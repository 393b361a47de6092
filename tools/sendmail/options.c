/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "tools/sendmail/sendmail.h"

static bool
set_mode(struct sendmail_options *o, const char *value)
{
	static const struct {
		char letter;
		enum sendmail_mode mode;
	} modes[] = {
		{ 'm', MODE_SEND }, { 's', MODE_SMTP }, { 'v', MODE_VERIFY }, { 'p', MODE_LIST }, { 'i', MODE_ALIASES }
	};

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (value[0] == modes[i].letter && value[1] == '\0') {
			o->mode = modes[i].mode;
			return true;
		}
	if (strcmp(value, "d") == 0 || strcmp(value, "D") == 0)
		return complain(0, "there is no daemon to be started here; use mailctl start") != 0;
	return complain(0, "-b%s is not supported", value) != 0;
}

/* -oi and the like; all else that sendmail knows is passed over. */
static bool
set_option(struct sendmail_options *o, const char *value)
{
	o->dots = o->dots || strcmp(value, "i") == 0 || strcmp(value, "IgnoreDots") == 0 ||
		  strcmp(value, "IgnoreDots=true") == 0;
	return true;
}

static bool
set_queue(struct sendmail_options *o, const char *value)
{
	o->mode = MODE_FLUSH;
	if (!value[0] || ascii_digit(value[0])) /* how often a daemon should: here it is the same once */
		return true;
	if (!strchr("IRS", value[0]) || !value[1])
		return complain(0, "-q%s is not supported; there are -q, -qIID, -qRRECIPIENT (or domain), -qSSENDER", value) != 0;
	o->filter_field = value[0];
	o->filter = value + 1;
	return true;
}

#define SET_TEXT(name, member)                                       \
	static bool name(struct sendmail_options *o, const char *value)  \
	{                                                                \
		o->member = value;                                           \
		return true;                                                 \
	}
#define SET_FLAG(name, member)                                       \
	static bool name(struct sendmail_options *o, const char *value)  \
	{                                                                \
		(void)value;                                                 \
		o->member = true;                                            \
		return true;                                                 \
	}
SET_TEXT(set_config, config_path)
SET_TEXT(set_sender, sender)
SET_TEXT(set_full_name, full_name)
SET_TEXT(set_envid, envid)
SET_FLAG(set_from_header, from_header)
SET_FLAG(set_dots, dots)
SET_FLAG(set_verbose, verbose)

/* Words that go into a command as they are (RFC 3461 4.1, 4.3). */
static bool
words_known(const char *value, const char *const *known, size_t n)
{
	struct span rest = span_str(value);

	while (rest.p) {
		struct span word = span_cut(&rest, ',');
		bool found = false;

		for (size_t i = 0; i < n; i++)
			found = found || span_caseeq(word, span_str(known[i]));
		if (!found)
			return complain(0, "%s: not understood", value) != 0;
	}
	return true;
}

static bool
set_notify(struct sendmail_options *o, const char *value)
{
	static const char *const known[] = { "never", "success", "failure", "delay" };

	o->notify = value;
	return words_known(value, known, 4);
}

static bool
set_ret(struct sendmail_options *o, const char *value)
{
	static const char *const known[] = { "full", "hdrs" };

	o->ret = value;
	return words_known(value, known, 2);
}

static bool
set_aliases(struct sendmail_options *o, const char *value)
{
	(void)value;
	o->mode = MODE_ALIASES;
	return true;
}

enum { BARE, VALUE, ATTACHED }; /* ATTACHED: the rest of the word, which may be empty */

static const struct {
	char letter;
	int value;
	bool (*set)(struct sendmail_options *, const char *); /* NULL: known to other sendmails, without meaning here */
} letters[] = {
	{ 'A', VALUE, NULL },       { 'B', VALUE, NULL },          { 'C', VALUE, set_config },
	{ 'E', BARE, NULL },        { 'F', VALUE, set_full_name }, { 'G', BARE, NULL },
	{ 'I', BARE, set_aliases }, { 'L', VALUE, NULL },          { 'N', VALUE, set_notify },
	{ 'O', VALUE, set_option }, { 'Q', ATTACHED, NULL },       { 'R', VALUE, set_ret },
	{ 'U', BARE, NULL },        { 'V', VALUE, set_envid },     { 'X', VALUE, NULL },
	{ 'b', VALUE, set_mode },   { 'c', BARE, NULL },           { 'd', ATTACHED, NULL },
	{ 'e', ATTACHED, NULL },    { 'f', VALUE, set_sender },    { 'h', VALUE, NULL },
	{ 'i', BARE, set_dots },    { 'm', BARE, NULL },           { 'n', BARE, NULL },
	{ 'o', VALUE, set_option }, { 'p', VALUE, NULL },          { 'q', ATTACHED, set_queue },
	{ 'r', VALUE, set_sender }, { 's', BARE, NULL },           { 't', BARE, set_from_header },
	{ 'v', BARE, set_verbose }, { 'x', BARE, NULL },
};

/* One word that begins with '-'. *next is where the next word is taken from. */
static bool
take_word(struct sendmail_options *o, const char *word, char **argv, int argc, int *next)
{
	while (*word) {
		size_t i = 0;
		const char *value = "";

		while (i < sizeof(letters) / sizeof(letters[0]) && letters[i].letter != *word)
			i++;
		if (i == sizeof(letters) / sizeof(letters[0]))
			return complain(0, "unknown option -%c", *word) != 0;
		word++;
		if (letters[i].value != BARE) {
			value = word;
			word = "";
		}
		if (letters[i].value == VALUE && !*value) {
			if (*next >= argc)
				return complain(0, "option -%c needs a value", letters[i].letter) != 0;
			value = argv[(*next)++];
		}
		if (letters[i].set && !letters[i].set(o, value))
			return false;
	}
	return true;
}

bool
options_parse(struct sendmail_options *o, int argc, char **argv)
{
	const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL, *env = getenv("PILLARPOST_CONFIG");
	int at = 1;

	*o = (struct sendmail_options){ .program = slash ? slash + 1 : argc > 0 ? argv[0] : "sendmail",
		.config_path = env && *env ? env : SYSCONFDIR "/pillarpost.conf" };
	if (strcmp(o->program, "mailq") == 0)
		o->mode = MODE_LIST;
	else if (strcmp(o->program, "newaliases") == 0)
		o->mode = MODE_ALIASES;
	while (at < argc && argv[at][0] == '-' && argv[at][1]) {
		const char *word = argv[at++] + 1;

		if (strcmp(word, "-") == 0)
			break;
		if (!take_word(o, word, argv, argc, &at))
			return false;
	}
	o->recipients = argv + at;
	o->nrecipients = argc > at ? argc - at : 0;
	return true;
}
