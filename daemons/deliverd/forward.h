/* SPDX-License-Identifier: ISC
 *
 * forward: the forward file of the owner whose deliverd this is: where it is, and
 * whether it is his alone to write.  What it says: forwardlist.h.
 */
#ifndef DELIVERD_FORWARD_H
#define DELIVERD_FORWARD_H

#include "conf/conf.h"
#include "daemons/deliverd/forwardlist.h"
#include "daemons/deliverd/homes.h"

/* Of the paths of forward_path the first at which there is a file.  home: as in homes_use(); own: the recipient's address.
 * True without one, and with one that may not be used, which is said in the log: the list is as forwardlist_init() made it.
 * False: what the owner wants is not known now. */
bool forward_read(const struct homes *h, const struct conf *conf, struct span home, struct span own, struct forwardlist *list, struct fail *why);

#endif
