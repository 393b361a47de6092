/* SPDX-License-Identifier: ISC
 *
 * scram_script: what authd would say within SCRAM, always the same: the example of RFC 7677 3,
 * user "user" with the password "pencil". Others are asked the same and are never right.
 */
#ifndef SCRAM_SCRIPT_H
#define SCRAM_SCRIPT_H

#include "base/buf.h"

struct scram_script {
	char challenge[600], message[6000]; /* server-first-message; AuthMessage so far */
	uint8_t signature[32];
	bool known;
};

void scram_script_begin(struct scram_script *s, struct span user, struct span bare, struct span nonce);
/* Whether the proof is right; then signature is there. */
bool scram_script_prove(struct scram_script *s, struct span without_proof, struct span proof);
/* As struct sasl_offer's: tls-exporter is thirty-two times "E". */
bool scram_script_binding(void *arg, struct span type, struct buf *out);

#endif
