# syntax=docker/dockerfile:1

FROM node:24-slim AS dependencies
WORKDIR /hasty
COPY package.json package-lock.json ./
COPY patches ./patches
RUN npm ci --omit=dev

FROM node:24-slim
ENV NODE_ENV=production HOST=0.0.0.0 DATA_DIR=/data
WORKDIR /hasty
# The data outlives the container, and belongs to the user that writes it.
RUN mkdir /data && chown node:node /data
VOLUME /data
COPY --from=dependencies /hasty/node_modules ./node_modules
COPY package.json *.ts ./
COPY migrations ./migrations
COPY formats ./formats
COPY plugins ./plugins
COPY process ./process
COPY routes ./routes
COPY schemas ./schemas
COPY services ./services
COPY stores ./stores
USER node
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + (process.env.PORT || 3000) + '/livez').then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
# Without npm in between, a signal reaches the server itself. The worker: node worker.ts
CMD ["node", "server.ts"]
