"""A careful engineer's service: uvicorn with two workers, one Recognizer each.

Each worker process holds one Recognizer with one thread; the image is the request's body, and
decoding and inference run in the handler. Usage:
RUN=… uvicorn --app-dir scripts/peers --workers 2 recognizer_service:app
"""

import os
from dataclasses import asdict

import onnxruntime
from fastapi import FastAPI, Request, Response

from penstroke.inference.recognizer import Recognizer
from penstroke.runs.run import find_run

content = find_run(os.environ["RUN"]).model_path.read_bytes()
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
recognizer = Recognizer(session, Recognizer.from_bytes(content).metadata)
app = FastAPI()


@app.post("/v1/recognize")
async def recognize(request: Request) -> dict:
    answer = asdict(recognizer.recognize(await request.body()))
    del answer["seen"]
    return answer


@app.get("/healthz")
async def healthz() -> Response:
    return Response("ok")
