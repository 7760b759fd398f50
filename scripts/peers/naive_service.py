"""The usual way to serve a network: FastAPI, and torch on the one image of the request.

It preprocesses as Penstroke does, so that both do the same work and give the same answer. Usage:
RUN=… uvicorn --app-dir scripts/peers naive_service:app
"""

from __future__ import annotations

import io
import os

import torch
from fastapi import FastAPI, Request, Response
from PIL import Image

from penstroke.preprocessing.ink import preprocess
from penstroke.runs.run import find_run
from penstroke.runs.trained import load_network

run = find_run(os.environ["RUN"])
network = load_network(run)
classes = run.record.data.classes
temperature = run.summary().temperature
app = FastAPI()


@app.post("/recognize")
async def recognize(request: Request) -> dict:
    pixels = preprocess(Image.open(io.BytesIO(await request.body()))).pixels
    images = torch.from_numpy(pixels).reshape(1, 1, 28, 28).float() / 255
    with torch.no_grad():
        probabilities = torch.softmax(network(images) / temperature, dim=1)[0]
    best = int(probabilities.argmax())
    return {
        "label": classes[best],
        "probability": float(probabilities[best]),
        "probabilities": dict(zip(classes, probabilities.tolist(), strict=True)),
    }


@app.get("/healthz")
async def healthz() -> Response:
    return Response("ok")
