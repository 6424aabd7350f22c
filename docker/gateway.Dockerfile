# nebula-gateway, and nebulactl for `init` and the health check. Context: target/image, which `make build` fills.
ARG BASE=debian:bookworm-slim
FROM ${BASE}
RUN apt-get -q update && apt-get -q -y upgrade \
 && DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends ca-certificates openssl \
 && apt-get clean && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --user-group --home-dir /var/lib/pg_nebula --shell /usr/sbin/nologin pg_nebula \
 && install -d -o pg_nebula -g pg_nebula -m 0700 /var/lib/pg_nebula /var/lib/pg_nebula/store /var/lib/pg_nebula/ca
COPY bin/nebula-gateway bin/nebulactl /usr/local/bin/
COPY scripts/service-entrypoint.sh /usr/local/lib/pg_nebula/
ENV LANG=C.UTF-8 NEBULA_SECRETS=/run/secrets NEBULA_ROLE=gateway NEBULA_LISTEN=0.0.0.0:8080 \
    NEBULA_STORAGE_URL=file:///var/lib/pg_nebula/store \
    NEBULA_CA_CERT=/var/lib/pg_nebula/ca/ca.crt NEBULA_CA_KEY=/var/lib/pg_nebula/ca/ca.key \
    NEBULA_TOKEN_KEY=/run/secrets/token_key
USER pg_nebula
VOLUME /var/lib/pg_nebula/store /var/lib/pg_nebula/ca
EXPOSE 8080
ENTRYPOINT ["/usr/local/lib/pg_nebula/service-entrypoint.sh"]
CMD ["nebula-gateway"]
