/* SPDX-License-Identifier: ISC */
#include <string.h>

#include "ipc/messages.h"

/* the fields of each message */
#define CHANNEL(ch, client, server, doc)
#define MESSAGE(ch, msg, dir, fds, from, next, doc) static const struct desc_field ch##_##msg##_fields[] = {
#define FIELD(ch, msg, kind, name, bound, doc) { #name, DESC_##kind, bound, offsetof(struct ipc_##ch##_##msg, name), doc },
#define END(ch, msg) };
#define END_CHANNEL(ch)
#include "ipc/all.def"
#undef CHANNEL
#undef MESSAGE
#undef FIELD
#undef END
#undef END_CHANNEL

/* the messages of each channel */
#define CHANNEL(ch, client, server, doc) static const struct ipc_message ch##_messages[] = {
#define MESSAGE(ch, msg, dir, fds, from, next, doc)                                                                      \
	{ { #ch "_" #msg, ch##_##msg##_fields, sizeof(ch##_##msg##_fields) / sizeof(ch##_##msg##_fields[0]),             \
	      sizeof(struct ipc_##ch##_##msg), doc }, dir, fds, from, next },
#define FIELD(ch, msg, kind, name, bound, doc)
#define END(ch, msg)
#define END_CHANNEL(ch) };
#include "ipc/all.def"
#undef CHANNEL
#undef MESSAGE
#undef END_CHANNEL

#define CHANNEL(ch, client, server, doc) \
	const struct ipc_channel ipc_channel_##ch = { #ch, client, server, doc, ch##_messages, sizeof(ch##_messages) / sizeof(ch##_messages[0]) };
#define MESSAGE(ch, msg, dir, fds, from, next, doc)
#define END_CHANNEL(ch)
#include "ipc/all.def"
#undef CHANNEL

#define CHANNEL(ch, client, server, doc) &ipc_channel_##ch,
const struct ipc_channel *const ipc_channels[] = {
#include "ipc/all.def"
	NULL
};
#undef CHANNEL
#undef MESSAGE
#undef FIELD
#undef END
#undef END_CHANNEL

const struct ipc_channel *
ipc_channel_named(struct span name)
{
	for (const struct ipc_channel *const *ch = ipc_channels; *ch; ch++)
		if (span_eq(name, span_str((*ch)->name)))
			return *ch;
	return NULL;
}

uint64_t
ipc_build_hash(void)
{
	uint64_t h = 0;

	for (const struct ipc_channel *const *ch = ipc_channels; *ch; ch++)
		for (size_t i = 0; i < (*ch)->nmessages; i++)
			h = desc_hash(&(*ch)->messages[i].desc, h);
	return h;
}
