# Two images from one file: `api` (API, coordinator, migrations, reports; no torch) and `worker` (with torch).
#   docker build --target api -t tangent-api .
#   docker build --target worker -t tangent-worker .
FROM node:24-slim AS dashboard
WORKDIR /dashboard
COPY service/dashboard/package.json service/dashboard/package-lock.json service/dashboard/build.mjs ./
COPY service/dashboard/static static
RUN npm ci --ignore-scripts --no-audit --no-fund && node build.mjs

FROM python:3.12-slim AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN useradd --create-home --uid 10001 tangent
WORKDIR /app
COPY requirements.txt pyproject.toml README.md ./
COPY service service
COPY --from=dashboard /dashboard/dist service/dashboard/dist
COPY workers workers
COPY migrations migrations

FROM base AS api
RUN pip install -c requirements.txt .
USER tangent
EXPOSE 8417
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8417/healthz', timeout=2)"]
CMD ["python", "-m", "service.api"]

FROM base AS worker
# cpu, or cu130 and the like: the part of PyTorch's index to take the build from.
ARG TORCH_BUILD=cpu
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
RUN pip install --index-url https://download.pytorch.org/whl/${TORCH_BUILD} torch==2.13.0
COPY adamp adamp
RUN pip install -c requirements.txt ./adamp '.[worker]' \
    && install -d -o tangent -g tangent /checkpoints
USER tangent
CMD ["python", "-m", "workers", "--queues", "cpu"]
