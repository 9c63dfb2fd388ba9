"""Mail to and from Debian's Postfix."""
from instance import wait_until
from interop import Interop, message
from peers import Postfix


class TestPostfix(Interop):
    Peer = Postfix

    def test_postfix_reuses_its_connection(self, pair):
        idents = []
        for _ in range(6):
            ident, content = message("bob@b.test", b"one of six\r\n")
            idents.append(ident)
            pair.back(["alice@a.test"], content)
        for ident in idents:
            pair.arrived(pair.here, "alice", ident)
        wait_until(lambda: ", conn_use=" in pair.there.log_text(), what="a connection used again")
