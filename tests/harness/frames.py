"""The packets of common/ipc, for tests that play one side of an edge (common/ipc/frame.h)."""

import fcntl
import os
import pathlib
import socket
import struct

ROOT = pathlib.Path(__file__).resolve().parents[2]
REPLY = 0xFFFF


def roles():
    """Numbers of enum role, as the header has them."""
    text = (ROOT / "common/ipc/edges.h").read_text().split("enum role {")[1].split("}")[0]
    return {name.strip(): i for i, name in enumerate(text.split(","))}


def send(sock, kind, ident, *fields):
    """fields: (letter, value) with frame.h's letters."""
    body, fds = b"", []
    for letter, value in fields:
        body += letter.encode()
        if letter == "u":
            body += struct.pack("<I", value)
        elif letter == "q":
            body += struct.pack("<Q", value)
        elif letter == "s":
            text = value.encode()
            body += struct.pack("<I", len(text)) + text + b"\0"
        elif letter == "b":
            body += struct.pack("<I", len(value)) + value
        elif letter == "h":
            fds.append(value)
        else:
            raise ValueError(letter)
    socket.send_fds(sock, [struct.pack("<HHII", kind, 0, ident, len(body)) + body], fds)


def parse(packet, fds=()):
    """(type, request id, values); a descriptor comes as its number here."""
    kind, _, ident, length = struct.unpack("<HHII", packet[:12])
    body, fields, fds = packet[12:], [], list(fds)
    assert len(body) == length
    while body:
        letter, body = chr(body[0]), body[1:]
        if letter in "uq":
            size = 4 if letter == "u" else 8
            fields.append(int.from_bytes(body[:size], "little"))
            body = body[size:]
        elif letter in "sb":
            size = int.from_bytes(body[:4], "little")
            value, body = body[4 : 4 + size], body[4 + size :]
            fields.append(value if letter == "b" else value.decode())
            body = body[1:] if letter == "s" else body
        elif letter == "h":
            fields.append(fds.pop(0))
        else:
            raise ValueError(letter)
    return kind, ident, fields


def receive(sock):
    """The next packet, parsed; None at the end."""
    packet, fds, _, _ = socket.recv_fds(sock, 65536, 16)
    return parse(packet, fds) if packet else None


def sealed(data):
    fd = os.memfd_create("test", os.MFD_ALLOW_SEALING)
    os.write(fd, data)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, 15)
    return fd
