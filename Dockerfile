# Two images of the scoring service. No weights inside: mount a checkpoint folder at /models.
#
#   docker build --target cuda -t mmreward:cuda .        docker build --target cpu -t mmreward:cpu .
#   docker run --gpus all --shm-size 8g -p 8000:8000 \
#       -e MMREWARD_API_KEYS=a-long-secret -v /path/to/checkpoint:/models:ro mmreward:cuda
#
# The service listens on all addresses of its container and therefore refuses to start without
# MMREWARD_API_KEYS, unless MMREWARD_ALLOW_NO_KEYS=true says that something in front checks callers.

FROM vllm/vllm-openai:v0.32.0 AS cuda

WORKDIR /opt/mmreward-source
COPY pyproject.toml README.md LICENSE ./
COPY client client
COPY service service
COPY trainer trainer
# vLLM, torch and FastAPI are the image's own; pip leaves what already satisfies a requirement.
RUN python3 -m pip install --no-cache-dir --break-system-packages ".[service]"
RUN useradd --create-home --uid 10001 reward
USER reward
WORKDIR /home/reward
ENV MMREWARD_CHECKPOINT=/models \
    MMREWARD_HOST=0.0.0.0 \
    HF_HUB_OFFLINE=1 \
    VLLM_NO_USAGE_STATS=1
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=4 \
    CMD ["python3", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('MMREWARD_PORT', '8000') + '/health', timeout=3)"]
ENTRYPOINT ["mmreward-serve"]


FROM python:3.11-slim-bookworm AS cpu

# vLLM's CPU kernels load libnuma.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libnuma1 \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/mmreward-source
COPY pyproject.toml README.md LICENSE ./
COPY scripts scripts
COPY client client
COPY service service
COPY trainer trainer
ENV PIP_NO_CACHE_DIR=1
RUN python scripts/environment.py --flavour cpu --runtime --folder /opt/mmreward
RUN useradd --create-home --uid 10001 reward
USER reward
WORKDIR /home/reward
ENV PATH=/opt/mmreward/bin:$PATH \
    MMREWARD_CHECKPOINT=/models \
    MMREWARD_HOST=0.0.0.0 \
    HF_HUB_OFFLINE=1 \
    VLLM_NO_USAGE_STATS=1
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=4 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('MMREWARD_PORT', '8000') + '/health', timeout=3)"]
ENTRYPOINT ["mmreward-serve"]
