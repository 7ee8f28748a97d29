"""TLS for a connection to the intake. Imported only where the endpoint is https: it is a third of the sidecar's memory."""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Generator

from kubetune.sidecar.waiting import Patience, Wait

WANTS: dict[type[OSError], int] = {ssl.SSLWantReadError: select.POLLIN, ssl.SSLWantWriteError: select.POLLOUT}


def secure(plain: socket.socket, host: bytes, ca: str | None, patience: Patience) -> Generator[Wait, None, socket.socket]:
    """Shake hands; the certificate must be signed by `ca` (None: by one the system trusts) and name the host."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies certificate and host
    if ca is None:
        context.load_default_certs()
    elif ca.startswith("-----BEGIN"):
        context.load_verify_locations(cadata=ca)
    else:
        context.load_verify_locations(ca)
    secured = context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
    while True:
        try:
            secured.do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
            yield patience.after(error, secured, 0)
        except OSError:
            secured.close()  # the plain socket has been taken over
            raise
        else:
            return secured
