#!/bin/sh
# Installs what the suite needs on Debian 12: build (default), or build and test.
# usage: install-deps.sh [build|test]
set -eu
build="gcc make libc6-dev libevent-dev libssl-dev libdb5.3-dev libsasl2-dev libsasl2-modules libunbound-dev
	liblmdb-dev libcdb-dev libpcre2-dev libseccomp-dev libcrypt-dev libidn2-dev libidn-dev libjansson-dev libcurl4-openssl-dev zlib1g-dev dns-root-data ca-certificates openssl
	python3 passwd"
test="libcmocka-dev python3 python3-pytest python3-pytest-xdist python3-dnspython python3-cryptography nsd ldnsutils swaks libnet-ssleay-perl curl msmtp
	isync fetchmail postgrey strace e2fsprogs xfsprogs iproute2 procps gdb clang libclang-rt-14-dev valgrind rspamd opendkim opendkim-tools
	clamav-daemon clamav-milter libicu72 libnsl2 libgnutls-dane0 libidn12 libpam0g zlib1g pflogsumm"
# mail servers that mail is exchanged with; no two can be installed at once, so they are unpacked only
peers="postfix exim4-daemon-light opensmtpd"
unpacked="$(dirname "$0")/../build/peers"
want="$build"
[ "${1:-build}" = test ] && want="$build $test"
missing=""
for p in $want; do
	dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null | grep -qx installed || missing="$missing $p"
done
[ "${1:-build}" = test ] || peers=""
for p in $peers; do
	[ -d "$unpacked/$p" ] || absent="${absent:-} $p"
done
[ -z "$missing${absent:-}" ] && exit 0
export DEBIAN_FRONTEND=noninteractive
# services that a test package brings must not start: the tests run their own on loopback
policy=/usr/sbin/policy-rc.d
made=""
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod +x "$policy"
	made=1
fi
trap '[ -z "$made" ] || rm -f "$policy"' EXIT
apt-get -qq update
# shellcheck disable=SC2086
[ -z "$missing" ] || apt-get -qq install -y --no-install-recommends $missing
for p in ${absent:-}; do
	rm -rf "$unpacked/$p.new"
	mkdir -p "$unpacked/$p.new"
	(cd "$unpacked/$p.new" && apt-get -qq -o APT::Sandbox::User=root download "$p" && dpkg-deb -x "$p"_*.deb .)
	mv "$unpacked/$p.new" "$unpacked/$p"
done
