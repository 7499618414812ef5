"""Ports for servers that are told which one to take."""

from __future__ import annotations

import contextlib
import random
import socket


def free_port() -> int:
    """Find a port that is free some moments later, too.

    One that the system finds may be given to anybody else meanwhile who asks for any, so this one
    is below all those (``net.ipv4.ip_local_port_range``).
    """
    while True:
        port = random.SystemRandom().randrange(10_000, 32_768)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
