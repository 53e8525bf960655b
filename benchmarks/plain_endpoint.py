"""The endpoint that evaluation is measured against: Starlette, and a constant JSON body."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


async def _constant(request: Request) -> JSONResponse:
    return JSONResponse({"key": "checkout", "value": True, "reason": "STATIC", "variant": "on", "metadata": {}})


app = Starlette(routes=[Route("/constant", _constant, methods=["GET", "POST"])])
