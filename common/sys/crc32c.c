/* SPDX-License-Identifier: ISC */
#include "sys/crc32c.h"

#include <string.h>


/* Half-bytes at a time: 64 bytes of table that no thread has to build. */
static const uint32_t nibbles[16] = {
	0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
	0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
};

uint32_t
crc32c_portable(uint32_t crc, struct span s)
{
	crc = ~crc;
	for (size_t i = 0; i < s.n; i++) {
		crc ^= (unsigned char)s.p[i];
		crc = crc >> 4 ^ nibbles[crc & 15];
		crc = crc >> 4 ^ nibbles[crc & 15];
	}
	return ~crc;
}

#if defined(__x86_64__)

#include <nmmintrin.h>

__attribute__((target("sse4.2"))) static uint32_t
crc32c_sse42(uint32_t crc, struct span s)
{
	const char *p = s.p;
	uint64_t state = ~crc, word;

	for (; s.n >= 8; s.n -= 8, p += 8) {
		memcpy(&word, p, 8);
		state = _mm_crc32_u64(state, word);
	}
	crc = (uint32_t)state;
	for (; s.n; s.n--, p++)
		crc = _mm_crc32_u8(crc, (unsigned char)*p);
	return ~crc;
}

uint32_t
crc32c(uint32_t crc, struct span s)
{
	return __builtin_cpu_supports("sse4.2") ? crc32c_sse42(crc, s) : crc32c_portable(crc, s);
}

#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)

#include <arm_acle.h>

uint32_t
crc32c(uint32_t crc, struct span s)
{
	const char *p = s.p;
	uint64_t word;

	crc = ~crc;
	for (; s.n >= 8; s.n -= 8, p += 8) {
		memcpy(&word, p, 8);
		crc = __crc32cd(crc, word);
	}
	for (; s.n; s.n--, p++)
		crc = __crc32cb(crc, (unsigned char)*p);
	return ~crc;
}

#else

uint32_t
crc32c(uint32_t crc, struct span s)
{
	return crc32c_portable(crc, s);
}

#endif
