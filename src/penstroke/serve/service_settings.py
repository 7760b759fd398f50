"""How the service is bound, and how much it takes on."""

from __future__ import annotations

import os
from ipaddress import ip_address
from typing import Annotated

from pydantic import Field

from penstroke.config.settings import Settings


class ServiceSettings(Settings):
    """Where the service listens, who may ask, and every bound it holds to."""

    host: str = Field("127.0.0.1", min_length=1, description="address or name it is bound to")
    port: int = Field(8000, ge=0, le=65535, description="0: any that is free")
    token: str | None = Field(
        None,
        min_length=8,
        pattern=r"^[!-~]+$",
        description="what every caller must show; none: no need to",
    )
    allow_hosts: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        (), description="further names that the service is reached by, as behind a proxy"
    )
    max_body_bytes: int = Field(1_000_000, ge=1, description="larger bodies are refused: 413")
    max_pixels: int = Field(4_000_000, ge=1, description="larger images are refused: 422")
    max_header_bytes: int = Field(32_768, ge=1024, description="more headers than that: 431")
    header_seconds: float = Field(10.0, gt=0, description="for a request's headers to come: 408")
    body_seconds: float = Field(10.0, gt=0, description="for its body to come: 408")
    answer_seconds: float = Field(60.0, gt=0, description="for the whole of a request: 503")
    idle_seconds: int = Field(30, ge=1, description="a connection is kept open between requests")
    max_connections: int = Field(1000, ge=1, description="open at once; beyond: 503")
    max_requests: int = Field(600, ge=1, description="under way at once; beyond: 503")
    queue_size: int = Field(256, ge=1, description="characters waiting to be read; beyond: 429")
    page_queue_size: int = Field(8, ge=1, description="pages and explanations waiting; beyond: 429")
    batch_size: int = Field(32, ge=1, description="characters read by the network at once, at most")
    batch_milliseconds: float = Field(
        10.0, ge=0, description="images are gathered into a batch for so long, at most"
    )
    readers: int = Field(
        default_factory=lambda: min(4, os.cpu_count() or 1), ge=1, description="processes that read"
    )
    grace_seconds: float = Field(
        1.0, ge=0, description="from not ready to no more connections, when told to stop"
    )
    linger_seconds: float = Field(
        1.0, ge=0, description="after that, for what is on its way in open connections"
    )

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)


def is_loopback(name: str) -> bool:
    """Return whether `name` is `localhost` or an address that never leaves this machine."""
    return name == "localhost" or (is_address(name) and ip_address(name).is_loopback)


def is_address(name: str) -> bool:
    """Return whether `name` is an IP address, as opposed to a name that somebody resolves."""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
