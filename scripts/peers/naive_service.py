"""The usual way to serve a network: FastAPI, an uploaded file, torch on that one image.

It finds ink as Penstroke does, so that both do the same job and give the same answer. /raw takes
the image as the whole body, which spares the form. Usage: naive_service.py RUN PORT
"""

from __future__ import annotations

import io
import sys

import torch
import uvicorn
from fastapi import FastAPI, Request, UploadFile
from PIL import Image

from penstroke.preprocessing.ink import preprocess
from penstroke.runs.run import find_run
from penstroke.runs.trained import load_network

run = find_run(sys.argv[1])
network = load_network(run)
classes = run.record.data.classes
temperature = run.summary().temperature
app = FastAPI()


def read(content: bytes) -> dict:
    preprocessed = preprocess(Image.open(io.BytesIO(content)))
    images = torch.from_numpy(preprocessed.pixels).reshape(1, 1, 28, 28).float() / 255
    with torch.no_grad():
        probabilities = torch.softmax(network(images) / temperature, dim=1)[0]
    best = int(probabilities.argmax())
    return {
        "label": classes[best],
        "probability": float(probabilities[best]),
        "probabilities": dict(zip(classes, probabilities.tolist(), strict=True)),
    }


@app.post("/recognize")
async def recognize(image: UploadFile) -> dict:
    return read(await image.read())


@app.post("/raw")
async def recognize_raw(request: Request) -> dict:
    return read(await request.body())


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), access_log=False)
