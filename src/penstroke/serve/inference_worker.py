"""A worker process: receives images in batches and answers with what they show.

Preprocessing and inference take the processor; in a process of their own they leave the service
free to answer, and an image that crashes a decoder ends only this process. The first argument is
the number of a socket; the process ends when the other side closes it.
"""

import contextlib
import json
import logging
import signal
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from penstroke.config.settings import IMAGE_SIZE
from penstroke.errors import ConfigError, ImageTooComplexError, PenstrokeError
from penstroke.inference.character_lines import read_page
from penstroke.inference.constraints import AllOf, CheckDigit, Constraint, Format
from penstroke.inference.line_reader import LineReader, open_model
from penstroke.inference.readings import PageReading
from penstroke.inference.recognizer import Recognition, Recognizer
from penstroke.preprocessing.ink import Pixels, Preprocessed
from penstroke.serve.messages import Message, pack, read_message
from penstroke.serve.responses import api_error, data_url
from penstroke.serve.uploads import Options, Upload, preprocess_upload, upload_to_image

log = logging.getLogger("penstroke.serve")
TASK_SECONDS = 1.7
"""Processor time that an image or a page may take; the bounds mostly end it before."""
_MOST_SHAPES = 3600
"""Of a page that may be characters: a page of 600 digits has about as many; each takes 0.4 ms."""
_PIXELS_OF_A_SHAPE = 2500
"""A page's pixels take time too: this number as long as a shape."""


@dataclass(eq=False)
class _Task:
    number: int
    model: Recognizer | LineReader
    options: Options
    image: Preprocessed | None = None
    answer: dict[str, Any] | None = None
    error: tuple[int, str, str] | None = None


def main() -> None:
    """Answer what comes through the socket, until it closes."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # meant for the service, which closes the socket
    with (
        socket.socket(fileno=int(sys.argv[1])) as connection,
        connection.makefile("rb") as incoming,
        contextlib.suppress(BrokenPipeError, ConnectionResetError),
    ):
        models: dict[str, Recognizer | LineReader] = {}
        while (message := read_message(incoming)) is not None:
            for reply in respond(models, message):
                connection.sendall(reply)


def respond(models: dict[str, Recognizer | LineReader], message: Message) -> Iterator[bytes]:
    """Yield the replies to one message: load models and keep only some, or recognise images.

    Images are answered batch by batch, each with its number: as many together as fit in
    `batch_size` and are preprocessed within `batch_seconds`, so that a large image does not hold up
    the answers to those before it.
    """
    head, parts = message
    match head["do"]:
        case "load":
            new = zip(head["new"], head["thresholds"], parts, strict=True)
            for model, confidence_threshold, content in new:
                models[model] = load_single_threaded(content)
                models[model].set_threshold(confidence_threshold)
            for model in models.keys() - head["keep"]:
                del models[model]
            yield pack({"loaded": head["keep"]})
        case "recognize":
            batch: list[_Task] = []
            for (number, model, kind, options), part in zip(head["tasks"], parts, strict=True):
                if not batch:
                    deadline = time.monotonic() + head["batch_seconds"]
                batch.append(_Task(number, models[model], Options(*options)))
                _prepare(batch[-1], Upload(kind, part), head["max_pixels"])
                if len(batch) == head["batch_size"] or time.monotonic() >= deadline:
                    yield _answer(batch)
                    batch = []
            if batch:
                yield _answer(batch)


def load_single_threaded(content: bytes) -> Recognizer | LineReader:
    """Return the model in the bytes of a model.onnx, warm, with one thread.

    The workers run in parallel; ONNX Runtime's own threads spin while they wait, and would take the
    processor from the other workers.
    """
    model = open_model(content, threads=1)
    if isinstance(model, Recognizer):
        for size in (1, 8):
            model.probabilities(np.zeros((size, IMAGE_SIZE, IMAGE_SIZE), np.uint8))
    return model


def _prepare(task: _Task, upload: Upload, max_pixels: int) -> None:
    try:
        with time_limit(TASK_SECONDS):
            if task.options.page:
                page = upload_to_image(upload, max_pixels)
                task.answer = _read(task.model, page, task.options).to_dict()
            elif isinstance(task.model, Recognizer):
                task.image = preprocess_upload(upload, task.model.ink, max_pixels)
    except Exception as fault:  # of this image, not of the batch
        task.error = _reported(fault)


def _read(model: Recognizer | LineReader, page: Image.Image, options: Options) -> PageReading:
    constraints: list[Constraint] = []
    if options.format is not None:
        constraints.append(Format(options.format))
    if options.check_digit is not None:
        constraints.append(CheckDigit(options.check_digit))
    if isinstance(model, LineReader):
        read = model.read_line if options.one_line else model.read_page
        return read(page, AllOf(tuple(constraints)) if constraints else None, options.top or 1)
    if constraints or options.one_line:
        raise ConfigError(
            "model: it reads one character at a time: format, check_digit and one_line need a "
            "model that reads whole lines"
        )
    most = _MOST_SHAPES - page.width * page.height // _PIXELS_OF_A_SHAPE
    return read_page(model, page, max_shapes=most)


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise ImageTooComplexError in the block once it has taken `seconds` of processor time.

    A timer of the process interrupts it between two steps of Python. Without such timers, as on
    Windows, only the bounds on the work of an image hold.
    """

    def expire(*_: object) -> None:
        raise ImageTooComplexError(
            f"the image takes more than {seconds:g} s to read: send a smaller part of it"
        )

    if not hasattr(signal, "setitimer"):
        yield
        return
    signal.signal(signal.SIGPROF, expire)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _reported(fault: Exception) -> tuple[int, str, str]:
    """Return status, code and message of what the service answers; log what is our own fault."""
    error = api_error(fault)
    if error.status_code == 500:
        log.error("an image could not be recognised", exc_info=fault)
    return error.status_code, error.code, error.detail


