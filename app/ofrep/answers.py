"""What OFREP answers: bodies as its OpenAPI document has them, and as the clients that are released read them.

Those need more than the document asks for: `value` and `variant` on every success, `errorDetails` on every failure,
metadata of primitive values only.
"""

from enum import Enum

import msgspec
from msgspec import Struct

from app.domain.evaluation import Evaluation, Reason
from app.domain.features import Feature, FeatureKind

JSON = b"application/json; charset=utf-8"


class ErrorCode(Enum):
    """The codes of the OpenFeature specification (types, "Error Code") that are of use here."""

    PARSE_ERROR = "PARSE_ERROR"
    INVALID_CONTEXT = "INVALID_CONTEXT"
    TARGETING_KEY_MISSING = "TARGETING_KEY_MISSING"
    FLAG_NOT_FOUND = "FLAG_NOT_FOUND"


class Refusal(Exception):
    """An answer without an evaluation; `details` is for whoever sent the request."""

    def __init__(self, status: int, details: str, code: ErrorCode | None = None, **headers: str) -> None:
        super().__init__(details)
        self.status = status
        self.details = details
        self.code = code
        self.headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]

    def body(self, feature_key: str | None) -> bytes:
        """The body, which names the feature where one was asked for."""
        body: dict[str, str] = {} if feature_key is None else {"key": feature_key}
        if self.code is not None:
            body["errorCode"] = self.code.value
        return msgspec.json.encode({**body, "errorDetails": self.details})


class _Success(Struct, frozen=True):
    key: str
    value: object
    reason: str
    variant: str
    metadata: dict[str, str]


def success(feature: Feature, found: Evaluation) -> bytes:
    """An evaluation as OFREP has it."""
    told = {
        "ruleName": found.rule_name,
        "releaseId": found.release_id,
        "phaseName": found.phase_name,
        # The protocol has no word for it.
        "reason": "DEFAULT" if found.reason is Reason.DEFAULT else None,
    }
    metadata = {name: value for name, value in told.items() if value is not None}
    reason = "UNKNOWN" if found.reason is Reason.DEFAULT else found.reason.value
    return msgspec.json.encode(_Success(feature.key, found.value, reason, _variant(feature, found), metadata))


def _variant(feature: Feature, found: Evaluation) -> str:
    """A gate's variants are on and off, a config's are named by the rules that give them."""
    if feature.kind is FeatureKind.FEATURE_GATE:
        return "on" if found.value is True else "off"
    return found.rule_name or "default"
