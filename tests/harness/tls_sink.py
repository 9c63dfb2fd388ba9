"""SMTP servers with STARTTLS, and certificates for them, made as the test runs."""
import contextlib
import datetime
import socket
import ssl
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from instance import LoopbackAddress

PORT = 2525
DAY = datetime.timedelta(days=1)


class Cert:
    """A certificate and its key; issuer None: it signs itself."""

    def __init__(self, name, issuer=None, is_ca=False, is_expired=False, is_rsa=False):
        self.key = rsa.generate_private_key(65537, 2048) if is_rsa else ec.generate_private_key(ec.SECP256R1())
        self.issuer = issuer
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "CA" if is_ca else "server")])
        now = datetime.datetime.utcnow()
        builder = x509.CertificateBuilder(
            issuer_name=issuer.cert.subject if issuer else subject, subject_name=subject, public_key=self.key.public_key(),
            serial_number=x509.random_serial_number(), not_valid_before=now - 3 * DAY,
            not_valid_after=now - DAY if is_expired else now + DAY,
        ).add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), True)
        if not is_ca:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
        self.cert = builder.sign((issuer or self).key, hashes.SHA256())

    def der(self):
        return self.cert.public_bytes(serialization.Encoding.DER)

    def spki(self):
        return self.key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)

    def pem(self):
        chain = self.cert.public_bytes(serialization.Encoding.PEM)
        return chain + (self.issuer.pem() if self.issuer else b"")

    def key_pem(self):
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())

    def context(self, directory):
        path = directory / ("%x.pem" % self.cert.serial_number)
        path.write_bytes(self.pem() + self.key_pem())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


class TlsSink:
    """Takes every message.  context None: without STARTTLS; contexts: those of names that a client may ask for.
    wrapped: TLS from the first byte.

    messages: (recipient, TLS version or None, SNI or None, was the TLS session resumed, number of the connection)."""

    def __init__(self, context=None, contexts=None, port=PORT, wrapped=False):
        self.address = LoopbackAddress()
        self.ip, self.context, self.contexts, self.wrapped = self.address.ip, context, contexts or {}, wrapped
        self.messages, self.connections, self.sni = [], 0, {}
        if context is not None:
            context.sni_callback = self.on_sni
        self.listener = socket.create_server((self.ip, port))
        threading.Thread(target=self.accept, daemon=True).start()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)  # accept, in its thread, would keep the port
        self.listener.close()
        self.address.release()

    def on_sni(self, sock, name, _):
        self.sni[sock] = name
        if name in self.contexts:
            sock.context = self.contexts[name]

    def accept(self):
        while True:
            try:
                c = self.listener.accept()[0]
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.serve, args=(c, self.connections), daemon=True).start()

    def serve(self, c, number):
        with contextlib.suppress(OSError, EOFError):
            if self.wrapped:
                c = self.context.wrap_socket(c, server_side=True)
            c.sendall(b"220 sink ESMTP\r\n")
            while self.converse(c, number):
                c = self.context.wrap_socket(c, server_side=True)
        c.close()

    def converse(self, c, number):
        """Until STARTTLS (True) or the end."""
        rcpts, lines = [], c.makefile("rb")
        tls = isinstance(c, ssl.SSLSocket)
        while line := lines.readline():
            verb, answer = line[:4].upper(), b"250 2.0.0 Ok\r\n"
            if verb == b"EHLO":
                answer = b"250-sink\r\n250 %s\r\n" % (b"STARTTLS" if self.context and not tls else b"HELP")
            elif verb == b"STAR":
                c.sendall(b"220 go on\r\n")
                return True
            elif verb == b"RCPT":
                rcpts.append(line[9:].split(b">")[0].decode())
            elif verb == b"DATA":
                c.sendall(b"354 go on\r\n")
                while lines.readline() not in (b".\r\n", b""):
                    pass
                for r in rcpts:
                    self.messages.append((r, c.version() if tls else None, self.sni.get(c),
                                          tls and c.session_reused, number))
                rcpts = []
            elif verb == b"QUIT":
                answer = b"221 2.0.0 Bye\r\n"
            c.sendall(answer)
        return False
