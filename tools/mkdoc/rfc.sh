#!/bin/sh
# SPDX-License-Identifier: ISC
#
# rfc.sh [TOP] >doc/rfc.md: which line of the code fulfils which section of
# which RFC, from marks of the form "RFC 5321 4.5.3.2.7" in comments and tables.
set -eu
cd "${1:-.}"
echo "# RFC support, from the marks in the code"
echo
echo "Made by \`tools/mkdoc/rfc.sh\`; do not edit. A mark is the text \`RFC NUMBER SECTION\` at the line that fulfils it; \`tests\` are dialogs and tests that cite it."
git ls-files 'common/*.[ch]' 'common/*.def' 'queue/*.[ch]' 'queue/*.def' 'daemons/*.[ch]' 'daemons/*.def' 'tools/*.[ch]' 'tests/*' |
	xargs grep -HnoE 'RFC [0-9]{3,5}(,? (section )?[0-9]+(\.[0-9]+)*)?' |
	awk -F: '
		{ ref = $3; sub(/^RFC /, "", ref); gsub(/,|section /, "", ref); split(ref, part, " "); rfc = part[1]; section = part[2] == "" ? "-" : part[2]
		  file = $1; test = file ~ /^tests\//; key = rfc SUBSEP section
		  rfcs[rfc] = 1; seen[key] = 1
		  if (test) { tests[key]++ } else if (!((key, file) in had)) { had[key, file] = 1; where[key] = where[key] (where[key] == "" ? "" : ", ") "`" file "`" } }
		END { for (key in seen) { split(key, p, SUBSEP); printf "%s\t%s\t%s\t%d\n", p[1], p[2], where[key], tests[key] } }' |
	sort -t "$(printf '\t')" -k1,1n -k2,2V |
	awk -F '\t' '$1 != last { printf "\n## RFC %s\n\n| section | where | tests |\n|---|---|---|\n", $1; last = $1 } { printf "| %s | %s | %s |\n", $2, $3, $4 ? $4 : "" }'
