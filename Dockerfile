# One image for the API and the worker: the command decides.
#
#   docker build -t slipway:local .
#   docker run -p 8000:8000 -e SLIPWAY_STORE_URL -e SLIPWAY_REDIS_URL -e SLIPWAY_ADMIN_TOKEN slipway:local
#   docker run               -e SLIPWAY_STORE_URL -e SLIPWAY_REDIS_URL -e SLIPWAY_ADMIN_TOKEN slipway:local worker
#
# There is no HEALTHCHECK here because the two are asked differently: GET /readyz, and `slipway worker --check`.
# docker-compose.yml has both.

# The Python that the tests run on.
FROM python:3.11-slim AS build

RUN pip install --no-cache-dir "uv>=0.9,<1"

ENV UV_PROJECT_ENVIRONMENT=/opt/slipway \
    UV_PYTHON=/usr/local/bin/python3 \
    UV_PYTHON_DOWNLOADS=never \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy

WORKDIR /src

# What we depend on changes seldom, what we write often: two layers. The dates in pyproject.toml ([tool.uv]
# exclude-newer) make both resolve to the same versions every time.
COPY pyproject.toml README.md LICENSE ./
RUN uv sync --no-dev --no-install-project
COPY app ./app
RUN uv sync --no-dev --no-editable


# GraphiQL's own files, from npm, each held to its hash: /graphql then needs no internet. Nothing of Node goes further.
FROM node:22-slim AS node

FROM build AS graphiql

COPY --from=node /usr/local/bin/node /usr/local/bin/node
COPY --from=node /usr/local/lib/node_modules/npm /usr/local/lib/node_modules/npm
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm \
    && /opt/slipway/bin/slipway graphiql --folder /opt/graphiql


FROM python:3.11-slim

# A number, so that Kubernetes' runAsNonRoot can tell that it is not root. /data is for whoever keeps SQLite in a volume.
RUN groupadd --system --gid 10001 slipway \
    && useradd --system --uid 10001 --gid slipway --no-create-home --home-dir /data --shell /usr/sbin/nologin slipway \
    && install --directory --owner=slipway --group=slipway --mode=0700 /data

COPY --from=build /opt/slipway /opt/slipway
COPY --from=graphiql /opt/graphiql /opt/graphiql

ENV PATH=/opt/slipway/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    SLIPWAY_GRAPHIQL_DIR=/opt/graphiql

WORKDIR /data
USER 10001:10001
EXPOSE 8000

# In exec form: slipway is process 1 and gets the SIGTERM of `docker stop` itself.
ENTRYPOINT ["slipway"]
# All interfaces of the container: its loopback is of no use to anybody outside.
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
