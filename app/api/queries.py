"""The queries."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
import strawberry

from app.api import administration, evaluations, inputs, parts, types
from app.api.channels import ChannelQueries
from app.api.connections import After, Connection, First, connection, page_size, read_cursor
from app.api.context import Info, bad_input, not_found, require_admin
from app.api.fields import argument, query
from app.api.notifications import NotificationQueries
from app.api.scalars import JSON
from app.domain.access import Principal
from app.domain.audit import AuditEntry
from app.domain.comparing import Json, is_finite
from app.domain.environments import Environment
from app.domain.evaluation import Evaluation, evaluate_feature
from app.domain.explanation import Explanation, explain
from app.domain.features import Feature, FeatureKind
from app.domain.pipelines import Pipeline
from app.domain.preview import ActionPreview, preview
from app.domain.releases import Release, ReleaseAction
from app.domain.sdk_keys import SdkKey
from app.domain.targeting import Context
from app.domain.tokens import Token
from app.domain.transitions import settle
from app.store.access import AuditLog, SdkKeys, Tokens
from app.store.repositories import Page, Pipelines

FeatureKeyArgument = Annotated[str, argument("The feature.")]
EnvironmentArgument = Annotated[str, argument("The environment.")]
ContextArgument = Annotated[
    JSON | None,
    argument("A JSON object of attributes; `targetingKey`, a string, names the unit that pass percentages go by."),
]


@strawberry.type(description="What can be read.")
class Query(ChannelQueries, NotificationQueries):
    """The queries."""

    @query(types.Node | None, "The release, feature or pipeline of that id.")
    async def node(
        self, info: Info, id: Annotated[strawberry.ID, argument("Its id.")]
    ) -> Release | Feature | Pipeline | None:
        """By the id's prefix."""
        services = info.context.services
        match id.partition("_")[0]:
            case "rel":
                return await services.releases.get(id)
            case "fea":
                return await services.features.get(id)
            case "pip":
                return await services.pipelines.get(id)
            case _:
                return None

    @query(types.Viewer, "Who is asking.")
    def viewer(self, info: Info) -> Principal:
        """The caller."""
        return info.context.caller

    @query(datetime, "The server's clock, which bake timers go by.")
    def server_time(self, info: Info) -> datetime:
        """Now."""
        return info.context.services.clock.now()

    @query(list[parts.Environment], "Every environment, in the order of creation.")
    async def environments(self, info: Info) -> list[Environment]:
        """All of them."""
        return await info.context.services.environments.all()

    @query(types.Feature | None, "The feature with that key.")
    async def feature(self, info: Info, key: Annotated[str, argument("Its key.")]) -> Feature | None:
        """By key."""
        return await info.context.services.features.by_key(key)

    @query(types.FeatureConnection, "Features by key.")
    async def features(
        self,
        info: Info,
        kind: Annotated[FeatureKind | None, argument("Only of this kind.")] = None,
        pipeline_id: Annotated[strawberry.ID | None, argument("Only those attached to this pipeline.")] = None,
        has_active_release: Annotated[
            bool | None, argument("Only those with a release under way, or only those without.")
        ] = None,
        first: First = 20,
        after: After = None,
    ) -> Connection[Feature]:
        """A page of features."""
        size, position = page_size(first), read_cursor("features", after)
        services = info.context.services
        if has_active_release is None:
            page = await services.features.page(size, position, kind, pipeline_id)
        else:
            page = await _features_by_activity(info, has_active_release, size, position, kind, pipeline_id)
        return connection("features", page, [feature.key for feature in page.values], after)

    @query(types.Pipeline | None, "The pipeline of that id.")
    async def pipeline(self, info: Info, id: Annotated[strawberry.ID, argument("Its id.")]) -> Pipeline | None:
        """By id."""
        return await info.context.services.pipelines.get(id)

    @query(types.PipelineConnection, "Pipelines by name.")
    async def pipelines(self, info: Info, first: First = 20, after: After = None) -> Connection[Pipeline]:
        """A page of pipelines."""
        page = await info.context.services.pipelines.page(page_size(first), read_cursor("pipelines", after))
        return connection("pipelines", page, [Pipelines.cursor(pipeline) for pipeline in page.values], after)

    @query(types.Release | None, "The release of that id.")
    async def release(self, info: Info, id: Annotated[strawberry.ID, argument("Its id.")]) -> Release | None:
        """By id."""
        return await info.context.services.releases.get(id)

    @query(types.ReleaseConnection, "Releases, the newest first.")
    async def releases(
        self,
        info: Info,
        filter: Annotated[inputs.ReleaseFilter | None, argument("Which ones.")] = None,
        first: First = 20,
        after: After = None,
    ) -> Connection[Release]:
        """A page of releases."""
        return await types.release_page(info, inputs.filter_of(filter), first, after)

    @query(evaluations.Evaluation, "What a context gets from a feature in an environment.")
    async def evaluate(
        self,
        info: Info,
        feature_key: FeatureKeyArgument,
        environment: EnvironmentArgument,
        context: ContextArgument = None,
    ) -> Evaluation:
        """See `domain.evaluation.evaluate_feature`."""
        return evaluate_feature(*await _asked(info, feature_key, environment, context))

    @query(evaluations.Explanation, "Why a context gets what it gets: every phase, rule and condition looked at.")
    async def explain(
        self,
        info: Info,
        feature_key: FeatureKeyArgument,
        environment: EnvironmentArgument,
        context: ContextArgument = None,
    ) -> Explanation:
        """See `domain.explanation.explain`."""
        return explain(*await _asked(info, feature_key, environment, context))

    @query(evaluations.ActionPreview, "What an action would make of a release. Nothing is changed.")
    async def preview_action(
        self,
        info: Info,
        release_id: Annotated[strawberry.ID, argument("The release.")],
        action: Annotated[ReleaseAction, argument("The action, on the phase that is current now.")],
    ) -> ActionPreview:
        """See `domain.preview.preview`."""
        services = info.context.services
        release = await services.releases.get(release_id)
        if release is None:
            raise not_found(f"There is no release {release_id!r}.")
        now = services.clock.now()
        return preview(settle(release, now), action, info.context.caller, now)

    @query(administration.TokenConnection, "API tokens, the newest first. Needs ADMIN.")
    async def tokens(self, info: Info, first: First = 20, after: After = None) -> Connection[Token]:
        """A page of tokens."""
        require_admin(info.context, "see tokens")
        page = await info.context.services.token_list.page(page_size(first), read_cursor("tokens", after))
        return connection("tokens", page, [Tokens.cursor(token) for token in page.values], after)

    @query(administration.SdkKeyConnection, "SDK keys, the newest first. Needs ADMIN.")
    async def sdk_keys(
        self,
        info: Info,
        environment: Annotated[str | None, argument("Only those of this environment.")] = None,
        first: First = 20,
        after: After = None,
    ) -> Connection[SdkKey]:
        """A page of SDK keys."""
        require_admin(info.context, "see SDK keys")
        size, position = page_size(first), read_cursor("sdkKeys", after)
        page = await info.context.services.sdk_key_list.page(size, position, environment)
        return connection("sdkKeys", page, [SdkKeys.cursor(key) for key in page.values], after)

    @query(administration.AuditConnection, "Who asked for what, the newest first. Needs ADMIN.")
    async def audit_log(
        self,
        info: Info,
        filter: administration.AuditFilterArgument = None,
        first: First = 20,
        after: After = None,
    ) -> Connection[AuditEntry]:
        """A page of the audit log."""
        require_admin(info.context, "see the audit log")
        entries = administration.audit_filter(filter)
        page = await info.context.services.audit_log.page(entries, page_size(first), read_cursor("auditLog", after))
        return connection("auditLog", page, [AuditLog.cursor(entry) for entry in page.values], after)


