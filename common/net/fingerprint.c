/* SPDX-License-Identifier: ISC */
#include "net/fingerprint.h"

struct span
fingerprint_text(const uint8_t digest[FINGERPRINT], char text[FINGERPRINT_TEXT])
{
	static const char hex[] = "0123456789ABCDEF";

	for (size_t i = 0; i < FINGERPRINT; i++) {
		text[3 * i] = hex[digest[i] >> 4];
		text[3 * i + 1] = hex[digest[i] & 15];
		text[3 * i + 2] = ':';
	}
	text[FINGERPRINT_TEXT - 1] = '\0';
	return span_of(text, FINGERPRINT_TEXT - 1);
}
