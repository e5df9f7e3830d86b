# dagferry-puller: run, once and relay. Built from the repository's top:
#   docker build -f deploy/images/puller.Dockerfile -t registry.example.org/dagferry/puller:0.1.0 .
# For production give the base by digest, as a tag moves: --build-arg BASE=debian:trixie-slim@sha256:…
ARG BASE=debian:trixie-slim

FROM ${BASE} AS build
# Debian's stable release is the pin of its packages: versions here would only keep security updates out.
# hadolint ignore=DL3008
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
  python3-venv binutils ca-certificates
WORKDIR /src
RUN python3 -m venv /pip && python3 -m venv --without-pip /opt/dagferry
COPY pyproject.toml .constraints.txt README.md LICENSE ./
COPY shared shared
COPY publisher publisher
COPY puller puller
# The constraints hold for what builds the wheel, too.
ENV PIP_CONSTRAINT=/src/.constraints.txt
RUN /pip/bin/pip --python /opt/dagferry/bin/python install --no-cache-dir --no-compile '.[puller,amqp]'
# What is not run here, debug symbols. Bytecode without times: nothing is written at run time, and nothing looked up.
RUN find /opt/dagferry/bin -type f ! -name dagferry-puller ! -name dagferry-check -delete \
  && rm -r /opt/dagferry/lib/python3*/site-packages/dagferry_publisher \
  && find /opt/dagferry/lib -name '*.so' -exec strip --strip-unneeded {} + \
  && /opt/dagferry/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/dagferry/lib

FROM ${BASE}
# hadolint ignore=DL3008
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
  python3 ca-certificates \
  && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/apt /var/log/dpkg.log
COPY --from=build /opt/dagferry /opt/dagferry
# No home: a read-only root has none. Group 0, as OpenShift gives another user and this group.
ENV PATH=/opt/dagferry/bin:/usr/local/bin:/usr/bin:/bin HOME=/nonexistent PYTHONDONTWRITEBYTECODE=1
USER 10001:0
ENTRYPOINT ["/opt/dagferry/bin/dagferry-puller"]
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="dagferry-puller" \
  org.opencontainers.image.description="Follows a signed channel of Airflow DAGs and swaps a link" \
  org.opencontainers.image.licenses="Apache-2.0" \
  org.opencontainers.image.version="${VERSION}" \
  org.opencontainers.image.revision="${REVISION}"
