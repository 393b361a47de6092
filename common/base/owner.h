/* SPDX-License-Identifier: ISC
 *
 * OWNER_OF: from a pointer to an embedded member (list node, map node, watch,
 * timer) back to the struct that owns it.
 */
#ifndef BASE_OWNER_H
#define BASE_OWNER_H

#include <stddef.h>

#define OWNER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

#endif
