# syntax=docker/dockerfile:1
# compose.yaml has the same default. docs/operations.md#images describes how to update the digest.
ARG NODE_IMAGE=node:24.21.0-slim@sha256:0e0ff40c39bc087845bfb27465a0df4ea419520094bc35842ff83dd8cbe6f9b6

FROM ${NODE_IMAGE} AS dependencies
WORKDIR /hasty
COPY package.json package-lock.json ./
COPY patches ./patches
COPY web ./web
# patch-package, a development dependency, applies the patches, and esbuild builds the pages. Then the development
# dependencies are removed.
RUN npm ci && npm run build && npm prune --omit=dev

FROM ${NODE_IMAGE}
ENV NODE_ENV=production HOST=0.0.0.0 DATA_DIR=/data
WORKDIR /hasty
# Used to isolate decoders, if the container runtime permits user namespaces.
RUN apt-get update && apt-get install --yes --no-install-recommends bubblewrap && rm -rf /var/lib/apt/lists/*
# The volume belongs to the user that writes to it.
RUN mkdir --mode=700 /data && chown node:node /data
VOLUME /data
COPY --from=dependencies /hasty/node_modules ./node_modules
COPY package.json *.ts ./
COPY migrations ./migrations
COPY bin ./bin
COPY formats ./formats
COPY plugins ./plugins
COPY process ./process
COPY routes ./routes
COPY schemas ./schemas
COPY services ./services
COPY stores ./stores
COPY web ./web
COPY --from=dependencies /hasty/web/dist ./web/dist
USER node
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + (process.env.PORT || 3000) + '/livez').then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
# node itself receives signals, because npm is not in between. For a worker: node worker.ts
CMD ["node", "server.ts"]
