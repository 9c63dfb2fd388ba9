#!/bin/sh
# The instance that a benchmark rig measures, on a loopback address of its own.
# usage: subject.sh up | down | fresh | fill | reset | cold | env      (env prints the rig's target file)
# fill needs MAILLOAD, the rig's load generator: u190 gets 20,000 messages, u100..u109 1,000, u110..u129 200.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
dir=${SUBJECT_DIR:-/tmp/subject}
ip=${SUBJECT_IP:-127.0.0.21}
estafeta="$top/build/release/estafeta -c $dir/conf"
mail=$dir/mail/bench.test
big=$dir/mail/big # homes of u100 and up, so that counting what was delivered walks the small ones only

write_conf() {
	mkdir -p "$dir/conf"
	cat >"$dir/conf/main.cf" <<EOF
myhostname = mail.bench.test
mydestination =
mynetworks = 127.0.0.0/8
virtual_mailbox_domains = bench.test
virtual_mailbox_base = $dir/mail
user_database = btree:\$data_directory/users
queue_directory = $dir/queue
data_directory = $dir/data
log_file = $dir/log
tls_cert_file = \$config_directory/cert.pem
tls_key_file = \$config_directory/key.pem
relayhost = [$ip]:21026
smtp_tls_security_level = none
smtpd_client_connection_count_limit = 0
smtpd_peername_lookup = no
disable_plaintext_auth = no
mail_max_userip_connections = 0
password_scheme = sha512-crypt
password_cost = 1000
EOF
	cat >"$dir/conf/master.cf" <<EOF
$ip:21025 inet n - y - 2 smtpd
$ip:21143 inet n - y - 2 imapd-login
$ip:21993 inet n - y - 2 imapd-login -o tls_wrappermode=yes
$ip:21110 inet n - y - 2 pop3d-login
$ip:21995 inet n - y - 2 pop3d-login -o tls_wrappermode=yes
imapd unix y - y - - imapd
pop3d unix y - y - - pop3d
authd unix y - y - - authd
qmgr unix y - y - 1 qmgr
relay unix y - y - 2 relay
delivery unix y - y - - delivery
keyd unix y - y - 1 keyd
dnsd unix y - y - 1 dnsd
log unix y - y - 1 log
EOF
	openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -days 30 -subj /CN=mail.bench.test \
		-keyout "$dir/conf/key.pem" -out "$dir/conf/cert.pem" 2>/dev/null
}

# u0..u199 with the cheapest verifier, c0..c199 with sha512-crypt of 5,000 rounds: as the peers of the rig.
add_users() {
	mkdir -p "$dir/conf-sha512" "$big"
	chown vmail: "$big"
	sed 's/^password_cost = .*/password_cost = 5000/; s/\$config_directory/..\/conf/' "$dir/conf/main.cf" \
		>"$dir/conf-sha512/main.cf"
	i=0
	while [ $i -lt 200 ]; do
		home=
		[ $i -lt 100 ] || home="-d $big/u$i"
		echo secret | $estafeta user add $home "u$i@bench.test"
		echo secret | "$top/build/release/estafeta" -c "$dir/conf-sha512" user add "c$i@bench.test"
		i=$((i + 1))
	done
}

box() { # user messages first-message size-option...
	maildir=$big/u$1/Maildir count=$2 first=$3
	shift 3
	[ "$(find "$maildir/cur" "$maildir/new" -type f 2>/dev/null | wc -l)" = "$count" ] && return
	rm -rf "$maildir"
	"$MAILLOAD" mk-maildir --dir "$maildir" --msgs "$count" --seq0 "$first" --uid "$(id -u vmail)" "$@" >/dev/null
}

case ${1:-} in
up)
	sh "$top/conf/users.sh"
	[ -e "$dir/conf/main.cf" ] || write_conf
	[ -e "$dir/data/users.db" ] || add_users
	$estafeta start
	;;
down)
	$estafeta stop
	;;
fresh)
	$estafeta stop
	$estafeta start
	;;
fill)
	box 190 20000 0 --size-mix
	i=100
	while [ $i -lt 130 ]; do
		box $i $([ $i -lt 110 ] && echo 1000 || echo 200) $((i * 1000)) --size 4096
		i=$((i + 1))
	done
	;;
reset) # empty the mailboxes of u0..u99 and u130..u189
	i=0
	while [ $i -lt 190 ]; do
		[ $i -ge 130 ] && rm -rf "$big/u$i/Maildir"
		[ $i -lt 100 ] && rm -rf "$mail/u$i/Maildir"
		i=$((i + 1))
	done
	;;
cold) # what can be rebuilt of u190's index and cache
	rm -rf "$big/u190/Maildir/estafeta.index" "$big/u190/estafeta.index"
	;;
env)
	cat <<EOF
NAME=subject
HOST=$ip
SMTP_PORT=21025
DOMAIN=bench.test
RELAY_DOMAIN=relay.test
SINK=$ip:21026
IMAP_PORT=21143
IMAPS_PORT=21993
POP3_PORT=21110
POP3S_PORT=21995
MAILDIR=$mail
PIDS_CMD="cat $dir/data/master.pid"
IMAP_PIDS_CMD="cat $dir/data/master.pid"
RESET_CMD="sh $top/tests/bench/subject.sh reset"
FILL_CMD="MAILLOAD=\${MAILLOAD:-/tmp/bench/mailload} sh $top/tests/bench/subject.sh fill"
COLD_CMD="sh $top/tests/bench/subject.sh cold"
FRESH_CMD="sh $top/tests/bench/subject.sh fresh"
EOF
	;;
*)
	echo "usage: subject.sh up | down | fresh | fill | reset | cold | env" >&2
	exit 64
	;;
esac
