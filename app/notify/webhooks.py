"""Webhooks as Standard Webhooks says: signed, with an id that stays, sent to an address that was looked at."""

import asyncio
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx
from standardwebhooks import Webhook

from app.notify.targets import NotDelivered, Targets


class _Pinned(httpx.AsyncBaseTransport):
    """Looks a host's addresses up once, checks them, and connects to one of those and to nothing else.

    The name stays in the Host header and in TLS: its certificate is checked as ever.
    """

    def __init__(self, targets: Targets) -> None:
        self._targets = targets
        # No connection is kept: by its address alone, that of one name would be taken for that of another.
        self._limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        self._plain = httpx.AsyncHTTPTransport(verify=False, limits=self._limits, trust_env=False)
        self._tls: httpx.AsyncHTTPTransport | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host, url = request.url.host, request.url
        address = await self._targets.resolve(host, url.port or (443 if url.scheme == "https" else 80))
        request.url = url.copy_with(host=address)
        request.extensions = {**request.extensions, "sni_hostname": host}
        http = self._plain if url.scheme == "http" else await self._with_tls()
        return await http.handle_async_request(request)

    async def aclose(self) -> None:
        await self._plain.aclose()
        if self._tls is not None:
            await self._tls.aclose()

    async def _with_tls(self) -> httpx.AsyncHTTPTransport:
        if self._tls is None:
            context = await asyncio.to_thread(ssl.create_default_context)  # it reads all certificates of the system
            self._tls = self._tls or httpx.AsyncHTTPTransport(verify=context, limits=self._limits, trust_env=False)
        return self._tls


class Webhooks:
    """Sends to webhooks, each attempt within so many seconds. No redirect is followed and no answer's body is read."""

    def __init__(self, targets: Targets, seconds: float) -> None:
        self._seconds = seconds
        self._client = httpx.AsyncClient(
            transport=_Pinned(targets), follow_redirects=False, trust_env=False, timeout=seconds
        )

    async def send(self, url: str, signing: Sequence[str], id: str, body: bytes, now: datetime) -> None:
        """Post a body, signed with each of the secrets. Raises `NotDelivered` unless the receiver answers with 2xx."""
        headers = {
            "content-type": "application/json",
            "user-agent": "Slipway",
            "webhook-id": id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(Webhook(secret).sign(id, now, body.decode()) for secret in signing),
        }
        try:
            async with (
                asyncio.timeout(self._seconds),
                self._client.stream("POST", url, content=body, headers=headers) as response,
            ):
                _require_success(response, now)
        except TimeoutError:
            raise NotDelivered(f"It did not answer within {self._seconds:g} s.") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            if isinstance(error, NotDelivered):
                raise
            raise NotDelivered(f"The connection failed: {error or type(error).__name__}") from None

    async def aclose(self) -> None:
        """Let go of the connections."""
        await self._client.aclose()


def _require_success(response: httpx.Response, now: datetime) -> None:
    status = response.status_code
    if response.is_success:
        return
    if response.is_redirect:
        raise NotDelivered(f"It answered with a redirect (HTTP {status}), which is not followed.")
    if status == httpx.codes.GONE:  # by which Standard Webhooks has a receiver ask for nothing more
        raise NotDelivered("It is gone (HTTP 410) and asked to be sent nothing more.", is_final=True)
    raise NotDelivered(f"It answered with HTTP {status}.", retry_after=_retry_after(response, now))


def _retry_after(response: httpx.Response, now: datetime) -> timedelta | None:
    """How long the receiver asks to be left alone, as seconds or as a date; None if it asks nothing that is clear."""
    given = response.headers.get("retry-after", "").strip()
    if given.isascii() and given.isdigit() and len(given) < 10:
        return timedelta(seconds=int(given))
    try:
        date = parsedate_to_datetime(given)
    except ValueError:
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(date - now, timedelta(0))
