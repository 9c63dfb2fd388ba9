"""A TCP server of the test's own on a free port of loopback, each connection in a thread."""
import contextlib
import socketserver
import threading


@contextlib.contextmanager
def serving(handler, **attributes):
    """The server, with these attributes for its handlers."""
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    vars(server).update(attributes)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
