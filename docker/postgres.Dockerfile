# PostgreSQL with pg_nebula. Context: target/image, which `make build` fills; nothing is compiled here. BASE must be
# the Debian release the build ran on, for the C library. docker/stage.sh writes a copy that names the PG_MAJOR that
# pg_nebula was built for.
ARG BASE=debian:bookworm-slim
FROM ${BASE}
ARG PG_MAJOR
RUN apt-get -q update && apt-get -q -y upgrade \
 && DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends postgresql-common \
 && mkdir -p /etc/postgresql-common/createcluster.d \
 && echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.d/pg_nebula.conf \
 && DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends postgresql-${PG_MAJOR} \
 && apt-get clean && rm -rf /var/lib/apt/lists/* \
 && install -d -o postgres -g postgres -m 0700 /var/lib/pg_nebula
COPY extension/lib/ /usr/lib/postgresql/${PG_MAJOR}/lib/
COPY extension/share/ /usr/share/postgresql/${PG_MAJOR}/extension/
COPY scripts/database.sh scripts/postgres-entrypoint.sh /usr/local/lib/pg_nebula/
COPY sql/roles.sql /usr/local/share/pg_nebula/
ENV PATH=/usr/lib/postgresql/${PG_MAJOR}/bin:/usr/bin:/bin LANG=C.UTF-8 NEBULA_SECRETS=/run/secrets
USER postgres
VOLUME /var/lib/pg_nebula
EXPOSE 5432
# Fast shutdown: ends sessions without losing data. The default, SIGTERM, would wait for all clients to disconnect.
STOPSIGNAL SIGINT
ENTRYPOINT ["/usr/local/lib/pg_nebula/postgres-entrypoint.sh"]
CMD ["postgres"]
