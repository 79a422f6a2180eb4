# The image of istiod. The program is built before, for each architecture:
#   target/linux/amd64/istiod, target/linux/arm64/istiod
# and laid into the image of that architecture:
#   docker buildx build --platform linux/amd64,linux/arm64 --file manifests/images/istiod.Dockerfile target
ARG BASE=debian:bookworm-slim
FROM ${BASE}
ARG TARGETPLATFORM
COPY --chmod=0755 ${TARGETPLATFORM}/istiod /usr/local/bin/istiod
# The user and group that Istio's own images have.
USER 1337:1337
ENTRYPOINT ["/usr/local/bin/istiod"]
