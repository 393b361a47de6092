/* SPDX-License-Identifier: ISC
 *
 * One field of a struct, for desc.c and desc_text.c.
 */
#ifndef DESC_DESC_PRIVATE_H
#define DESC_DESC_PRIVATE_H

#include "desc/desc.h"

struct desc_shape {
	const char *name, *meaning;
	size_t width; /* of a number; 0 for counted bytes */
};
extern const struct desc_shape desc_kinds[]; /* by enum desc_kind */

bool desc_counted(const struct desc_field *f);
uint64_t desc_number_at(const struct desc_field *f, const void *base);
void desc_set_number(const struct desc_field *f, void *base, uint64_t v);
struct span desc_span_at(const struct desc_field *f, const void *base);
bool desc_text_ok(const struct desc_field *f, struct span s);
bool desc_number_ok(const struct desc_field *f, uint64_t v);

#endif
