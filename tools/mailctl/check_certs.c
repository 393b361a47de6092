/* SPDX-License-Identifier: ISC
 *
 * Certificates and keys are judged by what keyd makes of the same files: it
 * does without what is wrong and says so in the log alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "daemons/keyd/anchors.h"
#include "daemons/keyd/keys.h"
#include "tools/mailctl/check.h"

/* What our servers show, or what remoted does. */
struct ring {
	struct check *check;
	struct keys keys;
	bool unread; /* there may be more in files that this user cannot read */
};

static bool
read_file(struct ring *r, const struct check_option *o, size_t most, struct buf *pem)
{
	int fd = open(o->value.p, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	char *to = buf_room(pem, most + 1);
	ssize_t n = fd >= 0 && to ? 0 : -1;

	while (n >= 0 && buf_len(pem) <= most && (n = read(fd, to + buf_len(pem), most + 1 - buf_len(pem))) > 0)
		buf_added(pem, (size_t)n);
	if (n < 0 && errno == EACCES && r->check->unprivileged) {
		r->unread = true;
		check_note_of(r->check, o, "could not be checked: this user may not read it");
	} else if (n < 0)
		check_problem_of(r->check, o, "%s", strerror(errno));
	if (fd >= 0)
		(void)close(fd);
	return n >= 0;
}

/* Adds what is in the file, of which there has to be a certificate or a key. */
static void
load(struct ring *r, const struct check_option *o, bool certificate, bool key)
{
	struct keys found;
	struct buf pem;
	struct fail why = { .text = "" };

	keys_init(&found);
	buf_init(&pem, KEYS_FILE_MAX + 1);
	if (read_file(r, o, KEYS_FILE_MAX, &pem)) {
		if (!keys_add(&found, o->value, buf_span(&pem), &why))
			check_problem_of(r->check, o, "%s", why.text);
		else if (certificate && !found.nchains)
			check_problem_of(r->check, o, "no certificate is in it");
		else if (key && !found.nkeys)
			check_problem_of(r->check, o, "no private key is in it");
		else
			keys_take(&r->keys, &found);
	}
	keys_free(&found);
	buf_wipe(&pem);
}

/* In the file: what an option has by default stands there with another. */
static bool
given(const struct ring *r, const struct check_option *o)
{
	unsigned line, column;

	return o->value.n && conf_where(r->check->conf, o->table, o->block, o->name, &line, &column);
}

static void
load_pair(struct ring *r, const struct check_option *cert, const struct check_option *key)
{
	if (given(r, cert))
		load(r, cert, true, false);
	if (given(r, key) && !span_eq(key->value, cert->value))
		load(r, key, false, true);
}

/* Any key will do that is there for this use: so it is with keyd. */
static void
match_pair(struct ring *r, const struct check_option *cert, const struct check_option *key)
{
	LIST_EACH(&r->keys.chains, node) {
		const struct keys_chain *chain = OWNER_OF(node, struct keys_chain, node);

		if (!span_eq(span_str(chain->path), cert->value) || keys_have(&r->keys, chain->id))
			continue;
		if (r->unread)
			check_note_of(r->check, cert, "could not be checked: its key may be in a file that this user may not read");
		else
			check_problem_of(r->check, given(r, key) ? key : cert, "the key of the certificate in %s is not there", cert->value.p);
		return;
	}
}

typedef void visit(struct ring *r, const struct check_option *cert, const struct check_option *key);

static struct check_option
global(const char *name, struct span value)
{
	return (struct check_option){ .name = name, .value = value };
}

static void
visit_block(struct ring *r, enum conf_table table, size_t block, struct span cert_file, struct span key_file, visit *v)
{
	struct check_option cert = { "cert_file", cert_file, table, block }, key = { "key_file", key_file, table, block };

	if (given(r, &cert) || given(r, &key))
		v(r, &cert, &key);
}

static void
each_of_servers(struct ring *r, visit *v)
{
	const struct conf *conf = r->check->conf;
	struct check_option cert = global("smtpd_tls_cert_file", conf->smtpd_tls_cert_file), key = global("smtpd_tls_key_file", conf->smtpd_tls_key_file);

	v(r, &cert, &key);
	for (size_t i = 0; i < conf->smtpd_tls_chain_files.n; i++) {
		struct check_option both = global("smtpd_tls_chain_files", conf->smtpd_tls_chain_files.items[i]);

		v(r, &both, &both);
	}
	for (size_t i = 0; i < conf->nlisteners; i++)
		visit_block(r, CONF_TABLE_LISTENER, i, conf->listeners[i].cert_file, conf->listeners[i].key_file, v);
}

static void
each_of_remoted(struct ring *r, visit *v)
{
	const struct conf *conf = r->check->conf;
	struct check_option cert = global("smtp_tls_cert_file", conf->smtp_tls_cert_file), key = global("smtp_tls_key_file", conf->smtp_tls_key_file);

	v(r, &cert, &key);
	for (size_t i = 0; i < conf->nroutes; i++)
		visit_block(r, CONF_TABLE_ROUTE, i, conf->routes[i].cert_file, conf->routes[i].key_file, v);
}

static void
check_anchors(struct ring *r)
{
	struct check_option o = global("smtpd_tls_CAfile", r->check->conf->smtpd_tls_CAfile);
	struct anchors anchors;
	struct buf pem;
	struct fail why = { .text = "" };

	anchors_init(&anchors);
	buf_init(&pem, ANCHORS_FILE_MAX + 1);
	if (o.value.n && read_file(r, &o, ANCHORS_FILE_MAX, &pem) && !anchors_read(&anchors, buf_span(&pem), &why))
		check_problem_of(r->check, &o, "%s", why.text);
	anchors_free(&anchors);
	buf_free(&pem);
}

void
check_certificates(struct check *c)
{
	struct ring servers = { .check = c }, clients = { .check = c };

	keys_init(&servers.keys);
	keys_init(&clients.keys);
	each_of_servers(&servers, load_pair);
	each_of_servers(&servers, match_pair);
	each_of_remoted(&clients, load_pair);
	each_of_remoted(&clients, match_pair);
	check_anchors(&servers);
	keys_free(&servers.keys);
	keys_free(&clients.keys);
}
