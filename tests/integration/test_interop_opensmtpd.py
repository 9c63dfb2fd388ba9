"""Mail to and from Debian's OpenSMTPD."""
from interop import Interop
from peers import OpenSmtpd


class TestOpenSmtpd(Interop):
    Peer = OpenSmtpd
