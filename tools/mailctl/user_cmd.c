/* SPDX-License-Identifier: ISC
 *
 * user add, passwd, delete, list, quota: through authd, or on the database itself
 * while no authd has it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "conf/value.h"
#include "table/userdb.h"
#include "tools/common/term.h"
#include "tools/mailctl/mailctl.h"
#include "tools/mailctl/user_offline.h"
#include "tools/mailctl/user_owner.h"
#include "tools/mailctl/user_place.h"

enum { PASSWORD_MAX = 1024 };

/* Asks twice on a terminal, without echo; reads one line otherwise. */
static bool
ask_password(const struct mailctl *m, char *password, size_t *n)
{
	char again[PASSWORD_MAX];
	size_t again_n = 0;
	bool ok;

	if (m->password_stdin || !isatty(STDIN_FILENO))
		return (term_secret("", password, PASSWORD_MAX, n) && *n > 0) || mailctl_fail(0, "no password on standard input, or one over %d bytes", PASSWORD_MAX - 1);
	ok = term_secret("New password: ", password, PASSWORD_MAX, n) && term_secret("Again: ", again, sizeof(again), &again_n);
	ok = ok && *n > 0 && *n == again_n && memcmp(password, again, *n) == 0;
	explicit_bzero(again, sizeof(again));
	return ok || mailctl_fail(0, "the passwords are empty or differ");
}

static void
put_owner(const struct ipc_user_admin_user *u, struct buf *line)
{
	struct buf name;

	buf_init(&name, B_ADDRESS);
	user_owner_put(&name, u->uid, u->gid);
	if (u->uid)
		desc_json_string(line, buf_span(&name));
	else
		buf_puts(line, "null");
	buf_free(&name);
}

static void
put_row(const struct mailctl *m, const struct ipc_user_admin_user *u, struct buf *line)
{
	if (m->json) {
		buf_puts(line, "{\"user\":");
		desc_json_string(line, u->user);
		buf_puts(line, ",\"home\":");
		desc_json_string(line, u->home);
		buf_printf(line, ",\"uid\":%u,\"gid\":%u,\"owner\":", u->uid, u->gid);
		put_owner(u, line);
		buf_printf(line, ",\"quota\":%llu,\"messages\":%llu,\"login\":%s,\"scram\":%s}",
		    (unsigned long long)userdb_limit(u->quota, m->conf->mailbox_size_limit), (unsigned long long)userdb_limit(u->messages, m->conf->mailbox_message_limit),
		    u->login ? "true" : "false", u->scram ? "true" : "false");
	} else {
		term_put(line, u->user);
		buf_printf(line, "%*s %s  ", u->user.n < 40 ? (int)(40 - u->user.n) : 0, "", u->scram ? "scram" : u->login ? "login" : "-----");
		term_put(line, u->home);
		if (u->uid)
			buf_puts(line, "  owner ");
		if (u->uid)
			user_owner_put(line, u->uid, u->gid);
	}
}

void
user_print(struct mailctl *m, const struct ipc_user_admin_user *u)
{
	struct buf line;

	m->nusers++;
	if (m->on_user) {
		m->on_user(m, u);
		return;
	}
	buf_init(&line, 6 * (B_ADDRESS + B_PATH) + 512); /* an octet becomes up to six */
	put_row(m, u, &line);
	term_line(stdout, buf_span(&line), 0);
	buf_free(&line);
}

/* Sends the request to authd and prints its answer. */
static int
ask_authd(struct mailctl *m, struct channel_sync *c, unsigned type, const void *request)
{
	const void *answer;

	if (!mailctl_send(c, type, request))
		return EX_UNAVAILABLE_;
	while (mailctl_recv(c, &type, &answer)) {
		if (type == IPC_user_admin_user) {
			user_print(m, answer);
		} else if (type == IPC_user_admin_done) {
			const struct ipc_user_admin_done *d = answer;

			return d->ok ? 0 : mailctl_fail(d->unknown ? EX_NOUSER_ : EX_FAILED, "%.*s", SPAN_ARG(d->text));
		}
	}
	return EX_UNAVAILABLE_;
}

static int
carry_out(struct mailctl *m, unsigned type, const void *request)
{
	struct fail why = { .text = "" };
	char path[B_PATH];
	struct channel_sync *c;
	int status;

	(void)snprintf(path, sizeof(path), "%s/user_admin", m->conf->run_directory.p);
	c = channel_sync_connect(path, &ipc_channel_user_admin, &why);
	if (!c && (why.err == ENOENT || why.err == ECONNREFUSED))
		return user_offline(m, type, request);
	if (!c)
		return mailctl_unreached("authd", &why);
	status = ask_authd(m, c, type, request);
	channel_sync_free(&c);
	return status;
}

static int
set_password(const struct mailctl *m, struct ipc_user_admin_set *set, char password[PASSWORD_MAX])
{
	size_t n = 0;

	if (!ask_password(m, password, &n))
		return EX_FAILED;
	set->password = span_of(password, n);
	return EX_OK_;
}

