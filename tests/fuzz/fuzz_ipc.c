/* SPDX-License-Identifier: ISC
 *
 * Packets from a hostile sibling, on every channel and both sides: whatever
 * decodes must encode back to the same bytes, and print.
 * Input: channel, side, then the packet.
 */
#include <stdlib.h>

#include "ipc/frame.h"
#include "ipc/messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(const struct ipc_message *msg, const union frame_message *m, struct span body)
{
	struct buf out, text;

	buf_init(&out, IPC_PACKET_MAX * 2);
	buf_init(&text, IPC_PACKET_MAX * 16);
	if (!desc_encode(&msg->desc, m, &out) || !span_eq(buf_span(&out), body))
		abort();
	desc_text(&msg->desc, m, &text);
	desc_json(&msg->desc, m, &text);
	if (!buf_ok(&text))
		abort();
	buf_free(&out);
	buf_free(&text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct ipc_channel *type;
	enum channel_side side;
	struct cursor packet;
	size_t channels = 0;
	struct frame f;

	while (ipc_channels[channels])
		channels++;
	if (size < 2)
		return 0;
	type = ipc_channels[data[0] % channels];
	side = data[1] & 1 ? CHANNEL_CLIENT : CHANNEL_SERVER;
	packet = cursor_of(span_of(data + 2, size - 2));
	while (!cursor_end(&packet) && frame_take(&packet, &f)) {
		const struct ipc_message *msg;
		union frame_message m;
		struct fail why;

		(void)frame_check_hello(&f, &why);
		msg = frame_decode(type, side, &f, &m, &why);
		if (msg)
			check(msg, &m, f.body);
	}
	return 0;
}
