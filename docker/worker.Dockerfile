# nebula-worker. Context: target/image, which `make build` fills. The package ffmpeg is installed for its libraries,
# whose names differ between Debian releases.
ARG BASE=debian:bookworm-slim
FROM ${BASE}
RUN apt-get -q update && apt-get -q -y upgrade \
 && DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends ca-certificates ffmpeg openssl \
 && apt-get clean && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --user-group --home-dir /var/lib/pg_nebula --shell /usr/sbin/nologin pg_nebula \
 && install -d -o pg_nebula -g pg_nebula -m 0700 /var/lib/pg_nebula /var/lib/pg_nebula/store
COPY bin/nebula-worker /usr/local/bin/
COPY scripts/service-entrypoint.sh /usr/local/lib/pg_nebula/
ENV LANG=C.UTF-8 NEBULA_SECRETS=/run/secrets NEBULA_ROLE=worker \
    NEBULA_STORAGE_URL=file:///var/lib/pg_nebula/store
USER pg_nebula
VOLUME /var/lib/pg_nebula/store
ENTRYPOINT ["/usr/local/lib/pg_nebula/service-entrypoint.sh"]
CMD ["nebula-worker"]
