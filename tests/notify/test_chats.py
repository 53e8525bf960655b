"""What Slack and Microsoft Teams are sent, as a server on loopback receives it in their place."""

from typing import Any

import pytest
from requests import PreparedRequest
from requests.adapters import HTTPAdapter

from app.domain.messages import Message, Urgency
from app.notify.chats import Chats
from app.notify.targets import Targets
from tests.notify.receiving import Hooks

SLACK = "slack://TokenAAAAAAA/TokenBBBBBBB/TokenCCCCCCCCCCCCCCCCCCC/#releases"
TEAMS = "workflows://prod-1.westeurope.logic.azure.com/643e69f61dcb4a0f8ed9a8a0a6e6f6a5/signature-of-40-characters"
LINK = "https://slipway.example/releases/rel_1"
SAID = Message(
    "Review needed: checkout, “US west”", "Release #1 “a_b *c*” waits.\nStarted by Sam.", LINK, Urgency.WARNING
)


@pytest.fixture
def rerouted(receiver: Hooks, monkeypatch: pytest.MonkeyPatch) -> Hooks:
    """A receiver that gets what is for any other host."""
    send = HTTPAdapter.send

    def sent_here(self: HTTPAdapter, request: PreparedRequest, **more: Any) -> Any:
        request.url = receiver.url("/chat")
        return send(self, request, **more)

    monkeypatch.setattr(HTTPAdapter, "send", sent_here)
    receiver.body = b"ok"  # as Slack has it
    return receiver


async def test_slack_gets_an_attachment_with_the_colour_of_its_urgency(rerouted: Hooks) -> None:
    """Title, text and link in one attachment, under Slipway's name."""
    await Chats(Targets(("127.0.0.1",)), 20).send("cha_1", SLACK, SAID)
    ((_, body),) = rerouted.received["/chat"]
    (shown,) = body["attachments"]
    assert (shown["title"], shown["text"], shown["footer"]) == (SAID.title, f"{SAID.text}\n{LINK}", "Slipway")
    assert shown["color"] == "#CACF29"
    assert body["channel"] == "#releases"


async def test_teams_gets_a_card_whose_link_is_one(rerouted: Hooks) -> None:
    """Teams reads Markdown: lines stay apart, the link can be followed, and names are shown as they are."""
    await Chats(Targets(("127.0.0.1",)), 20).send("cha_1", TEAMS, SAID)
    ((_, body),) = rerouted.received["/chat"]
    title, text = body["attachments"][0]["content"]["body"]
    assert title["text"] == SAID.title
    assert text["text"] == f"Release #1 “a\\_b \\*c\\*” waits.\n\nStarted by Sam.\n\n[Open in Slipway]({LINK})"
