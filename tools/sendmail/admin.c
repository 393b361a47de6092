/* SPDX-License-Identifier: ISC
 *
 * What needs queued or routed rather than smtpd: mailq, -q, newaliases.
 */
#include <stdio.h>
#include <string.h>

#include "base/queueid.h"
#include "table/table.h"
#include "tools/sendmail/post.h"
#include "tools/sendmail/sendmail.h"

int
admin_list(const struct sendmail_options *o, const struct conf *conf)
{
	return post_list(o->program, conf, false);
}

/* -qR takes a whole address or a domain. */
int
admin_flush(const struct sendmail_options *o, const struct conf *conf)
{
	struct ipc_queue_view_flush what = { .id = 1 };
	struct span text = span_str(o->filter);

	if (o->filter_field == 'I' && !queueid_parse(text, &what.message))
		return complain(EX_USAGE, "-qI needs a queue id");
	if (o->filter_field == 'S')
		what.sender = text;
	else if (o->filter_field == 'R' && span_chr(text, '@') != SIZE_MAX)
		what.recipient = text;
	else if (o->filter_field == 'R')
		what.site = text;
	return post_flush(o->program, conf, &what);
}

/* By routed, which uses them; its word on the matter is final. */
static bool
rebuild_by_routed(const struct conf *conf, int *status)
{
	struct fail why = { .text = "" };
	struct channel_sync *c = post_connect(conf, &ipc_channel_route_admin, &why);
	struct ipc_route_admin_rebuild request = { .id = 1 };
	const void *m;
	unsigned type;
	bool done = false;

	if (c && channel_sync_send(c, IPC_route_admin_rebuild, &request, -1, POST_ANSWER_MS, &why))
		while (!done && channel_sync_recv(c, &type, &m, NULL, POST_ANSWER_MS, &why)) {
			const struct ipc_route_admin_done *d = m;

			if (type != IPC_route_admin_done)
				continue;
			done = true;
			*status = d->ok ? EX_OK : complain(EX_UNAVAILABLE, "%.*s", SPAN_ARG(d->text));
		}
	channel_sync_free(&c);
	return done;
}

/* The suite is down, or this user may not ask it: as far as the user's own rights go. */
static int
rebuild_here(const struct conf *conf)
{
	int status = EX_OK;

	for (size_t i = 0; i < conf->alias_database.n; i++) {
		struct table_options options = { .syntax = TABLE_ALIASES };
		struct table *table = NULL;
		struct fail why = { .text = "" };

		if (!table_open(conf->alias_database.items[i], &options, &table, &why) || !table_rebuild(table, &why))
			status = complain(EX_CANTCREAT, "%s: %s", conf->alias_database.items[i].p, why.text);
		table_close(&table);
	}
	return status;
}

int
admin_aliases(const struct conf *conf)
{
	int status = EX_OK;

	return rebuild_by_routed(conf, &status) ? status : rebuild_here(conf);
}
