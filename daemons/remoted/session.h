/* SPDX-License-Identifier: ISC
 *
 * session: the rim of one connection to a peer: stream, TLS, timers and
 * content around the protocol core of client.h.
 *
 * A session has one job at a time.  Without one it idles in the pool, then says
 * QUIT and frees itself.  It tells its job by job_session_over() when nothing more will
 * come of it.
 */
#ifndef REMOTED_SESSION_H
#define REMOTED_SESSION_H

#include "base/list.h"
#include "base/map.h"
#include "daemons/remoted/client.h"
#include "daemons/remoted/content.h"
#include "daemons/remoted/destination.h"
#include "daemons/remoted/policy.h"
#include "daemons/remoted/tlspolicy.h"
#include "ipc/bounds.h"
#include "net/stream.h"

enum { JOB_KEY = B_NEXTHOP + B_ADDRESS + 24 };

struct job;
struct remoted;

struct session {
	struct remoted *remoted;
	struct policy *policy; /* a reference */
	struct list node;      /* remoted.sessions */
	struct list idle;      /* pool, by age, while there is no job */
	struct list same;      /* pool, of the same key */
	struct job *job;       /* NULL when idle or on the way out */
	struct stream stream;
	struct client client;
	struct client_settings settings;
	struct content_writer writer;
	bool writing, connected, reused;
	const struct tlsplan *plan; /* the job's; NULL once the job is gone */
	int64_t opened_ms, greeted_ms, mail_ms;
	char host[B_HOST + 1];
	char key[JOB_KEY];         /* of the destination and login, for the pool */
	char *login;               /* owned: user and password, for the settings; wiped */
	size_t login_n;
	char nonce[SCRAM_NONCE + 1];
	struct netaddr address;
	char peer[B_PEER + 1];     /* "host[address]:port" */
	char tls_text[B_PEER + 1]; /* protocol, cipher, verification; empty: plaintext */
	char failure[240];         /* why there was no connection */
};

/* What a session ended as, for its job. */
enum session_over {
	SESSION_DONE,        /* the message went its way: verdicts are in */
	SESSION_UNREACHABLE, /* no connection; failure says why */
	SESSION_ENDED,       /* client.end and client.why say how */
};

/* Connects for a job; plan lives as long as that; level is its own, or none where TLS has failed before.
 * NULL: *why; nothing was started. */
struct session *session_open(struct remoted *r, struct job *job, const struct destination_target *target, struct span key,
    const struct tlsplan *plan, enum tls_level level, bool lmtp, int64_t connect_ms, struct fail *why);
/* An idle session takes another job; which may be over when this returns. */
void session_reuse(struct session *s, struct job *job);
/* The job is given up: the peer is left as politely as its state allows.  What is
 * past the final dot runs on without a job. */
void session_abandon(struct session *s);
/* Says QUIT and goes. Only without a job. */
void session_quit(struct session *s);
/* Closes and frees at once; no word to anybody. */
void session_free(struct session *s);

#endif
