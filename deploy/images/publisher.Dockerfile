# dagctl, for CI jobs and operators, with git. Built from the repository's top:
#   docker build -f deploy/images/publisher.Dockerfile -t registry.example.org/dagferry/publisher:0.1.0 .
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
RUN /pip/bin/pip --python /opt/dagferry/bin/python install --no-cache-dir --no-compile '.[publisher]'
# The puller's package stays for dagferry-check; its own command needs a library that is not here. Of AWS's services S3 and
# SNS (RGW's topics) are asked, and those that give credentials.
RUN find /opt/dagferry/bin -type f ! -name dagctl ! -name dagferry-check -delete \
  && find /opt/dagferry/lib/python3*/site-packages/botocore/data -mindepth 1 -maxdepth 1 -type d \
    ! -name s3 ! -name sns ! -name sts ! -name 'sso*' ! -name signin -exec rm -r {} + \
  && find /opt/dagferry/lib -name '*.so' -exec strip --strip-unneeded {} + \
  && /opt/dagferry/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/dagferry/lib

FROM ${BASE}
# The clone in a CI job belongs to another user, which git refuses. dagctl reads objects by their ids, and signs what it read.
# hadolint ignore=DL3008
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
  python3 git ca-certificates \
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
