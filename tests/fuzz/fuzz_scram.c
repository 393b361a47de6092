/* SPDX-License-Identifier: ISC
 *
 * The messages of SCRAM without base64 around them, which a fuzzer hardly gets through: first byte
 * 0 client-first, 1 client-final, 2 the server's to our client, 3 stored keys.
 */
#include "net/scram.h"
#include "net/scram_server.h"
#include "table/scramkey.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
first(struct span text)
{
	struct scram_first f;
	struct fail why;
	struct buf names;

	buf_init(&names, 8192);
	if (buf_room(&names, 8192) && scram_parse_first(text, &names, &f, &why)) {
		if (f.header.n + f.bare.n != text.n || f.user.n == 0 || f.nonce.n == 0 || f.nonce.n > SCRAM_NONCE_MAX || f.bare.n > SCRAM_BARE_MAX)
			__builtin_trap();
		if ((f.binding.n > 0) != (text.p[0] == 'p') || span_chr(f.nonce, ',') != SIZE_MAX)
			__builtin_trap();
	}
	buf_free(&names);
}

static void
final(struct span text)
{
	struct scram_final f;
	struct fail why;

	if (scram_parse_final(text, &f, &why) && (!span_starts(text, f.without) || f.nonce.n == 0 || !span_starts(f.without, SPAN("c="))))
		__builtin_trap();
}

/* Iterations that cost nothing of what the fuzzer has to find. */
static bool
cheap(struct span text)
{
	size_t at = span_rchr(text, '=');

	return span_from(text, at == SIZE_MAX ? text.n : at).n <= 5;
}

static void
server(struct span text)
{
	struct scram_client c;
	struct fail why;
	struct buf out;
	struct span challenge = span_cut(&text, '\n');

	buf_init(&out, SCRAM_MESSAGE_MAX);
	if (scram_client_first(&c, SPAN("user"), SPAN("abc"), NULL, &out) && cheap(challenge) && scram_client_final(&c, SPAN("pencil"), challenge, &out, &why) &&
	    scram_client_verify(&c, text))
		__builtin_trap(); /* it has guessed a key */
	scram_client_end(&c);
	buf_free(&out);
}

static void
keys(struct span text)
{
	struct scramkey key, again;
	struct buf out;

	if (!scramkey_parse(text, &key))
		return;
	buf_init(&out, 2 * SCRAMKEY_TEXT_MAX);
	scramkey_put(&key, &out);
	if (!scramkey_parse(buf_span(&out), &again) || again.iterations != key.iterations || again.nsalt != key.nsalt)
		__builtin_trap();
	buf_free(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const kinds[])(struct span) = { first, final, server, keys };

	if (size)
		kinds[data[0] & 3](span_of(data + 1, size - 1));
	return 0;
}
