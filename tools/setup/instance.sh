#!/bin/sh
# SPDX-License-Identifier: ISC
#
# instance.sh DIR PORT_BASE ROOT: writes a self-contained instance into DIR:
# certificates, configuration, instance.env.  ROOT is where `make install DESTDIR=ROOT`
# put the programs.  What is there already is kept, passwords too.
# Environment: INSTANCE_ADDRESS (127.0.0.1), INSTANCE_DOMAIN (example.test).
# Options in DIR/etc/local.conf replace those made here.
set -eu
dir=$1 base=$2 root=$3
address=${INSTANCE_ADDRESS:-127.0.0.1} domain=${INSTANCE_DOMAIN:-example.test}
umask 022
mkdir -p "$dir/etc" "$dir/tls"

secret() { od -An -N 12 -tx1 /dev/urandom | tr -d ' \n'; }

if [ ! -s "$dir/tls/cert.pem" ]; then
	(
		cd "$dir/tls"
		umask 077
		openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=Pillarpost test authority" \
			-addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign" -keyout ca-key.pem -out ca.pem
		openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=mail.$domain" -keyout key.pem -out cert.csr
		printf 'subjectAltName=DNS:mail.%s,DNS:localhost,IP:127.0.0.1,IP:::1\nextendedKeyUsage=serverAuth\n' "$domain" >cert.ext
		openssl x509 -req -in cert.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 3650 -extfile cert.ext -out leaf.pem
		cat leaf.pem ca.pem >cert.pem
		chmod 644 ca.pem cert.pem leaf.pem
	) >"$dir/tls/openssl.log" 2>&1
fi

if [ ! -s "$dir/etc/aliases" ]; then
	cat >"$dir/etc/aliases" <<-EOT
	# name: address, address ...   (takes effect by itself when this file changes)
	postmaster: alice@$domain
	abuse: postmaster
	EOT
	cat >"$dir/etc/virtual" <<-EOT
	# address or @domain, then where it goes
	postmaster@$domain alice@$domain
	EOT
	: >"$dir/etc/transport"
fi

cat >"$dir/etc/pillarpost.conf" <<EOT
# An instance of its own: everything lives in $dir
myhostname = mail.$domain
queue_directory = $dir/queue
data_directory = $dir/data
run_directory = $dir/sock
maillog_file = $dir/log
daemon_directory = $root/usr/libexec/pillarpost
mydestination = mail.$domain, localhost
virtual_mailbox_domains = $domain
virtual_mailbox_base = $dir/mail
alias_maps = file:$dir/etc/aliases
virtual_alias_maps = file:$dir/etc/virtual
transport_maps = file:$dir/etc/transport
# As for a host on the Internet: nobody relays by address, only by login.
mynetworks =
smtpd_client_connection_count_limit = 10000
smtpd_tls_cert_file = $dir/tls/cert.pem
smtpd_tls_key_file = $dir/tls/key.pem
listener smtp { address = "$address:$((base + 25))"; }
listener submission { address = "$address:$((base + 587))"; }
listener submissions { address = "$address:$((base + 465))"; }
listener imap { address = "$address:$((base + 143))"; }
listener imaps { address = "$address:$((base + 993))"; }
listener pop3 { address = "$address:$((base + 110))"; }
listener pop3s { address = "$address:$((base + 995))"; }
listener lmtp { address = "$dir/sock/lmtp"; }
listener submit { address = "$dir/sock/submit"; }
EOT
if [ -f "$dir/etc/local.conf" ]; then # its options take the place of those above
	awk -F'[ =]' 'NR == FNR { own[$1] = 1; next } !($1 in own)' "$dir/etc/local.conf" "$dir/etc/pillarpost.conf" >"$dir/etc/merged.conf"
	cat "$dir/etc/merged.conf" "$dir/etc/local.conf" >"$dir/etc/pillarpost.conf"
	rm "$dir/etc/merged.conf"
fi

[ -s "$dir/instance.env" ] && . "$dir/instance.env"
alice=${ALICE_PASSWORD:-$(secret)}
bob=${BOB_PASSWORD:-$(secret)}
(
	umask 077
	cat >"$dir/instance.env" <<-EOT
	CONFIG=$dir/etc/pillarpost.conf
	DOMAIN=$domain
	HOST=$address
	SMTP_PORT=$((base + 25))
	SUBMISSION_PORT=$((base + 587))
	SUBMISSIONS_PORT=$((base + 465))
	POP3_PORT=$((base + 110))
	POP3S_PORT=$((base + 995))
	IMAP_PORT=$((base + 143))
	IMAPS_PORT=$((base + 993))
	LMTP_SOCKET=$dir/sock/lmtp
	CA_FILE=$dir/tls/ca.pem
	ALICE_PASSWORD=$alice
	BOB_PASSWORD=$bob
	LOG=$dir/log
	MAILCTL=$root/usr/sbin/mailctl
	EOT
)
