"""A careful engineer's service: uvicorn with two workers, one Recognizer each.

Each worker process holds one Recognizer with one thread; the image is the request's body, and
decoding and inference run in the handler. Usage:
RUN=… uvicorn --app-dir scripts/peers --workers 2 recognizer_service:app
"""

import os

from fastapi import FastAPI, Request, Response

from penstroke.inference.recognizer import Recognizer
from penstroke.runs.run import find_run

content = find_run(os.environ["RUN"]).model_path.read_bytes()
recognizer = Recognizer.from_bytes(content, threads=1)
app = FastAPI()


@app.post("/v1/recognize")
async def recognize(request: Request) -> dict:
    return recognizer.recognize(await request.body()).to_dict()


@app.get("/healthz")
async def healthz() -> Response:
    return Response("ok")
