# The daemon as an image. docker-compose.yml builds and configures it.

# The web console, which the binary holds.
FROM node:22-bookworm-slim AS console
WORKDIR /web
COPY web/package.json web/package-lock.json ./
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund
COPY web .
RUN node build.mjs

FROM rust:1.95-bookworm AS build
# paho-mqtt builds its C library, against OpenSSL.
RUN apt-get update \
    && apt-get install -y --no-install-recommends cmake libssl-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
COPY --from=console /web/dist web/dist
# The caches stay on the building machine: a second build compiles what changed. The binary must leave the cached folder.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --release --locked --bin orinoco \
    && install -s target/release/orinoco /usr/local/bin/orinoco

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libssl3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/orinoco --create-home orinoco
COPY --from=build /usr/local/bin/orinoco /usr/local/bin/orinoco
COPY supervision.toml /etc/orinoco/supervision.toml
ENV ORINOCO__SUPERVISION=/etc/orinoco/supervision.toml
USER orinoco
# Journal and embedded stores.
VOLUME /var/lib/orinoco
EXPOSE 8090 8081 3123 8883
# SIGTERM is the orderly shutdown.
STOPSIGNAL SIGTERM
ENTRYPOINT ["orinoco"]
CMD ["serve", "--data-dir", "/var/lib/orinoco"]
