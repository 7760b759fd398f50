"""The listening socket: bound, and in the end left so that nobody who was let in is turned away."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import socket
import struct
import sys

from penstroke.errors import ConfigError
from penstroke.files import reason

BACKLOG = 2048
_SO_ATTACH_FILTER = 26
_DROP_EVERYTHING = struct.pack("HBBI", 0x06, 0, 0, 0)
"""A classic BPF program of one instruction: return 0, the length that is kept of a packet."""


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; ConfigError where the address is taken or not ours."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            if os.name == "posix":
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}, port {port}: {reason(error)}; choose another --port"
        ) from error
    listener.setblocking(False)
    return listener


def allow_files(count: int) -> None:
    """Raise the number of files this process may have open, as far as it is allowed to."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def take_rest(listener: socket.socket) -> list[socket.socket]:
    """Return the connections that wait to be accepted, and close `listener`.

    Closing resets whoever the kernel has let in and nobody has taken. So nobody more is let in
    first: a filter drops their packets, they knock again after a second, and find nobody there.
    """
    program = ctypes.create_string_buffer(_DROP_EVERYTHING)
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            argument = struct.pack("HP", 1, ctypes.addressof(program))
            listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, argument)
    waiting: list[socket.socket] = []
    with contextlib.suppress(OSError):  # at last: none is waiting
        while True:
            waiting.append(listener.accept()[0])
    listener.close()
    for connection in waiting:
        connection.setblocking(False)
    return waiting
