# The page of `falx app` in an image: docs/deployment.md says how to run it, and what stands before it.
FROM python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b AS build
WORKDIR /source
COPY deploy/build.txt deploy/
RUN python -m pip install --no-cache-dir --require-hashes --only-binary :all: --requirement deploy/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY models models
COPY runtime runtime
RUN python -m pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels .

FROM python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b
WORKDIR /wheels
COPY deploy/requirements.txt ./
RUN python -m pip install --no-cache-dir --require-hashes --only-binary :all: --requirement requirements.txt
COPY --from=build /wheels/ ./
# No package beyond those above: `pip check` fails where Falx asks for one that is not there.
RUN python -m pip install --no-cache-dir --no-index --no-deps ./*.whl && python -m pip check
# A number, so that Kubernetes sees that it is not root; without a home: nothing of it is written.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin falx
USER 10001:10001
WORKDIR /tmp
ENV HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# Proves the installation where it will run, before anything is served.
RUN falx check --no-latency
EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=4)"]
# Every address of the container: which of them is reached from outside, `--publish` or compose.yaml says.
ENTRYPOINT ["falx", "app", "--address", "0.0.0.0", "--port", "8501", "--no-browser"]
