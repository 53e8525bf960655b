"""Draws docs/release.svg: a release of the demo, steered over HTTP and watched over a websocket, as it really happened.

uv run python docs/transcript.py
"""

import asyncio
import re
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import httpx
from gql import Client, gql
from gql.transport.websockets import WebsocketsTransport
from rich.console import Console

_SLIPWAY = Path(sys.executable).with_name("slipway")
_PORT = 8765
_URL = f"http://127.0.0.1:{_PORT}/graphql"
_COLOURS = {
    "NOT_RELEASED": "bright_black",
    "WAITING_FOR_REVIEW": "yellow",
    "IN_PROGRESS": "bright_blue",
    "PAUSED": "magenta",
    "COMPLETED": "green",
    "SKIPPED": "cyan",
    "ABORTED": "red",
}
_EVENTS = gql(
    """
    subscription ($id: ID!) {
      releaseEvents(releaseId: $id) {
        sequence type reason actor { name } phase { name } release { phases { name status } }
      }
    }
    """
)
_STEPS = (
    ("skipPhase", "staging looks good"),
    ("approvePhase", None),
    ("pauseRelease", "latency is up, looking"),
    ("unpauseRelease", "it was something else"),
    ("fullRollOut", "ship it"),
)


class _Drawing:
    def __init__(self, token: str, console: Console) -> None:
        self._headers = {"Authorization": f"Bearer {token}"}
        self._console = console

    async def ask(self, query: str, **variables: object) -> dict[str, object]:
        async with httpx.AsyncClient(headers=self._headers) as client:
            answer = await client.post(_URL, json={"query": query, "variables": variables})
        return answer.json()["data"]

    async def watch(self, release_id: str) -> None:
        transport = WebsocketsTransport(
            _URL.replace("http", "ws"),
            subprotocols=[WebsocketsTransport.GRAPHQLWS_SUBPROTOCOL],
            init_payload={"authorization": self._headers["Authorization"]},
        )
        async with Client(transport=transport) as session:
            _EVENTS.variable_values = {"id": release_id}
            async for answer in session.subscribe(_EVENTS):
                self._draw(answer["releaseEvents"])

    def _draw(self, event: dict[str, object]) -> None:
        strip = " ".join(f"[{_COLOURS[phase['status']]}]■[/]" for phase in event["release"]["phases"])
        phase = event["phase"]["name"] if event["phase"] else ""
        why = f" [italic]“{event['reason']}”[/]" if event["reason"] else ""
        self._console.print(
            f"{event['sequence']:>3}  {strip}  [bold]{event['type']:<18}[/] {phase:<20} "
            f"[bright_black]{event['actor']['name']}[/]{why}"
        )

    async def steer(self, release_id: str) -> None:
        for mutation, reason in _STEPS:
            await asyncio.sleep(0.4)
            found = await self.ask("query($id: ID!) { release(id: $id) { currentPhase { id } } }", id=release_id)
            given = {"releaseId": release_id, "reason": reason}
            kind = "ReleaseActionInput" if mutation == "fullRollOut" else "PhaseActionInput"
            if kind == "PhaseActionInput":
                given["phaseId"] = found["release"]["currentPhase"]["id"]
            self._console.print(f"[green]$[/] mutation [bold]{mutation}[/]")
            await self.ask(f"mutation($in: {kind}!) {{ {mutation}(input: $in) {{ __typename }} }}", **{"in": given})


async def _main() -> None:
    console = Console(record=True, width=125)
    with tempfile.TemporaryDirectory() as data:
        command = [_SLIPWAY, "dev", "--demo", "--data", data, "--port", str(_PORT)]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220 (a script, nobody waits)
        try:
            for line in server.stdout:
                if line.startswith("Token"):
                    token = line.split()[1]
                if line.startswith("Stop"):
                    break
            drawing = _Drawing(token, console)
            page = await drawing.ask('{ releases(filter: {featureKey: "new-checkout"}) { edges { node { id } } } }')
            release_id = page["releases"]["edges"][0]["node"]["id"]
            console.print("[green]$[/] subscription [bold]releaseEvents[/] of new-checkout, release #1")
            await asyncio.gather(drawing.watch(release_id), drawing.steer(release_id))
        finally:
            server.terminate()
            with suppress(subprocess.TimeoutExpired):
                server.wait(10)
    target = Path(__file__).with_name("release.svg")
    drawn = console.export_svg(title="Slipway")
    # Rich names web fonts; a picture in a README must not load anything.
    target.write_text(re.sub(r"\s*@font-face \{.*?\}", "", drawn, flags=re.DOTALL).replace("Fira Code", "monospace"))


asyncio.run(_main())
