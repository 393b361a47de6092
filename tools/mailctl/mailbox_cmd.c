/* SPDX-License-Identifier: ISC
 *
 * mailbox list, stat, check, repair, quota: on the files, as their owner.  All but
 * repair only look, also while the user is logged in.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log/log.h"
#include "mail/status.h"
#include "store/look.h"
#include "store/name.h"
#include "sys/loop.h"
#include "sys/priv.h"
#include "table/userdb.h"
#include "tools/common/term.h"
#include "tools/mailctl/mailbox.h"

struct visit {
	struct mailctl *m;
	int base;
	int (*folder)(struct visit *v, struct span name);
	struct store *store; /* repair */
	bool whole;
	int status;
};

/* ---- whose ---- */

static void
on_user(struct mailctl *m, const struct ipc_user_admin_user *u)
{
	if (!span_caseeq(u->user, span_str(m->user)))
		return;
	(void)snprintf(m->home, sizeof m->home, "%s/%.*s", m->conf->virtual_mailbox_base.p, SPAN_ARG(u->home));
	m->owner_uid = u->uid;
	m->owner_gid = u->gid;
	m->quota = userdb_limit(u->quota, m->conf->mailbox_size_limit);
	m->quota_messages = userdb_limit(u->messages, m->conf->mailbox_message_limit);
}

/* The files belong to a user, who may have put anything into them: they are read as that user. */
bool
mailbox_become_owner(int base, struct fail *why)
{
	struct priv_identity owner = { .caps = 0 };
	struct stat st;

	if (geteuid() != 0)
		return true;
	if (fstat(base, &st) < 0)
		return fail_errno(why, 0, "the mailbox");
	if (st.st_uid == 0)
		return fail_set(why, FAIL_PERM, 0, "the mailbox belongs to root");
	owner.uid = st.st_uid;
	owner.gid = st.st_gid;
	return priv_become(&owner, why);
}

bool
mailbox_find_user(struct mailctl *m, const char *user, struct fail *why)
{
	m->on_user = on_user;
	m->user = user;
	m->home[0] = '\0';
	if (user_ask(m, user))
		return fail_set(why, FAIL_TEMP, 0, "the users cannot be read");
	return m->home[0] || fail_set(why, FAIL_PERM, STATUS_BAD_MAILBOX, "there is no user %s", user);
}

