# The recognition service: docker build -t penstroke . && docker run -p 8000:8000 penstroke
# A model of your own: docker run -p 8000:8000 -v ./model.onnx:/models/model.onnx:ro penstroke /models/model.onnx
FROM python:3.13-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN python -m venv /opt/penstroke && /opt/penstroke/bin/pip install --no-cache-dir .

FROM python:3.13-slim
COPY --from=build /opt/penstroke /opt/penstroke
RUN useradd --system --create-home --uid 10001 penstroke
USER penstroke
WORKDIR /home/penstroke
ENV PATH=/opt/penstroke/bin:$PATH PYTHONUNBUFFERED=1
EXPOSE 8000
# Set PENSTROKE_TOKEN, or take the token that is printed; name the hosts it is reached by: --allow-host example.org
HEALTHCHECK --interval=30s --timeout=3s --start-period=20s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["penstroke", "serve", "--host", "0.0.0.0", "--port", "8000"]
