/* SPDX-License-Identifier: ISC
 *
 * reach: the rows of reach.def, for those that start programs.
 */
#ifndef DAEMONS_REACH_H
#define DAEMONS_REACH_H

#include <stddef.h>

#include "service/launch.h"

#define READ REACH_READ
#define WRITE REACH_WRITE
#define CONNECT REACH_CONNECT
#define BIND REACH_BIND
#define SETTING(name) { REACH_SETTING, offsetof(struct conf, name), "" }
#define BELOW(name, folder) { REACH_SETTING, offsetof(struct conf, name), "/" folder }
#define AT(path) { REACH_AT, 0, path }
#define NAMED { REACH_NAMED, 0, "" }
#define PORT(name) { REACH_PORT, offsetof(struct conf, name), "" }
#define ANY { REACH_AT, 0, "" }
static const struct launch_reach reach_rows[] = {
#define REACH(program, rights, what, job) { #program, rights, what },
#include "daemons/reach.def"
};
enum { REACH_ROWS = sizeof(reach_rows) / sizeof(reach_rows[0]) };
#undef READ
#undef WRITE
#undef CONNECT
#undef BIND
#undef SETTING
#undef BELOW
#undef AT
#undef NAMED
#undef PORT
#undef ANY

#endif
