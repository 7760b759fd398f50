"""Where the service listens, who may use it, and the bounds that it keeps to."""

import os
import re
from functools import lru_cache
from ipaddress import ip_address
from typing import Annotated

from pydantic import Field, field_validator

from penstroke.config.settings import Settings


class ServiceSettings(Settings):
    """Settings of `penstroke serve`."""

    host: str = Field("127.0.0.1", min_length=1, description="address or name to listen on")
    port: int = Field(8000, ge=0, le=65535, description="0: any free port")
    token: str | None = Field(
        None, min_length=8, pattern=r"^[!-~]+$", description="required of every caller, if set"
    )
    allow_hosts: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        (), description="further host names of the service, as behind a proxy"
    )
    allow_origins: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        (), description="web pages that may use the service, as https://example.org (CORS)"
    )
    max_body_bytes: int = Field(
        8_000_000, ge=1, description="larger bodies are refused: 413; JSON is at most 1 MB"
    )
    max_held_bytes: int = Field(
        16_000_000, ge=1, description="bodies of all requests in progress; more are refused: 503"
    )
    max_pixels: int = Field(25_000_000, ge=1, description="larger images are refused: 422")
    max_header_bytes: int = Field(32_768, ge=1024, description="longer headers are refused: 431")
    header_seconds: float = Field(10.0, gt=0, description="time for the headers to arrive: 408")
    body_seconds: float = Field(10.0, gt=0, description="time for the body to arrive: 408")
    answer_seconds: float = Field(60.0, gt=0, description="time for a whole request: 503")
    idle_seconds: int = Field(30, ge=1, description="time that an idle connection stays open")
    max_connections: int = Field(1000, ge=1, description="open connections; more are refused: 503")
    max_requests: int = Field(600, ge=1, description="requests in progress; more are refused: 503")
    queue_size: int = Field(256, ge=1, description="waiting characters; more are refused: 429")
    page_queue_size: int = Field(
        8, ge=1, description="waiting pages and occlusion maps; more are refused: 429"
    )
    batch_size: int = Field(32, ge=1, description="characters in one run of the network, at most")
    batch_milliseconds: float = Field(
        10.0, ge=0, description="time for the preprocessing of a batch, at most"
    )
    precision: float | None = Field(
        None, ge=0, le=1, description="least share of answers that are right, as it was shown"
    )
    confidence_threshold: float | None = Field(
        None, ge=0, le=1, description="least probability of an answer; each model's own if not set"
    )
    access_log: bool = Field(False, description="log each request: address, path, status, time")
    workers: int = Field(
        default_factory=lambda: min(4, os.cpu_count() or 1), ge=1, description="worker processes"
    )
    worker_seconds: float = Field(
        5.0, gt=0, description="silence of a worker at work, at most; then it is replaced: 503"
    )
    shutdown_grace: float = Field(
        1.0, ge=0, description="seconds from a signal until new connections are refused"
    )
    shutdown_linger: float = Field(
        1.0, ge=0, description="seconds after that for requests on open connections to arrive"
    )

    @field_validator("allow_origins")
    @classmethod
    def _check_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not re.fullmatch(r"https?://[a-z0-9.:\[\]-]+", origin):
                raise ValueError(
                    f'"{origin}" is not an origin: give scheme, host and port, as https://example.org'
                )
        return origins

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)


@lru_cache(maxsize=256)
def is_loopback(name: str) -> bool:
    """Return whether `name` is `localhost` or an address that never leaves this machine."""
    return name == "localhost" or (is_address(name) and ip_address(name).is_loopback)


@lru_cache(maxsize=256)
def is_address(name: str) -> bool:
    """Return whether `name` is an IP address, as opposed to a name that has to be resolved."""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
