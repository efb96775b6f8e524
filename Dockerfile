# syntax=docker/dockerfile:1
# The operator's image: a virtual environment and the two renderers built apart, then nothing but Python and these.
FROM docker.io/library/golang:1.26-bookworm AS renderers
WORKDIR /src
ENV CGO_ENABLED=0 GOFLAGS=-buildvcs=false
COPY hack/cluster/kustomize hack/cluster/kustomize
COPY hack/cluster/helm hack/cluster/helm
# The same pinned modules and flags as hack/cluster/binaries.py: what tests and delivery render with.
RUN --mount=type=secret,id=ca,target=/run/ca.crt \
    if [ -s /run/ca.crt ]; then export SSL_CERT_FILE=/run/ca.crt; fi; \
    cd /src/hack/cluster/kustomize && go build -trimpath -ldflags "-s -w" -o /out/kustomize sigs.k8s.io/kustomize/kustomize/v5 \
    && cd /src/hack/cluster/helm && go build -trimpath -ldflags "-s -w" -o /out/helm helm.sh/helm/v3/cmd/helm

FROM docker.io/library/python:3.11-slim-bookworm AS build
WORKDIR /src
RUN python3 -m venv /venv
COPY constraints.txt pyproject.toml README.md ./
COPY operator/selfheal/__init__.py operator/selfheal/__init__.py
# Dependencies first, so that a change of our own code does not install them again. A CA bundle may be handed in
# as a secret for networks that need one; it leaves nothing behind in the image.
RUN --mount=type=secret,id=ca,target=/run/ca.crt \
    if [ -s /run/ca.crt ]; then export PIP_CERT=/run/ca.crt; fi; \
    /venv/bin/pip install --no-cache-dir --no-compile --disable-pip-version-check -c constraints.txt . "setuptools>=80"
COPY operator operator
RUN /venv/bin/pip install --no-cache-dir --no-compile --disable-pip-version-check --no-deps --no-build-isolation --force-reinstall . \
    && /venv/bin/pip uninstall --yes --quiet setuptools pip \
    && find /venv -type d \( -name tests -o -name test -o -name __pycache__ \) -prune -exec rm -rf {} +

FROM docker.io/library/python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="selfheal-operator" \
      org.opencontainers.image.description="Takes an incident from ticket to cause, pull request, delivery, proof and closure" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=renderers /out/kustomize /out/helm /usr/local/bin/
COPY --from=build /venv /venv
# kopf asks who runs it; a name in the environment answers without a passwd line for the numeric user.
ENV PATH=/venv/bin:$PATH HOME=/tmp LOGNAME=selfheal PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
ENTRYPOINT ["/venv/bin/selfheal"]
CMD ["operator"]
