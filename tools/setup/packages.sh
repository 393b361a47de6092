# SPDX-License-Identifier: ISC
# What Debian 12 must have; sourced by quickstart and check.
# shellcheck shell=sh

BUILD_PACKAGES="gcc make libc6-dev autoconf automake pkg-config libevent-dev libdb5.3-dev libcap-dev libseccomp-dev
	libunbound-dev nettle-dev libcurl4-openssl-dev libpcre2-dev libidn2-dev libidn-dev libargon2-dev libjansson-dev libssl-dev libcrypt-dev zlib1g-dev"
DEMO_PACKAGES="openssl curl ca-certificates dns-root-data"
TEST_PACKAGES="clang llvm libclang-rt-14-dev libcmocka-dev python3 iproute2 procps swaks libnet-ssleay-perl msmtp isync gsasl
	libsasl2-modules knot fetchmail offlineimap3 getmail6 mutt opendkim rspamd clamav-milter clamav-daemon postgrey"
ANALYZE_PACKAGES="cppcheck clang-tidy"

# missing_packages NAME...: those that are not installed, on one line
missing_packages() {
	for name in "$@"; do
		dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null | grep -qx installed || printf '%s ' "$name"
	done
}

# need_packages NAME...: installs what is missing as root; names it otherwise
need_packages() {
	missing=$(missing_packages "$@")
	[ -n "$missing" ] || return 0
	if [ "$(id -u)" != 0 ]; then
		echo "These packages are missing; install them as root with:" >&2
		echo "  apt-get install -y --no-install-recommends $missing" >&2
		return 1
	fi
	echo "Installing: $missing"
	# shellcheck disable=SC2086
	if ! { DEBIAN_FRONTEND=noninteractive apt-get update -q &&
		DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing; } >"${TMPDIR:-/tmp}/pillarpost-apt.$$" 2>&1; then
		cat "${TMPDIR:-/tmp}/pillarpost-apt.$$" >&2
		return 1
	fi
	rm -f "${TMPDIR:-/tmp}/pillarpost-apt.$$"
}

# need_users: the system users of the suite (root only)
need_users() {
	for user in mail suited userd keyd dnsd stsd authd routed queued remoted locald smtpd imapd pop3d verifyd tokend; do
		getent passwd "pp-$user" >/dev/null ||
			useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "pp-$user"
	done
}