int
user_cmd_add(struct mailctl *m)
{
	struct ipc_user_admin_set set = { .id = 1, .create = true };
	struct fail why = { .text = "" };
	struct user_place place;
	char password[PASSWORD_MAX];
	int status;

	if (m->nargs != 1 || !strchr(m->args[0], '@'))
		return mailctl_usage(m);
	set.user = span_str(m->args[0]);
	if (!user_place(m, &set, &place))
		return EX_FAILED;
	status = set_password(m, &set, password);
	if (status == EX_OK_ && place.make && !user_home_make(&place.home, &why))
		status = mailctl_failed(&why);
	if (status == EX_OK_)
		status = carry_out(m, IPC_user_admin_set, &set);
	explicit_bzero(password, sizeof(password));
	return status;
}

int
user_cmd_passwd(struct mailctl *m)
{
	struct ipc_user_admin_set set = { .id = 1 };
	char password[PASSWORD_MAX];
	int status;

	if (m->nargs != 1 || !strchr(m->args[0], '@'))
		return mailctl_usage(m);
	set.user = span_str(m->args[0]);
	status = set_password(m, &set, password);
	if (status == EX_OK_)
		status = carry_out(m, IPC_user_admin_set, &set);
	explicit_bzero(password, sizeof(password));
	return status;
}

int
user_ask(struct mailctl *m, const char *user)
{
	struct ipc_user_admin_list list = { .id = 1, .match = span_str(user) };

	m->nusers = 0;
	return carry_out(m, IPC_user_admin_list, &list);
}

/* Whoever is named has to be there. */
static int
list_named(struct mailctl *m, const char *user)
{
	int status = user_ask(m, user);
	size_t at = span_chr(span_str(user), '@');

	if (status == 0 && m->nusers == 0)
		status = mailctl_fail(EX_NOUSER_, "there is no user %s%s", at == 0 || at == SIZE_MAX ? "in " : "", user + (at == 0));
	return status;
}

int
user_cmd_list(struct mailctl *m)
{
	if (m->nargs > 1)
		return mailctl_usage(m);
	return m->nargs ? list_named(m, m->args[0]) : user_ask(m, "");
}

static void
would_delete(struct mailctl *m, const struct ipc_user_admin_user *u)
{
	m->on_user = NULL;
	(void)printf("would delete (the mail stays):\n");
	user_print(m, u);
}

int
user_cmd_delete(struct mailctl *m)
{
	struct ipc_user_admin_remove remove = { .id = 1 };

	if (m->nargs != 1 || !strchr(m->args[0], '@'))
		return mailctl_usage(m);
	remove.user = span_str(m->args[0]);
	if (!m->dry_run)
		return carry_out(m, IPC_user_admin_remove, &remove);
	m->on_user = would_delete;
	return list_named(m, m->args[0]);
}

/* ---- quota ---- */

/* none, default, or what parse reads. */
static bool
take_limit(const char *text, bool (*parse)(struct span, uint64_t *), bool *set, uint64_t *out)
{
	*set = text != NULL;
	if (!text)
		return true;
	if (strcmp(text, "none") == 0)
		*out = QUOTA_NONE;
	else if (strcmp(text, "default") == 0)
		*out = 0;
	else
		return (parse(span_str(text), out) && *out > 0 && *out != QUOTA_NONE) || mailctl_fail(0, "%s is not a limit", text);
	return true;
}

static bool
parse_number(struct span text, uint64_t *out)
{
	return span_u64(text, UINT64_MAX, out);
}

static void
print_limit(const char *what, uint64_t of_user, uint64_t of_all)
{
	uint64_t limit = userdb_limit(of_user, of_all);
	const char *from = of_user == 0 ? " (default)" : "";

	if (limit)
		(void)printf(" %s %llu%s", what, (unsigned long long)limit, from);
	else
		(void)printf(" %s unlimited%s", what, from);
}

static void
print_quota(struct mailctl *m, const struct ipc_user_admin_user *u)
{
	(void)printf("%.*s:", SPAN_ARG(u->user));
	print_limit("size", u->quota, m->conf->mailbox_size_limit);
	print_limit("messages", u->messages, m->conf->mailbox_message_limit);
	(void)putchar('\n');
}

int
user_cmd_quota(struct mailctl *m)
{
	struct ipc_user_admin_quota quota = { .id = 1 };
	int status;

	if (m->nargs != 1 || !strchr(m->args[0], '@'))
		return mailctl_usage(m);
	quota.user = span_str(m->args[0]);
	if (!take_limit(m->size, conf_value_size, &quota.set_size, &quota.size) || !take_limit(m->messages, parse_number, &quota.set_messages, &quota.messages))
		return EX_USAGE_;
	if (quota.set_size || quota.set_messages) {
		status = carry_out(m, IPC_user_admin_quota, &quota);
		if (status)
			return status;
	}
	if (!m->json)
		m->on_user = print_quota;
	return list_named(m, m->args[0]);
}
