# Everything that `make setup` installs, with torch for the CPU:
#   docker build -t steer-env . && docker run --rm steer-env make demo
FROM python:3.11-slim-bookworm

SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends make git \
 && rm -rf /var/lib/apt/lists/*

WORKDIR /steer_env
# What the lock names, before the sources: a change of a source file leaves this layer as it is.
COPY Makefile pyproject.toml constraints.txt README.md LICENSE ./
COPY steer_env/__init__.py steer_env/
# The lock has one version of torch; where it comes from decides whether it needs CUDA.
ENV PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu \
    PIP_NO_CACHE_DIR=1
RUN make setup

COPY . .
ENV PATH="/steer_env/.venv/bin:${PATH}"
CMD ["python", "-m", "experiments.evaluate", "--help"]
