/* SPDX-License-Identifier: ISC */
#include "table/password.h"

#include "base/saslprep.h"

#include <argon2.h>
#include <crypt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
	ARGON2_PASSES = 2, /* with 19 MiB what OWASP asks for at least */
	ARGON2_MOST_KIB = 4 * 1024 * 1024,
	ARGON2_MOST_PASSES = 64,
	SALT = 16,
	HASH = 32,
};

static const struct span crypts[] = { SPAN_INIT("$y$"), SPAN_INIT("$gy$"), SPAN_INIT("$7$"), SPAN_INIT("$6$"), SPAN_INIT("$5$"), SPAN_INIT("$2b$"),
	SPAN_INIT("$2y$") };

static bool
hash_argon2id(struct span password, uint32_t memory_kib, struct buf *out, struct fail *why)
{
	uint8_t salt[SALT];
	char encoded[PASSWORD_HASH_MAX];
	int rc;

	if (getrandom(salt, sizeof(salt), 0) != (ssize_t)sizeof(salt))
		return fail_errno(why, 0, "random bytes for a salt");
	rc = argon2id_hash_encoded(ARGON2_PASSES, memory_kib, 1, password.p, password.n, salt, sizeof(salt), HASH, encoded, sizeof(encoded));
	if (rc != ARGON2_OK)
		return fail_set(why, FAIL_TEMP, 0, "argon2id: %s", argon2_error_message(rc));
	buf_puts(out, encoded);
	explicit_bzero(encoded, sizeof(encoded));
	return true;
}

/* crypt(3) with its large state on the heap; the result goes to out. */
static bool
run_crypt(struct span password, const char *setting, char out[CRYPT_OUTPUT_SIZE])
{
	struct crypt_data *data = calloc(1, sizeof(*data));
	char phrase[PASSWORD_MAX + 1];
	const char *result = NULL;

	if (data && span_cstr(password, phrase, sizeof(phrase)))
		result = crypt_rn(phrase, setting, data, (int)sizeof(*data));
	if (result)
		(void)span_cstr(span_str(result), out, CRYPT_OUTPUT_SIZE);
	explicit_bzero(phrase, sizeof(phrase));
	if (data)
		explicit_bzero(data, sizeof(*data));
	free(data);
	return result != NULL;
}

static bool
hash_yescrypt(struct span password, struct buf *out, struct fail *why)
{
	char setting[CRYPT_GENSALT_OUTPUT_SIZE];
	char result[CRYPT_OUTPUT_SIZE];

	if (!crypt_gensalt_rn("$y$", 0, NULL, 0, setting, (int)sizeof(setting)) || !run_crypt(password, setting, result))
		return fail_errno(why, 0, "yescrypt");
	buf_puts(out, result);
	explicit_bzero(result, sizeof(result));
	return true;
}

bool
password_hash(struct span password, const struct password_cost *cost, struct buf *out, struct fail *why)
{
	struct buf room;
	bool ok;

	if (password.n == 0 || password.n > PASSWORD_MAX || span_chr(password, '\0') != SIZE_MAX)
		return fail_set(why, FAIL_PERM, 0, "the password is empty, longer than %d bytes or has a NUL", PASSWORD_MAX);
	buf_init(&room, PASSWORD_MAX);
	password = saslprep_or_given(password, &room);
	ok = cost->kind == PASSWORD_YESCRYPT ? hash_yescrypt(password, out, why) : hash_argon2id(password, cost->memory_kib, out, why);
	buf_wipe(&room);
	return ok;
}

static bool
is_argon2id(struct span stored)
{
	return span_starts(stored, SPAN("$argon2id$"));
}

bool
password_known(struct span stored)
{
	for (size_t i = 0; i < sizeof(crypts) / sizeof(crypts[0]); i++)
		if (span_starts(stored, crypts[i]))
			return true;
	return is_argon2id(stored);
}

/* The number behind name in "...,m=19456,t=2,..."; a stored string may come
 * from elsewhere, and must not be able to ask for all the memory there is. */
static bool
parameter_at_most(struct span stored, struct span name, uint64_t most)
{
	size_t at = span_find(stored, name), n = 0;
	struct span number = span_from(stored, at == SIZE_MAX ? stored.n : at + name.n);
	uint64_t value;

	while (n < number.n && ascii_digit(number.p[n]))
		n++;
	return span_u64(span_sub(number, 0, n), most, &value);
}

static bool
equal(struct span a, struct span b)
{
	unsigned char differ = 0;

	if (a.n != b.n)
		return false;
	for (size_t i = 0; i < a.n; i++)
		differ |= (unsigned char)(a.p[i] ^ b.p[i]);
	return differ == 0;
}

static bool
check(struct span password, struct span stored)
{
	char text[PASSWORD_HASH_MAX + 1], result[CRYPT_OUTPUT_SIZE];
	bool ok = false;

	if (password.n == 0 || password.n > PASSWORD_MAX || !password_known(stored) || !span_cstr(stored, text, sizeof(text)))
		return false;
	if (is_argon2id(stored)) {
		ok = parameter_at_most(stored, SPAN("m="), ARGON2_MOST_KIB) && parameter_at_most(stored, SPAN("t="), ARGON2_MOST_PASSES) &&
		     argon2id_verify(text, password.p, password.n) == ARGON2_OK;
	} else if (run_crypt(password, text, result)) {
		ok = equal(span_str(result), stored);
		explicit_bzero(result, sizeof(result));
	}
	explicit_bzero(text, sizeof(text));
	return ok;
}

/* What was stored before passwords were prepared is of the form that was given. */
bool
password_check(struct span password, struct span stored)
{
	struct buf room;
	struct span prepared;
	bool ok;

	buf_init(&room, PASSWORD_MAX);
	prepared = password.n <= PASSWORD_MAX ? saslprep_or_given(password, &room) : password;
	ok = check(prepared, stored) || (!span_eq(prepared, password) && check(password, stored));
	buf_wipe(&room);
	return ok;
}
