"""Recognises images with a running `penstroke serve`; needs the package requests.

    PENSTROKE_TOKEN=… python client.py http://127.0.0.1:8000 IMAGE…

One image is one request, several are one batch. The token is needed where the service has one.
"""

import os
import sys
import time
from pathlib import Path

import requests

KINDS = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}


class ServiceError(Exception):
    """What the service answered instead: `code` for programs, a message for people."""

    def __init__(self, status, error):
        super().__init__(f"{status} {error['code']}: {error['message']}")
        self.code = error["code"]


class Client:
    """A connection to a service."""

    def __init__(self, url, token=None):
        self.url = url.rstrip("/")
        self.session = requests.Session()
        if token:
            self.session.headers["Authorization"] = f"Bearer {token}"

    def recognize(self, path):
        """Return the answer to one image: label, probability, status and more."""
        path = Path(path)
        kind = KINDS[path.suffix.lower()]
        return self._post("/v1/recognize", data=path.read_bytes(), headers={"Content-Type": kind})

    def recognize_batch(self, paths):
        """Return the answers to up to 64 images, in order; one may be {"error": …} instead."""
        files = [("image", (Path(path).name, Path(path).read_bytes())) for path in paths]
        return self._post("/v1/recognize/batch", files=files)["results"]

    def _post(self, route, tries=5, **body):
        """Send a request, again where the service is busy (429, 503), as it says."""
        for number in range(1, tries + 1):
            answer = self.session.post(self.url + route, timeout=90, **body)
            if answer.status_code not in (429, 503) or number == tries:
                break
            time.sleep(float(answer.headers.get("Retry-After", 1)))
        if not answer.ok:
            raise ServiceError(answer.status_code, answer.json()["error"])
        return answer.json()


def main(url, paths):
    """Print the answer to each image; return the exit code."""
    client = Client(url, os.environ.get("PENSTROKE_TOKEN"))
    try:
        one = len(paths) == 1
        answers = [client.recognize(paths[0])] if one else client.recognize_batch(paths)
    except ServiceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for path, answer in zip(paths, answers, strict=True):
        if "error" in answer:
            print(f"{path}: {answer['error']['message']}")
        else:
            print(f"{path}: {answer['label'] or answer['status']} {answer['probability']:.4f}")
    return int(any("error" in answer for answer in answers))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