int
mailbox_open_base(struct mailctl *m, const char *user, struct fail *why)
{
	int base;

	if (!mailbox_find_user(m, user, why))
		return -1;
	base = open(m->home, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (base < 0)
		(void)fail_errno(why, 0, "%s", m->home);
	if (base < 0 && why->err == ENOENT)
		(void)snprintf(why->text, sizeof(why->text), "%.200s has no mail yet", user);
	return base;
}

int
mailbox_unopened(const struct mailctl *m, const struct fail *why)
{
	return why->err == ENOENT && m->nargs == 1 ? mailctl_fail(EX_OK_, "%s", why->text) : mailctl_failed(why);
}

int
mailbox_open(struct mailctl *m, const char *user, struct fail *why)
{
	int base = mailbox_open_base(m, user, why);

	if (base >= 0 && !mailbox_become_owner(base, why)) {
		close(base);
		return -1;
	}
	return base;
}

/* ---- which folders ---- */

static bool
each_folder(void *arg, struct span name)
{
	struct visit *v = arg;
	int status = v->folder(v, name);

	v->status = status ? status : v->status;
	return true;
}

bool
mailbox_each_named(const struct mailctl *m, bool (*each)(void *, struct span), void *arg, struct fail *why)
{
	struct buf disk;
	bool ok = true;

	buf_init(&disk, (size_t)STORE_NAME_MAX * 2);
	for (int i = 1; ok && i < m->nargs; i++) {
		buf_reset(&disk);
		if (name_from_utf8(span_str(m->args[i]), &disk) && name_valid(buf_span(&disk)))
			(void)each(arg, name_fold(buf_span(&disk)));
		else
			ok = fail_set(why, FAIL_PERM, 0, "not a folder's name: %s", m->args[i]);
	}
	buf_free(&disk);
	return ok;
}

static int
visit(struct visit *v, struct fail *why)
{
	bool ok = v->m->nargs > 1 ? mailbox_each_named(v->m, each_folder, v, why) : look_folders(v->base, each_folder, v, why);

	return ok ? v->status : mailctl_failed(why);
}

static int
run(struct mailctl *m, int (*folder)(struct visit *, struct span), bool whole)
{
	struct visit v = { .m = m, .folder = folder, .whole = whole };
	struct fail why = { .text = "" };
	int status;

	if (m->nargs < 1 || !strchr(m->args[0], '@'))
		return mailctl_usage(m);
	v.base = mailbox_open(m, m->args[0], &why);
	if (v.base < 0)
		return mailbox_unopened(m, &why);
	status = visit(&v, &why);
	close(v.base);
	return status;
}

/* ---- printing ---- */

/* Names as users know them, who may have put C1 controls into one. */
void
mailbox_print_name(struct span name, bool json)
{
	struct buf utf8, shown;

	buf_init(&utf8, (size_t)STORE_NAME_MAX * 4);
	buf_init(&shown, (size_t)STORE_NAME_MAX * 24);
	(void)name_to_utf8(name, &utf8);
	(json ? desc_json_string : term_put)(&shown, buf_span(&utf8));
	(void)printf("%.*s", SPAN_ARG(span_sub(buf_span(&shown), json, buf_len(&shown) - (json ? 2 : 0)))); /* quotes are the caller's */
	buf_free(&utf8);
	buf_free(&shown);
}

static bool
look(struct visit *v, struct span name, struct look *l, int *status)
{
	struct fail why = { .text = "" };

	if (look_folder(v->base, name, v->whole, l, &why))
		return true;
	*status = mailctl_fail(EX_FAILED, "%.*s: %s", SPAN_ARG(name), why.text);
	return false;
}

/* As the next session will find it. */
static void
take_in(struct look *l)
{
	l->status.messages += l->arrived.messages;
	l->status.recent += l->arrived.messages;
	l->status.unseen += l->arrived.unseen;
	l->status.deleted += l->arrived.deleted;
	l->status.uidnext += l->arrived.messages;
	l->status.size += l->arrived.size;
}

static int
list_one(struct visit *v, struct span name)
{
	struct look l;
	int status;

	if (!look(v, name, &l, &status))
		return status;
	take_in(&l);
	if (v->m->json) {
		(void)printf("{\"folder\":\"");
		mailbox_print_name(name, true);
		(void)printf("\",\"messages\":%u,\"unseen\":%u,\"size\":%llu}\n", l.status.messages, l.status.unseen, (unsigned long long)l.status.size);
		return 0;
	}
	(void)printf("%8u %8u %14llu  ", l.status.messages, l.status.unseen, (unsigned long long)l.status.size);
	mailbox_print_name(name, false);
	(void)printf("%s\n", l.state == LOOK_GOOD ? "" : "  (not opened yet)");
	return 0;
}

static int
stat_one(struct visit *v, struct span name)
{
	const char *line = v->m->json ? "\",\"messages\":%u,\"recent\":%u,\"unseen\":%u,\"deleted\":%u,\"uidvalidity\":%u,\"uidnext\":%u,\"modseq\":%llu,\"size\":%llu,\"search_messages\":%u,\"search_size\":%llu}\n"
	                              : ": messages %u recent %u unseen %u deleted %u uidvalidity %u uidnext %u modseq %llu size %llu search index of %u in %llu\n";
	struct look l;
	int status;

	if (!look(v, name, &l, &status))
		return status;
	take_in(&l);
	if (v->m->json)
		(void)printf("{\"folder\":\"");
	mailbox_print_name(name, v->m->json);
	(void)printf(line, l.status.messages, l.status.recent, l.status.unseen, l.status.deleted, l.status.uidvalidity, l.status.uidnext,
	    (unsigned long long)l.status.highest_modseq, (unsigned long long)l.status.size, l.searchable, (unsigned long long)l.search_size);
	return 0;
}

static bool
is_wrong(const struct look *l)
{
	return l->state == LOOK_LOST || l->damaged || l->missing || l->incomplete;
}

static int
check_one(struct visit *v, struct span name)
{
	static const char *const states[] = { "good", "new", "lost" };
	struct look l;
	int status;

	if (!look(v, name, &l, &status))
		return status;
	if (v->m->json)
		(void)printf("{\"folder\":\"");
	mailbox_print_name(name, v->m->json);
	(void)printf(v->m->json ? "\",\"index\":\"%s\",\"damaged\":%u,\"files\":%u,\"arrived\":%u,\"missing\":%u,\"names_behind\":%u,\"search_index\":\"%s\",\"incomplete\":%s}\n"
	                        : ": index %s, damaged places %u, files %u, not taken in yet %u, missing %u, names behind flags %u, search index %s%s\n",
	    states[l.state], l.damaged, l.files, l.arrived.messages, l.missing, l.renamed, l.search_damaged ? "damaged" : l.search_size ? "good" : "none",
	    v->m->json ? (l.incomplete ? "true" : "false") : (l.incomplete ? ", a directory is missing" : ""));
	return is_wrong(&l) ? EX_FAILED : 0;
}

int
mailbox_cmd_list(struct mailctl *m)
{
	return m->nargs > 1 ? mailctl_usage(m) : run(m, list_one, false);
}

int
mailbox_cmd_stat(struct mailctl *m)
{
	return run(m, stat_one, false);
}

int
mailbox_cmd_check(struct mailctl *m)
{
	return run(m, check_one, true);
}

/* ---- repair ---- */

static int
repair_one(struct visit *v, struct span name)
{
	struct fail why = { .text = "" };
	struct look before, after;
	int status;

	if (!look(v, name, &before, &status))
		return status;
	mailbox_print_name(name, false);
	if (v->m->dry_run) {
		(void)printf(": %s\n", is_wrong(&before) ? "would be repaired" : "nothing is wrong");
		return 0;
	}
	if (!look_repair(v->store, name, &why)) {
		(void)printf(": not repaired\n");
		return mailctl_fail(EX_FAILED, "%.*s: %s", SPAN_ARG(name), why.text);
	}
	if (!look(v, name, &after, &status))
		return status;
	(void)printf(": %u messages, %s UIDVALIDITY %u, %u taken in, %u missing ones let go\n", after.status.messages,
	    after.status.uidvalidity == before.status.uidvalidity ? "same" : "new", after.status.uidvalidity, before.arrived.messages, before.missing);
	return 0;
}

static int
repair_all(struct mailctl *m, int base)
{
	struct visit v = { .m = m, .base = base, .folder = repair_one, .whole = true };
	struct fail why = { .text = "" };
	struct loop *loop = loop_new();
	struct worker_pool *pool = loop ? worker_pool_new(loop, 1) : NULL;
	struct store_config config = { .loop = loop, .pool = pool, .base = fcntl(base, F_DUPFD_CLOEXEC, 3), .host = m->conf->myhostname, .locked = true };
	int status;

	v.store = pool && config.base >= 0 ? store_new(&config, &why) : NULL;
	status = v.store ? visit(&v, &why) : mailctl_failed(&why);
	store_free(&v.store);
	if (pool)
		worker_pool_free(&pool);
	if (loop)
		loop_free(&loop);
	return status;
}

int
mailbox_cmd_repair(struct mailctl *m)
{
	struct fail why = { .text = "" };
	int base, status;

	if (m->dry_run)
		return run(m, repair_one, true);
	if (m->nargs < 1 || !strchr(m->args[0], '@'))
		return mailctl_usage(m);
	base = mailbox_open(m, m->args[0], &why);
	if (base < 0)
		return mailbox_unopened(m, &why);
	status = look_lock(base, &why) ? repair_all(m, base) : mailctl_failed(&why);
	close(base);
	return status;
}

/* ---- quota ---- */

/* What is there in truth; the sums are not ours. */
static bool
count_used(int base, struct quota *used, struct fail *why)
{
	struct vfs *v = maildir_vfs(base, "", why);
	struct quota_file q;
	bool ok;

	if (!v)
		return false;
	quota_init(&q, v);
	ok = quota_count(&q, &(struct quota){ .size = 0 }, why);
	*used = quota_used(&q);
	quota_close(&q);
	vfs_posix_free(&v);
	return ok;
}

int
mailbox_cmd_quota(struct mailctl *m)
{
	struct fail why = { .text = "" };
	struct quota limit, used = { .size = 0 };
	struct buf text;
	int base;
	bool ok;

	if (m->nargs != 1 || !strchr(m->args[0], '@'))
		return mailctl_usage(m);
	base = mailbox_open(m, m->args[0], &why);
	ok = base < 0 ? why.err == ENOENT : count_used(base, &used, &why);
	if (base >= 0)
		close(base);
	if (!ok)
		return mailctl_failed(&why);
	limit = (struct quota){ m->quota, m->quota_messages };
	buf_init(&text, 200);
	quota_text(&used, &limit, &text);
	if (m->json)
		(void)printf("{\"size\":%llu,\"messages\":%llu,\"size_limit\":%llu,\"messages_limit\":%llu}\n", (unsigned long long)used.size,
		    (unsigned long long)used.messages, (unsigned long long)limit.size, (unsigned long long)limit.messages);
	else
		(void)printf("%.*s\n", SPAN_ARG(buf_span(&text)));
	buf_free(&text);
	return 0;
}
