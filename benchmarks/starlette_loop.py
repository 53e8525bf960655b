"""A plain Starlette endpoint that sends ready text to all sockets, one after another: the least that can be done.

It knows of graphql-transport-ws as much as its client needs. A child of `fan_out.py`.
"""

import json

import uvloop
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from benchmarks.plain_serving import serve
from benchmarks.scene import sample_event

_subscribed: dict[tuple[WebSocket, str], None] = {}
_fired = 0


async def _endpoint(socket: WebSocket) -> None:
    await socket.accept("graphql-transport-ws")
    try:
        while True:
            message = json.loads(await socket.receive_text())
            match message["type"]:
                case "connection_init":
                    await socket.send_text('{"type":"connection_ack"}')
                case "subscribe":
                    _subscribed[socket, message["id"]] = None
    except WebSocketDisconnect:
        for key in [key for key in _subscribed if key[0] is socket]:
            del _subscribed[key]


async def _fire() -> None:
    global _fired
    _fired += 1
    payload = {"data": {"releaseEvents": sample_event(_fired)}}
    ready = {
        id: json.dumps({"id": id, "type": "next", "payload": payload}, separators=(",", ":"))
        for id in {id for _, id in _subscribed}
    }
    for socket, id in tuple(_subscribed):
        await socket.send_text(ready[id])


if __name__ == "__main__":
    uvloop.run(serve(Starlette(routes=[WebSocketRoute("/graphql", _endpoint)]), _fire))
