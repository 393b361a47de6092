/* SPDX-License-Identifier: ISC */
#include "base/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void
base64_encode(struct buf *out, struct span in)
{
	for (size_t i = 0; i < in.n; i += 3) {
		size_t left = in.n - i;
		uint32_t v = (uint32_t)(unsigned char)in.p[i] << 16;
		char quad[4];

		if (left > 1)
			v |= (uint32_t)(unsigned char)in.p[i + 1] << 8;
		if (left > 2)
			v |= (uint32_t)(unsigned char)in.p[i + 2];
		quad[0] = alphabet[v >> 18 & 63];
		quad[1] = alphabet[v >> 12 & 63];
		quad[2] = left > 1 ? alphabet[v >> 6 & 63] : '=';
		quad[3] = left > 2 ? alphabet[v & 63] : '=';
		buf_put(out, span_of(quad, 4));
	}
}

static int
value_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool
base64_decode(struct buf *out, struct span in)
{
	if (in.n % 4 != 0)
		return false;
	for (size_t i = 0; i < in.n; i += 4) {
		bool last = i + 4 == in.n;
		size_t pad = last ? (size_t)(in.p[i + 3] == '=') + (size_t)(in.p[i + 3] == '=' && in.p[i + 2] == '=') : 0;
		uint32_t v = 0;
		char triple[3];

		for (size_t k = 0; k < 4; k++) {
			int six = k < 4 - pad ? value_of(in.p[i + k]) : 0;

			if (six < 0)
				return false;
			v = v << 6 | (uint32_t)six;
		}
		if ((pad == 1 && (v & 0xff)) || (pad == 2 && (v & 0xffff)))
			return false;
		triple[0] = (char)(v >> 16 & 0xff);
		triple[1] = (char)(v >> 8 & 0xff);
		triple[2] = (char)(v & 0xff);
		buf_put(out, span_of(triple, 3 - pad));
	}
	return buf_ok(out);
}
