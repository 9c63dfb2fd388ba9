"""A front that is in other hands gets nobody's mailbox: the tickets of DESIGN 3 through real processes.

The test holds a running front still and speaks in its place, over its own connections to authd and master:
exactly what a taken-over front could do.
"""
import ctypes
import imaplib
import os
import poplib
import pwd
import signal
import socket

import pytest

from frames import REPLY, receive, send

MASTER_FD, MASTER_HANDOVER, SASL_START, LOGIN_HELLO = 3, 22, 1, 1
HAS_TLS, HAS_INITIAL, WANT_TICKET = 1, 2, 4
STEP_DONE, STEP_FAILED = 1, 2
PIDFD_OPEN, PIDFD_GETFD = 434, 438
libc = ctypes.CDLL(None, use_errno=True)


def descriptor_of(pid, number):
    """A socket of another process, as our own."""
    pidfd = libc.syscall(PIDFD_OPEN, pid, 0)
    assert pidfd >= 0, os.strerror(ctypes.get_errno())
    fd = libc.syscall(PIDFD_GETFD, pidfd, number, 0)
    os.close(pidfd)
    assert fd >= 0, os.strerror(ctypes.get_errno())
    return socket.socket(fileno=fd)


def edge_to_authd(pid):
    for entry in os.listdir("/proc/%d/fd" % pid):
        if not os.readlink("/proc/%d/fd/%s" % (pid, entry)).startswith("socket:"):
            continue
        sock = descriptor_of(pid, int(entry))
        if sock.family == socket.AF_UNIX and sock.type & socket.SOCK_SEQPACKET == socket.SOCK_SEQPACKET:
            try:
                if "/.authd.new" in str(sock.getpeername()):  # the name it was bound under
                    return sock
            except OSError:
                pass
        sock.close()
    return None


class Front:
    """A stopped front, and what can be said in its name."""

    def __init__(self, mail, program):
        self.edge, self.number = None, 1 << 20
        for _, self.pid in mail.processes(program):
            self.edge = edge_to_authd(self.pid)
            if self.edge is not None:
                break
        assert self.edge is not None, "no %s has asked authd yet" % program
        os.kill(self.pid, signal.SIGSTOP)
        self.master = descriptor_of(self.pid, MASTER_FD)
        for sock in (self.edge, self.master):
            sock.settimeout(20)

    def go_on(self):
        self.edge.shutdown(socket.SHUT_RDWR)  # the front's own numbers are lower than ours: it begins anew
        os.kill(self.pid, signal.SIGCONT)
        self.edge.close()
        self.master.close()

    def ask(self, service, user, edge=None):
        self.number += 1
        edge = edge or self.edge
        send(edge, SASL_START, self.number, ("u", self.number), ("s", service), ("s", "PLAIN"),
             ("u", HAS_TLS | HAS_INITIAL | WANT_TICKET), ("s", "127.0.0.1"), ("s", "127.0.0.1"), ("s", "mail"),
             ("b", b"\0" + user.encode() + b"\0secret"))
        return edge

    def ticket(self, service, user, edge=None):
        """(front's session number, ticket) of a login that is right."""
        edge = self.ask(service, user, edge)
        kind, ident, fields = receive(edge)
        assert (kind, ident) == (REPLY, self.number)
        state, _, account, ticket, reason = fields
        assert state == STEP_DONE and account == user and len(ticket) == 16, reason
        return self.number, ticket

    def hand_over(self, service, number, ticket):
        """What a client of this ticket is told: its first line, or b"" when there is no session."""
        control, control_far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        stream, stream_far = socket.socketpair()
        send(self.master, MASTER_HANDOVER, number + 500000, ("s", service), ("b", ticket), ("u", number),
             ("h", control_far.fileno()), ("h", stream_far.fileno()))
        control_far.close()
        stream_far.close()
        kind, ident, (status, _) = receive(self.master)
        assert (kind, ident) == (REPLY, number + 500000)
        with control, stream:
            stream.settimeout(20)
            if status == 0:
                send(control, LOGIN_HELLO, 0, ("s", "A1" if service == "imap" else ""), ("s", "127.0.0.1"),
                     ("s", "127.0.0.1"), ("s", "test"), ("u", 1), ("u", 2), ("u", HAS_TLS), ("s", ""))
            line = stream.recv(4096)
            assert (status == 0) == (line != b""), (status, line)
            return line


