/* SPDX-License-Identifier: ISC */
#include "tools/mailctl/user_offline.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "net/sasl.h"
#include "sys/priv.h"
#include "table/password.h"
#include "table/useradmin.h"

static bool
make_directory(const char *path, struct fail *why)
{
	char parent[B_PATH];
	char *slash;

	if (mkdir(path, 0700) == 0 || errno == EEXIST)
		return true;
	(void)snprintf(parent, sizeof(parent), "%s", path);
	slash = strrchr(parent, '/');
	if (errno == ENOENT && slash && slash != parent) {
		*slash = '\0';
		if ((mkdir(parent, 0755) == 0 || errno == EEXIST) && (mkdir(path, 0700) == 0 || errno == EEXIST))
			return true;
	}
	return fail_errno(why, 0, "%s", path);
}

/* Before the first start of the suite there is no directory yet. */
static bool
prepare(const struct mailctl *m, struct fail *why)
{
	const char *path = m->conf->user_database.p;
	struct priv_identity authd;
	char user[64];
	struct stat st;

	if (stat(path, &st) == 0)
		return true;
	if (!make_directory(path, why) || geteuid() != 0)
		return stat(path, &st) == 0;
	(void)snprintf(user, sizeof(user), "%s%s", m->conf->daemon_user_prefix.p, "authd");
	return priv_lookup(user, &authd, why) && (chown(path, authd.uid, authd.gid) == 0 || fail_errno(why, 0, "%s", path));
}

static bool
set(const struct mailctl *m, struct userdb *db, const struct ipc_user_admin_set *request, struct fail *why)
{
	struct password_cost cost = {
		.kind = m->conf->auth_password_hash == CONF_HASH_YESCRYPT ? PASSWORD_YESCRYPT : PASSWORD_ARGON2ID,
		.memory_kib = (uint32_t)(m->conf->auth_hash_memory / 1024),
	};
	char name[USERDB_NAME + 1];
	bool scram = sasl_set(m->conf->auth_mechanisms.items, m->conf->auth_mechanisms.n) & SASL_SCRAM;
	struct useradmin_secret secret;
	bool ok;

	useradmin_secret_init(&secret, db, request->user, scram ? (uint32_t)m->conf->auth_scram_iterations : 0);
	ok = useradmin_check(db, request, name, why) && useradmin_hash(&secret, request->password, &cost, why) &&
	     useradmin_set(db, request, &secret, (int64_t)time(NULL), why);
	useradmin_secret_wipe(&secret);
	return ok;
}

static bool
print_row(void *arg, const struct ipc_user_admin_user *user)
{
	user_print(arg, user);
	return true;
}

static bool
carry_out(struct mailctl *m, struct userdb *db, unsigned type, const void *request, struct fail *why)
{
	switch (type) {
	case IPC_user_admin_set:
		return set(m, db, request, why);
	case IPC_user_admin_quota:
		return useradmin_quota(db, request, why);
	case IPC_user_admin_remove:
		return useradmin_remove(db, request, why);
	case IPC_user_admin_list:
		return useradmin_list(db, request, print_row, m, why);
	default:
		return fail_set(why, FAIL_PERM, 0, "not possible while authd is not running");
	}
}

int
user_offline(struct mailctl *m, unsigned type, const void *request)
{
	struct fail why = { .text = "" };
	struct userdb *db = NULL;
	bool ok = prepare(m, &why) && userdb_open(m->conf->user_database.p, &db, &why) && carry_out(m, db, type, request, &why);

	userdb_close(&db);
	return ok ? EX_OK_ : mailctl_failed(&why);
}
