# klined in an image: built on Debian 13, run there by an ordinary user, with nothing but the libraries that it uses.

FROM debian:trixie-slim AS build
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        g++ cmake ninja-build pkg-config librdkafka-dev protobuf-compiler libprotobuf-dev libhiredis-dev \
        default-libmysqlclient-dev libtbb-dev libsimdjson-dev libspdlog-dev libfmt-dev libcli11-dev libyaml-cpp-dev \
        prometheus-cpp-dev libboost-dev zlib1g-dev libxxhash-dev libssl-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /klined
COPY . .
RUN cmake --preset release -DKLINED_BUILD_TESTS=OFF && cmake --build build/release --target klined \
    && strip --strip-debug build/release/klined
# The packages that hold the libraries which the program is linked to, by their names in this Debian.
RUN ldd build/release/klined | awk '$3 ~ "^/" {print $3}' | xargs readlink -f | xargs dpkg-query -S \
    | cut -d : -f 1 | sort -u > build/packages && cat build/packages

FROM debian:trixie-slim
COPY --from=build /klined/build/packages /tmp/packages
RUN apt-get update && DEBIAN_FRONTEND=noninteractive xargs -a /tmp/packages apt-get install -y --no-install-recommends \
        ca-certificates \
    && rm -rf /var/lib/apt/lists/* /tmp/packages \
    && useradd --system --uid 10001 --home-dir /var/lib/klined --create-home klined
COPY --from=build /klined/build/release/klined /usr/local/bin/klined
COPY config/klined.yaml /etc/klined/klined.yaml
# Relative paths in the configuration (the feed's spool) are meant from here.
WORKDIR /var/lib/klined
USER klined
EXPOSE 9464
SHELL ["/bin/bash", "-c"]
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD exec 3<>/dev/tcp/127.0.0.1/9464 && printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3 && head -n 1 <&3 | grep -q ' 200 '
ENTRYPOINT ["klined"]
CMD ["run", "--config", "/etc/klined/klined.yaml"]
