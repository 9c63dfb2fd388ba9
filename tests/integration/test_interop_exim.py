"""Mail to and from Debian's Exim."""
import re

from instance import wait_until
from interop import Interop, message
from peers import Exim


class TestExim(Interop):
    Peer = Exim

    def test_bdat(self, pair):
        """RFC 3030: Exim sends by BDAT where it is offered."""
        ident, content = message("bob@b.test", b"in chunks\r\n")
        pair.back(["alice@a.test"], content)
        pair.arrived(pair.here, "alice", ident)
        wait_until(lambda: re.search(r"=> alice@a\.test .* K C=\"250", pair.there.log_text()), what="BDAT in Exim's log")
