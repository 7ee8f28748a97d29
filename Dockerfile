# kubetune's images: `--target operator`, `runtime` (the sidecar of each trial's pod) and `examples` (no part of the product).
# Docker builds them with BuildKit or without, and buildah does. Each runs as a user without a name, on a read-only root.
ARG PYTHON_IMAGE=python:3.13-slim

# --- what all of them stand on: Python, its own library compiled, as nothing is written once it runs; no program that makes root ---
FROM ${PYTHON_IMAGE} AS base
ENV PYTHONUNBUFFERED=1
RUN find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
 && python -m compileall -q --invalidation-mode unchecked-hash -x '/(ensurepip|idlelib|pydoc_data|site-packages|tkinter)/' \
      "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"

# --- the operator's dependencies ---
FROM base AS dependencies
COPY requirements/operator.txt /requirements.txt
RUN pip install --no-cache-dir --no-compile --no-deps --require-hashes --only-binary :all: --target /opt/kubetune -r /requirements.txt \
 && python -m compileall -q --invalidation-mode unchecked-hash /opt/kubetune

# --- our own code ---
FROM base AS code
COPY operator/kubetune_operator /code/kubetune_operator
COPY trial-runtime/kubetune /code/kubetune
RUN python -m compileall -q --invalidation-mode unchecked-hash /code

# --- the launcher, by the compiler that requirements/launcher.txt pins; for this image's architecture alone ---
# Where the builder names no TARGETARCH, as Docker without BuildKit, it is the machine's own.
# The compiler keeps every file of the C library open: buildah, which allows 1024 files, needs --ulimit nofile=4096:4096.
FROM ${PYTHON_IMAGE} AS launcher
ARG TARGETARCH
COPY requirements/launcher.txt /src/requirements/
COPY trial-runtime/launcher /src/trial-runtime/launcher
RUN python /src/trial-runtime/launcher/build.py /built --arch "${TARGETARCH:-$(uname -m)}" \
 && cp /built/*/kubetune-launch /kubetune-launch

FROM base AS operator
LABEL org.opencontainers.image.title="kubetune operator" org.opencontainers.image.licenses="Apache-2.0"
COPY --from=dependencies /opt/kubetune /opt/kubetune
COPY --from=code /code /opt/kubetune
ENV PYTHONPATH=/opt/kubetune
USER 65532:65532
EXPOSE 8443 8081
ENTRYPOINT ["python", "-m", "kubetune_operator"]

FROM base AS runtime
LABEL org.opencontainers.image.title="kubetune runtime" org.opencontainers.image.licenses="Apache-2.0"
COPY --from=launcher /kubetune-launch /opt/kubetune/launcher/kubetune-launch
COPY --from=code /code/kubetune /opt/kubetune/kubetune
USER 65533:65533
ENTRYPOINT ["/usr/local/bin/python", "-I", "-S", "/opt/kubetune/kubetune/sidecar/__main__.py"]

FROM base AS examples
LABEL org.opencontainers.image.title="kubetune examples" org.opencontainers.image.licenses="Apache-2.0"
COPY requirements/examples.txt /requirements.txt
RUN pip install --no-cache-dir --no-deps --require-hashes --only-binary :all: -r /requirements.txt
COPY examples /examples
WORKDIR /examples
USER 65532:65532
CMD ["python", "digits.py"]
