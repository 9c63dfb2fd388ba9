#!/bin/sh
# The instance that a benchmark rig measures, on a loopback address of its own.
# usage: subject.sh up | down | fresh | reset | env      (env prints the rig's target file)
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
dir=${SUBJECT_DIR:-/tmp/subject}
ip=${SUBJECT_IP:-127.0.0.21}
estafeta="$top/build/release/estafeta -c $dir/conf"
mail=$dir/mail/bench.test

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

case ${1:-} in
up)
	sh "$top/conf/users.sh"
	[ -e "$dir/conf/main.cf" ] || write_conf
	if [ ! -e "$dir/data/users.db" ]; then
		i=0
		while [ $i -lt 200 ]; do
			echo secret | $estafeta user add "u$i@bench.test"
			i=$((i + 1))
		done
	fi
	$estafeta start
	;;
down)
	$estafeta stop
	;;
fresh)
	$estafeta stop
	$estafeta start
	;;
reset) # empty the mailboxes of u0..u99 and u130..u189
	i=0
	while [ $i -lt 190 ]; do
		[ $i -ge 100 ] && [ $i -lt 130 ] || rm -rf "$mail/u$i/Maildir"
		i=$((i + 1))
	done
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
COUNT_CMD="find $mail -path '*/new/*' -type f | wc -l"
MAILDIR=$mail
PIDS_CMD="cat $dir/data/master.pid"
IMAP_PIDS_CMD="cat $dir/data/master.pid"
RESET_CMD="sh $top/tests/bench/subject.sh reset"
FILL_CMD="true"
COLD_CMD="find $mail/u190 -name 'estafeta.index' -prune -exec rm -rf {} +"
FRESH_CMD="sh $top/tests/bench/subject.sh fresh"
EOF
	;;
*)
	echo "usage: subject.sh up | down | fresh | reset | env" >&2
	exit 64
	;;
esac
