"""A reader: a process that is handed images in batches and says what they show.

Finding ink and running the network take the processor; in a process of their own they leave the
service free to answer, and an image that brought a decoder down would bring down only this.

It is started with the number of a socket, and ends when the other side closes it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from penstroke.config.settings import IMAGE_SIZE
from penstroke.inference.recognizer import Recognition, Recognizer
from penstroke.preprocessing.ink import Preprocessed
from penstroke.serve.messages import Question, packed, read_message
from penstroke.serve.occlusion import attention
from penstroke.serve.png import data_url
from penstroke.serve.responses import of_exception
from penstroke.serve.uploads import Body, preprocess_body, read_body_as_image

log = logging.getLogger("penstroke.serve")
_WARM_BATCHES = (1, 8)


@dataclass(eq=False)
class _Job:
    """One image of a batch: what is asked of it, and what has become of it."""

    index: int
    recognizer: Recognizer
    body: Body
    question: Question
    max_pixels: int
    preprocessed: Preprocessed | None = None
    answer: dict[str, Any] | Exception | None = None


def main() -> None:
    """Read what comes through the socket whose number is the first argument, until it closes."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # meant for the service, which closes the socket
    with (
        socket.socket(fileno=int(sys.argv[1])) as connection,
        connection.makefile("rb") as incoming,
        contextlib.suppress(BrokenPipeError, ConnectionResetError),
    ):
        models: dict[str, Recognizer] = {}
        while (message := read_message(incoming)) is not None:
            for reply in respond(models, message.head, message.parts):
                connection.sendall(reply)


def respond(
    models: dict[str, Recognizer], head: dict[str, Any], parts: Sequence[bytes]
) -> Iterator[bytes]:
    """Yield the replies to one message: `learn` and `forget` a model, or `read` images.

    A reply to `read` names the images that it answers, by their place in the message.
    """
    match head["do"]:
        case "learn":
            models[head["model"]] = single_threaded(parts[0])
            yield packed({})
        case "forget":
            models.pop(head["model"], None)
            yield packed({})
        case "read":
            asked = enumerate(zip(head["jobs"], parts, strict=True))
            jobs = [
                _Job(
                    place, models[model], Body(kind, part), Question(*question), head["max_pixels"]
                )
                for place, ((model, kind, *question), part) in asked
            ]
            for batch in _batches(jobs, head["batch_size"], head["batch_seconds"]):
                yield _reply(batch)


def single_threaded(content: bytes) -> Recognizer:
    """Return the recogniser in the bytes of a model.onnx, warm, with one thread a run.

    The readers are what runs in parallel; ONNX Runtime's own threads spin while they wait, and take
    the processor from the others.
    """
    recognizer = Recognizer.from_bytes(content, threads=1)
    for size in _WARM_BATCHES:
        recognizer.probabilities(np.zeros((size, IMAGE_SIZE, IMAGE_SIZE), np.uint8))
    return recognizer


def _batches(jobs: list[_Job], size: int, seconds: float) -> Iterator[list[_Job]]:
    """Yield the jobs, answered: as many at once as there are in `size` and time for in `seconds`.

    The time keeps a large image from holding up the answers to those before it.
    """
    batch: list[_Job] = []
    deadline = 0.0
    for job in jobs:
        if not batch:
            deadline = time.monotonic() + seconds
        batch.append(job)
        _prepare(job)
        if len(batch) == size or time.monotonic() >= deadline:
            yield _read(batch)
            batch = []
    if batch:
        yield _read(batch)


def _prepare(job: _Job) -> None:
    """Preprocess the image, or read the whole page: what needs no company."""
    try:
        if job.question.page:
            job.answer = _read_page(job)
        else:
            job.preprocessed = preprocess_body(job.body, job.recognizer.ink, job.max_pixels)
    except Exception as error:  # belongs to whoever sent the image, not to the batch
        job.answer = error


def _read(batch: list[_Job]) -> list[_Job]:
    """Run each network that is asked once, on all its images."""
    for recognizer in {id(job.recognizer): job.recognizer for job in batch}.values():
        asked = [
            job for job in batch if job.recognizer is recognizer and job.preprocessed is not None
        ]
        found = recognizer.recognize_preprocessed(
            [job.preprocessed for job in asked if job.preprocessed is not None]
        )
        for job, recognition in zip(asked, found, strict=True):
            job.answer = _character(job, recognition)
    return batch


def _character(job: _Job, found: Recognition) -> dict[str, Any]:
    top, looked = job.question.top, None
    if job.question.explain and found.status != "empty":
        looked = data_url(attention(job.recognizer, found.input_image))
    return {
        "status": found.status,
        "label": found.label,
        "probability": found.probability,
        "probabilities": dict(found.top(top)) if top else dict(found.probabilities),
        "input_image": data_url(found.input_image),
        "attention": looked,
    }


def _read_page(job: _Job) -> dict[str, Any]:
    from penstroke.inference.line_reader import read_page

    image = read_body_as_image(job.body, job.max_pixels)
    return read_page(job.recognizer, image).to_dict()


def _reply(batch: list[_Job]) -> bytes:
    heads: list[dict[str, Any]] = []
    parts: list[bytes] = []
    for job in batch:
        if isinstance(job.answer, dict):
            heads.append({"index": job.index})
            text = json.dumps(job.answer, ensure_ascii=False, allow_nan=False)
            parts.append(text.encode())
        else:
            heads.append({"index": job.index, "error": _error(job.answer)})
            parts.append(b"")
    return packed(heads, parts)


def _error(error: Exception | None) -> list[Any]:
    told = of_exception(error or RuntimeError("an image was not read"))
    if told.status == 500:
        log.error("an image could not be read", exc_info=error)
    return [told.status, told.code, str(told)]


if __name__ == "__main__":
    main()
