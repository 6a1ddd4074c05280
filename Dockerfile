# One image with all six executables and nothing else: no shell, no package manager, no user but a numeric one.
# docs/deployment.md says how it is built, run and checked; ops/image/build builds it without a container engine.

# Debian 12 with the Swift toolchain; the libraries it links end in the image.
ARG BUILDER_IMAGE=docker.io/library/swift:6.3-bookworm

FROM ${BUILDER_IMAGE} AS build
# pip's authorities, where a proxy of the build machine has its own.
ARG PIP_CERT=/etc/ssl/certs/ca-certificates.crt
RUN apt-get -q update \
    && DEBIAN_FRONTEND=noninteractive apt-get -y -q --no-install-recommends install \
        binutils ca-certificates git iproute2 libhiredis-dev libpq-dev librabbitmq-dev libssl-dev python3-venv tzdata \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# Swift's runtime is shared by the six executables, see docs/deployment.md. lld packs relocations: 5 % of each.
RUN swift build -c release -Xswiftc -use-ld=lld -Xlinker -z -Xlinker pack-relative-relocs
RUN PIP_CERT=${PIP_CERT} JUMUN_RUN_DIR=/src/.run ops/dev/swagger-ui && ops/image/assemble /image

FROM scratch
COPY --from=build /image/ /
ENV PATH=/usr/local/bin \
    LISTEN_HOST=0.0.0.0 \
    BIN_DIR=/usr/local/bin \
    MIGRATIONS_DIR=/usr/local/share/jumun/migrations \
    SCHEDULE_FILE=/usr/local/share/jumun/schedule.toml \
    SWAGGER_UI_DIR=/usr/local/share/jumun/swagger-ui
USER 65532:65532
# 8080 order-api, 8081 consumer, 8082 scheduler, 8083 data-platform, 8085 the console of order-api
EXPOSE 8080 8081 8082 8083 8085
# That of order-api; compose.yaml names the others'.
HEALTHCHECK --interval=10s --timeout=4s --start-period=20s --retries=3 CMD ["order-api", "health"]
CMD ["order-api", "serve"]
