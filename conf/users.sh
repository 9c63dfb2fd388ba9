#!/bin/sh
# Makes the system users that the daemons run as; safe to run twice.
# usage: users.sh [--remove]
set -eu
roles="es-smtpd es-verify es-queue es-relay es-login es-auth es-key es-sign es-dns es-anvil es-dial es-fetch es-log es-status"
if [ "${1:-}" = --remove ]; then
	for u in $roles; do
		if getent passwd "$u" >/dev/null; then userdel "$u"; fi
	done
	exit 0
fi
for u in $roles vmail; do
	getent group "$u" >/dev/null || groupadd --system "$u"
	getent passwd "$u" >/dev/null ||
		useradd --system --gid "$u" --home-dir /nonexistent --no-create-home --shell /usr/sbin/nologin "$u"
done
