/* SPDX-License-Identifier: ISC
 *
 * control: the control sockets of a daemon.  Who connects to one is given a channel of its type.
 */
#ifndef SERVICE_CONTROL_H
#define SERVICE_CONTROL_H

#include "service/service.h"

/* Accepts from fd, which is taken, as one more of the list; what fails is told in the log. */
void control_open(struct list *controls, struct service *s, const struct service_channel *sc, int fd);
void control_close(struct list *controls); /* all; the list is empty then */

#endif
