"""Another system: an SMTP server in a process of its own, so that its replies stand in a record, too.

usage: sink.py ADDRESS FILE: prints its port; FILE gets the id of each message it has taken, before the reply is sent.
Recipients bad* are refused; later* are refused for now, the first time; all others are taken.
"""
import re
import socketserver
import sys
import threading


class Session(socketserver.StreamRequestHandler):
    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")

    def recipient(self, address):
        if address.startswith("bad"):
            return "550 5.1.1 User unknown"
        if address.startswith("later"):
            with self.server.lock:
                if address not in self.server.seen:
                    self.server.seen.add(address)
                    return "451 4.3.0 Try again later"
        self.taken += 1
        return "250 2.1.5 Ok"

    def message(self):
        lines = []
        for line in self.rfile:
            if line == b".\r\n":
                break
            lines.append(line)
        else:
            return None
        ident = re.search(rb"^ID: (\S+)", b"".join(lines), re.M).group(1).decode()
        with self.server.lock, open(self.server.record, "a") as f:
            f.write(ident + "\n")
        return "250 2.0.0 Ok: queued as sink." + ident

    def handle(self):
        self.taken = 0
        self.say("220 sink.test ESMTP")
        for line in self.rfile:
            verb, _, rest = line.decode().strip().partition(" ")
            verb = verb.upper()
            if verb == "EHLO":
                self.say("250 sink.test")
            elif verb == "MAIL":
                self.taken = 0
                self.say("250 2.1.0 Ok")
            elif verb == "RCPT":
                self.say(self.recipient(re.search(r"<(.*?)>", rest).group(1)))
            elif verb == "DATA" and self.taken == 0:
                self.say("554 5.5.1 No valid recipients")
            elif verb == "DATA":
                self.say("354 Go on")
                reply = self.message()
                if reply is None:
                    return
                self.say(reply)
            elif verb == "QUIT":
                self.say("221 2.0.0 Bye")
                return
            else:
                self.say("250 2.0.0 Ok")


class Server(socketserver.ThreadingTCPServer):
    daemon_threads, allow_reuse_address = True, True
    request_queue_size = 100

    def handle_error(self, request, client_address):
        pass  # the client was killed


def main(address, record):
    with Server((address, 0), Session) as server:
        server.lock, server.seen, server.record = threading.Lock(), set(), record
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