@pytest.fixture
def front(mail):
    """imapd-login, after a login of its own."""
    with imaplib.IMAP4_SSL(mail.ip, mail.port("imaps"), ssl_context=mail.tls()) as imap:
        imap.login("bob@example.test", "secret")
    f = Front(mail, "imapd-login")
    yield f
    f.go_on()
    with imaplib.IMAP4_SSL(mail.ip, mail.port("imaps"), ssl_context=mail.tls()) as imap:
        imap.login("bob@example.test", "secret")  # the others live on


def test_a_right_ticket_opens_its_mailbox_once(front):
    number, ticket = front.ticket("imap", "bob@example.test")
    assert front.hand_over("imap", number, ticket).startswith(b"A1 OK ")
    assert front.hand_over("imap", number, ticket) == b"", "replayed"


def test_a_forged_ticket_opens_nothing(front):
    number, ticket = front.ticket("imap", "bob@example.test")
    forged = bytes([ticket[0] ^ 1]) + ticket[1:]
    assert front.hand_over("imap", number, forged) == b""
    assert front.hand_over("imap", number, os.urandom(16)) == b""
    assert front.hand_over("imap", number, ticket).startswith(b"A1 OK "), "a guess does not harm the right one"


def test_a_ticket_of_another_client_is_void_for_both(front):
    number, ticket = front.ticket("imap", "alice@example.test")
    assert front.hand_over("imap", number + 1000, ticket) == b""
    assert front.hand_over("imap", number, ticket) == b"", "shown with a wrong binding it is gone"


def test_a_ticket_of_another_service_opens_nothing(mail, front):
    pop = poplib.POP3_SSL(mail.ip, mail.port("pop3s"), context=mail.tls())
    pop.user("bob@example.test")
    pop.pass_("secret")
    pop.quit()
    other = Front(mail, "pop3d-login")
    try:
        number, ticket = other.ticket("pop3", "bob@example.test")
        assert front.hand_over("imap", number, ticket) == b""
        assert other.hand_over("pop3", number, ticket) == b"", "shown with a wrong binding it is gone"
        number, ticket = other.ticket("pop3", "bob@example.test")
        assert other.hand_over("pop3", number, ticket).startswith(b"+OK ")
        # and it gets none for a service that is not its own
        other.ask("imap", "bob@example.test")
        assert receive(other.edge)[2][0] == STEP_FAILED
    finally:
        other.go_on()


def test_a_ticket_of_another_process_opens_nothing(mail, front):
    """Same uid, same edge, another process: the kernel says who connected."""
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = os.fork()
    if child == 0:
        mine.close()
        os.chdir(mail.dir / "data/edges/imapd-login")
        os.setgroups([])
        os.setgid(pwd.getpwnam("es-login").pw_gid)
        os.setuid(pwd.getpwnam("es-login").pw_uid)
        edge = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        edge.connect("authd")
        socket.send_fds(theirs, [b"edge"], [edge.fileno()])
        theirs.recv(1)
        os._exit(0)
    theirs.close()
    _, fds, _, _ = socket.recv_fds(mine, 10, 1)
    with socket.socket(fileno=fds[0]) as edge:
        edge.settimeout(20)
        number, ticket = front.ticket("imap", "bob@example.test", edge)
        assert front.hand_over("imap", number, ticket) == b""
    mine.close()
    os.waitpid(child, 0)


def test_a_front_that_hands_over_for_another_service_is_ended(make_instance):
    mail = make_instance()
    mail.add_users("bob@example.test")
    mail.start()
    with imaplib.IMAP4_SSL(mail.ip, mail.port("imaps"), ssl_context=mail.tls()) as imap:
        imap.login("bob@example.test", "secret")
    front = Front(mail, "imapd-login")
    number, ticket = front.ticket("imap", "bob@example.test")
    pair = socket.socketpair()
    send(front.master, MASTER_HANDOVER, 1, ("s", "pop3"), ("b", ticket), ("u", number), ("h", pair[0].fileno()),
         ("h", pair[1].fileno()))
    assert receive(front.master) is None  # ended by master
    for sock in (front.edge, front.master, *pair):
        sock.close()
    mail.wait_log("hand-over out of place from pid %d" % front.pid)