def _answer(batch: list[_Task]) -> bytes:
    """Run each network once, on all its images of the batch; return the reply."""
    for recognizer in {task.model for task in batch if isinstance(task.model, Recognizer)}:
        ready = [(t, t.image) for t in batch if t.model is recognizer and t.image]
        try:
            recognitions = recognizer.recognize_preprocessed([image for _, image in ready])
            for (task, _), recognition in zip(ready, recognitions, strict=True):
                task.answer = _character(recognizer, task.options, recognition)
        except PenstrokeError as fault:  # an output that is not finite, for one of them
            error = _reported(fault)
            for task, _ in ready:
                task.answer, task.error = None, error
    contents = [json.dumps(task.answer, ensure_ascii=False).encode() for task in batch]
    return pack([[task.number, task.error] for task in batch], contents)


def _character(
    recognizer: Recognizer, options: Options, recognition: Recognition
) -> dict[str, Any]:
    answer = recognition.to_dict()
    if options.top:
        answer["probabilities"] = dict(recognition.top(options.top))
    answer["input_image"] = data_url(recognition.input_image)
    answer["occlusion_map"] = None
    if options.occlusion and recognition.status != "empty":
        answer["occlusion_map"] = data_url(occlusion_map(recognizer, recognition.input_image))
    return answer


def occlusion_map(recognizer: Recognizer, pixels: Pixels) -> Pixels:
    """Return (28, 28) uint8: bright where covering `pixels` (28, 28) costs the answer most.

    Zeiler, Fergus 2014, section 4.2: a patch of 5×5 around every second pixel is blanked, and all
    196 images are recognised in one batch. The greatest loss of probability becomes 255; all is 0
    where no patch changes the answer.
    """
    (whole,) = recognizer.probabilities(pixels[None])
    answer = int(whole.argmax())
    centers = np.arange(0, IMAGE_SIZE, 2)
    is_near = np.abs(np.arange(IMAGE_SIZE) - centers[:, None]) <= 2
    is_covered = is_near[:, None, :, None] & is_near[None, :, None, :]
    copies = np.where(is_covered, np.uint8(0), pixels).reshape(-1, IMAGE_SIZE, IMAGE_SIZE)
    covered = recognizer.probabilities(copies)[:, answer].reshape(len(centers), -1)
    loss = np.maximum(whole[answer] - covered, 0)
    if loss.max() < 1e-3:
        return np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    levels = Image.fromarray((255 * loss / loss.max()).astype(np.uint8))
    enlarged = levels.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR)
    return np.asarray(enlarged, np.uint8)


if __name__ == "__main__":
    main()