async def _asked(
    info: Info, feature_key: str, environment: str, context: Json
) -> tuple[Feature, Release | None, str, Context]:
    """What an evaluation goes by: the feature, its latest release, the environment and the context."""
    services = info.context.services
    attributes = inputs.context_of(context)
    if attributes is None:
        raise bad_input("Give a JSON object of attributes.", "context")
    if not isinstance(attributes.get("targetingKey"), str | None):
        raise bad_input("Give targetingKey as a string.", "context")
    if not is_finite(attributes):
        raise bad_input("Use finite numbers.", "context")
    if len(msgspec.json.encode(attributes)) > services.settings.max_context_bytes:
        raise bad_input(f"Give at most {services.settings.max_context_bytes} bytes as JSON.", "context")
    feature = await services.features.by_key(feature_key)
    if feature is None:
        raise not_found(f"There is no feature {feature_key!r}.")
    if await services.environments.get(environment) is None:
        raise not_found(f"There is no environment {environment!r}.")
    return feature, await services.releases.latest_of(feature_key), environment, attributes


async def _features_by_activity(
    info: Info,
    active: bool,
    size: int,
    after: str | None,
    kind: FeatureKind | None,
    pipeline_id: str | None,
) -> Page[Feature]:
    """A page of features with (or without) a release under way, which their documents do not tell."""
    services = info.context.services
    batch, found = size + 1, list[Feature]()
    while len(found) <= size:
        if active:
            keys = await services.releases.features_under_way(after, batch)
            by_key = await services.features.by_keys(keys)
            read = [by_key[key] for key in keys if key in by_key]
            matching = [f for f in read if kind in (None, f.kind) and pipeline_id in (None, f.pipeline_id)]
            last, more = (keys[-1] if keys else None), len(keys) == batch
        else:
            page = await services.features.page(batch, after, kind, pipeline_id)
            last, more = (page.values[-1].key if page.values else None), page.has_next
            under_way = await services.releases.under_way_among([f.key for f in page.values])
            matching = [f for f in page.values if f.key not in under_way]
        found.extend(matching)
        if not more:
            break
        after = last
    return Page(found[:size], len(found) > size)
