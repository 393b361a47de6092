/* SPDX-License-Identifier: ISC
 *
 * smtpd_script: smtpd's core with scripted siblings, for dialogs and the fuzzer.
 */
#ifndef DIALOG_SMTPD_SCRIPT_H
#define DIALOG_SMTPD_SCRIPT_H

#include "dialog.h"

extern const struct dialog_core smtpd_dialog;

#endif
