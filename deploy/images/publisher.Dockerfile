# dagctl, for CI jobs and operators, with git. Built from the repository's top:
#   docker build -f deploy/images/publisher.Dockerfile -t registry.example.org/dagferry/publisher:0.1.0 .
# For production give the base by digest, as a tag moves: --build-arg BASE=debian:trixie-slim@sha256:…
ARG BASE=debian:trixie-slim

FROM ${BASE} AS build
# Debian's stable release is the pin of its packages: versions here would only keep security updates out.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv ca-certificates
WORKDIR /src
RUN python3 -m venv /pip && python3 -m venv --without-pip /opt/dagferry
COPY pyproject.toml .constraints.txt README.md LICENSE ./
COPY shared shared
COPY publisher publisher
COPY puller puller
# The constraints hold for what builds the wheel, too. Bytecode without times: nothing is written at run time, nor looked for.
# The puller's package stays for dagferry-check; its command needs a library that is not here.
ENV PIP_CONSTRAINT=/src/.constraints.txt
RUN /pip/bin/pip --python /opt/dagferry/bin/python install --no-cache-dir --no-compile '.[publisher]' \
  && rm /opt/dagferry/bin/dagferry-puller \
  && /opt/dagferry/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/dagferry/lib

FROM ${BASE}
# The clone in a CI job belongs to another user, which git refuses. dagctl reads objects by their ids, and signs what it read.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends python3 git ca-certificates \
  && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/apt /var/log/dpkg.log \
  && git config --system safe.directory '*'
COPY --from=build /opt/dagferry /opt/dagferry
# No home: a read-only root has none. Group 0, as OpenShift gives another user and this group.
ENV PATH=/opt/dagferry/bin:/usr/local/bin:/usr/bin:/bin HOME=/nonexistent PYTHONDONTWRITEBYTECODE=1
USER 10001:0
ENTRYPOINT ["/opt/dagferry/bin/dagctl"]
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="dagferry-publisher" \
  org.opencontainers.image.description="Publishes signed versions of Airflow DAGs from git commits, and rolls them back" \
  org.opencontainers.image.licenses="Apache-2.0" \
  org.opencontainers.image.version="${VERSION}" \
  org.opencontainers.image.revision="${REVISION}"
