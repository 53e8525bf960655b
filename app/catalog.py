"""Environments, pipelines and features: create, edit, attach; and whether an edit needs a pipeline."""

from collections.abc import Iterator
from datetime import timedelta

from msgspec import Struct, structs

from app.announcing import Announcer
from app.domain.access import Principal, Role, require_role
from app.domain.commands import MAX_KEY
from app.domain.environments import Environment, environment_name_problems, needs_pipeline
from app.domain.features import (
    Feature,
    FeatureKind,
    FeatureSpec,
    description_problems,
    key_problems,
    revision_problems,
    same_json,
    spec_problems,
    spec_size_problems,
)
from app.domain.pipelines import Phase, Pipeline, ReleaseRule, pipeline_problems
from app.domain.problems import (
    AlreadyExists,
    FieldProblem,
    NotFound,
    PipelineInUse,
    ReleaseInProgress,
    ValidationFailed,
)
from app.domain.releases import Release, SpecChange, feature_revision, spec_in_force
from app.engine import ATTEMPTS, Clock, Contention, Engine, new_id, stand_back
from app.store.documents import DuplicateKey
from app.store.repositories import Environments, Features, Pipelines, Releases

# Far below what `Environments.all` reads: one that it left out would be taken to need no pipeline.
MAX_ENVIRONMENTS = 500


class PhaseDraft(Struct, frozen=True):
    """A phase as written by a user, before it has an id."""

    name: str
    rules: tuple[ReleaseRule, ...]
    bake_time: timedelta = timedelta(0)
    required_approvals: int = 0
    prevent_self_approval: bool = False
    remind_every: timedelta | None = None


class PipelineEdit(Struct, frozen=True):
    """What to change of a pipeline; None leaves a part as it is, and `clear_description` takes the description away."""

    name: str | None = None
    description: str | None = None
    clear_description: bool = False
    phases: tuple[PhaseDraft, ...] | None = None


class Catalog:
    """What releases are made of. Every method checks the caller's role and the whole input before it writes."""

    def __init__(
        self,
        environments: Environments,
        pipelines: Pipelines,
        features: Features,
        releases: Releases,
        engine: Engine,
        announcer: Announcer,
        clock: Clock,
    ) -> None:
        self._environments = environments
        self._pipelines = pipelines
        self._features = features
        self._releases = releases
        self._engine = engine
        self._announcer = announcer
        self._clock = clock

    # --- environments ---

    async def save_environment(self, name: str, pipeline_required: bool, by: Principal) -> Environment:
        """Create an environment, or set whether changes that touch it need a pipeline. Raises ValidationFailed."""
        require_role(by, Role.ADMIN, "manage environments")
        _refuse(environment_name_problems(name, ("name",)))
        for _ in range(ATTEMPTS):
            found = await self._environments.get(name)
            if found is None:
                if len(await self._environments.all()) >= MAX_ENVIRONMENTS:
                    _refuse([FieldProblem(("name",), f"There are {MAX_ENVIRONMENTS} environments already.")])
                environment = Environment(name, pipeline_required, self._clock.now())
                try:
                    await self._environments.add(environment)
                except DuplicateKey:
                    continue
                return environment
            if found.pipeline_required == pipeline_required:
                return found
            environment = structs.replace(found, pipeline_required=pipeline_required, revision=found.revision + 1)
            if await self._environments.save(environment):
                return environment
        raise Contention(f"Environment {name} is being changed by many others at once. Nothing was done; try again.")

    # --- pipelines ---

    async def create_pipeline(
        self, name: str, description: str | None, phases: tuple[PhaseDraft, ...], by: Principal
    ) -> Pipeline:
        """Create a pipeline. Raises ValidationFailed or AlreadyExists (its name)."""
        require_role(by, Role.OPERATOR, "create a pipeline")
        now = self._clock.now()
        pipeline = Pipeline(new_id("pip", now), name, description, self._with_ids(phases, ()), now)
        _refuse(pipeline_problems(pipeline, await self._environment_names()))
        await self._add_pipeline(pipeline)
        return pipeline

    async def update_pipeline(
        self, id: str, edit: PipelineEdit, by: Principal, *, expected_revision: int | None = None
    ) -> Pipeline:
        """Edit a pipeline. Raises NotFound, ValidationFailed, AlreadyExists or PipelineInUse.

        With an expected revision, only that one is edited: of two edits made from it one is refused.
        A release that starts at the same moment keeps the copy that it took: neither sees half of an edit.
        """
        require_role(by, Role.OPERATOR, "edit a pipeline")
        for _ in range(ATTEMPTS):
            found = await self._pipeline(id)
            _refuse(revision_problems(expected_revision, found.revision, "pipeline", ("expectedRevision",)))
            await self._refuse_in_use(found, "edited")
            description = edit.description if edit.description is not None else found.description
            pipeline = structs.replace(
                found,
                name=edit.name if edit.name is not None else found.name,
                description=None if edit.clear_description else description,
                phases=found.phases if edit.phases is None else self._with_ids(edit.phases, found.phases),
                revision=found.revision + 1,
            )
            _refuse(pipeline_problems(pipeline, await self._environment_names()))
            try:
                if await self._pipelines.save(pipeline):
                    return pipeline
            except DuplicateKey as taken:
                raise AlreadyExists(f"There is another pipeline named {pipeline.name!r}.") from taken
        raise Contention(f"Pipeline {id} is being changed by many others at once. Nothing was done; try again.")

    async def duplicate_pipeline(self, id: str, name: str, by: Principal) -> Pipeline:
        """Create a pipeline like another. Raises NotFound, ValidationFailed or AlreadyExists."""
        require_role(by, Role.OPERATOR, "duplicate a pipeline")
        found = await self._pipeline(id)
        now = self._clock.now()
        phases = tuple(structs.replace(phase, id=new_id("pha", now)) for phase in found.phases)
        pipeline = Pipeline(new_id("pip", now), name, found.description, phases, now)
        _refuse(pipeline_problems(pipeline, await self._environment_names()))
        await self._add_pipeline(pipeline)
        return pipeline

    async def delete_pipeline(self, id: str, by: Principal) -> None:
        """Delete a pipeline. Raises NotFound or PipelineInUse.

        Features attached to it take no change until another is attached or they are detached on purpose: a deletion
        must not turn their next change into one that reaches everyone at once.
        """
        require_role(by, Role.OPERATOR, "delete a pipeline")
        for _ in range(ATTEMPTS):
            found = await self._pipeline(id)
            await self._refuse_in_use(found, "deleted")
            if await self._pipelines.remove(found):
                return
        raise Contention(f"Pipeline {id} is being changed by many others at once. Nothing was done; try again.")

    # --- features ---

    async def create_feature(
        self,
        key: str,
        kind: FeatureKind,
        description: str | None,
        spec: FeatureSpec,
        pipeline_id: str | None,
        by: Principal,
    ) -> Feature:
        """Create a feature; its spec is in force at once. Raises ValidationFailed, NotFound or AlreadyExists."""
        require_role(by, Role.OPERATOR, "create a feature")
        problems = [*key_problems(key, ("key",)), *description_problems(description, ("description",))]
        _refuse((*problems, *await self._spec_problems(spec, kind)))
        if pipeline_id is not None:
            await self._pipeline(pipeline_id)
        now = self._clock.now()
        feature = Feature(new_id("fea", now), key, kind, description, spec, pipeline_id, now)
        try:
            await self._features.add(feature)
        except DuplicateKey as taken:
            raise AlreadyExists(f"There is a feature with the key {key!r} already.") from taken
        await self._announcer.announce_other(feature.id, feature.revision)
        return feature

    async def attach_pipeline(self, feature_key: str, pipeline_id: str | None, by: Principal) -> Feature:
        """Attach a pipeline to a feature, or with None detach it. Raises NotFound or ReleaseInProgress."""
        require_role(by, Role.OPERATOR, "attach a pipeline")
        for _ in range(ATTEMPTS):
            found = await self._feature(feature_key)
            if pipeline_id is not None:
                await self._pipeline(pipeline_id)
            _refuse_under_way(await self._settled(await self._releases.latest_of(feature_key)))
            feature = structs.replace(found, pipeline_id=pipeline_id, revision=found.revision + 1)
            if await self._features.save(feature):
                return feature
        raise Contention(f"Feature {feature_key} is being changed by many others at once. Nothing was done; try again.")

    async def update_feature(
        self,
        key: str,
        spec: FeatureSpec,
        description: str | None,
        idempotency_key: str | None,
        by: Principal,
        *,
        expected_revision: int | None = None,
    ) -> tuple[Feature, Release]:
        """Change what a feature gives: start a release through its pipeline, or one that is completed at once.

        The same idempotency key again gives the release that it started. With an expected revision (see
        `feature_revision`), only that one is changed: the release has the number after the one that was looked at, and
        only one release gets a number. A pipeline that is attached in that very moment is for the next change. Raises
        NotFound, ValidationFailed or ReleaseInProgress.
        """
        require_role(by, Role.OPERATOR, "change a feature")
        feature = await self._feature(key)
        problems = [*_idempotency_key_problems(idempotency_key), *description_problems(description, ("description",))]
        _refuse((*problems, *await self._spec_problems(spec, feature.kind)))
        for attempt in range(ATTEMPTS):
            latest = await self._releases.latest_of(key)
            # Only now: a release that the same key has started meanwhile must not be taken for somebody else's.
            if idempotency_key is not None and (first := await self._releases.started_with(key, idempotency_key)):
                return feature, _same_change(first, spec, by)
            latest = await self._settled(latest)
            revision = feature_revision(feature, latest)
            _refuse(revision_problems(expected_revision, revision, "feature", ("expectedRevision",)))
            _refuse_under_way(latest)
            before = spec_in_force(feature, latest)
            if same_json(before, spec):
                _refuse([FieldProblem(("spec",), "It is the spec in force already: there is nothing to release.")])
            pipeline = await self._pipeline_for(feature, before, spec)
            try:
                release = await self._engine.start(
                    feature,
                    latest,
                    SpecChange(before, spec),
                    pipeline,
                    by.actor,
                    description=description,
                    start_key=idempotency_key,
                )
            except DuplicateKey:  # somebody else started one meanwhile: look again at what is under way, and attached
                await stand_back(attempt)
                feature = await self._feature(key)
                continue
            return feature, release
        raise Contention(f"Feature {key} is being changed by many others at once. Nothing was done; try again.")

    # --- what the methods share ---

    async def _pipeline_for(self, feature: Feature, before: FeatureSpec, after: FeatureSpec) -> Pipeline | None:
        if feature.pipeline_id is None or not needs_pipeline(before, after, await self._environments.all()):
            return None
        pipeline = await self._pipelines.get(feature.pipeline_id)
        if pipeline is None:
            _refuse(
                [
                    FieldProblem(
                        ("key",),
                        f"The pipeline attached to {feature.key} has been deleted. Attach another, or detach it "
                        "(pipelineId null) to change the feature for everyone at once.",
                    )
                ]
            )
        return pipeline

    async def _settled(self, latest: Release | None) -> Release | None:
        """A feature's latest release after the bake that is due has ended."""
        return latest if latest is None or latest.is_over else await self._engine.settle(latest)

    async def _refuse_in_use(self, pipeline: Pipeline, what: str) -> None:
        releases = await self._releases.under_way_in(pipeline.id)
        if releases:
            titles = ", ".join(release.title for release in releases[:5])
            raise PipelineInUse(
                f"{pipeline.name!r} cannot be {what} while releases go through it: {titles}. "
                "Duplicate it, or wait for their end.",
                releases,
            )

    async def _add_pipeline(self, pipeline: Pipeline) -> None:
        try:
            await self._pipelines.add(pipeline)
        except DuplicateKey as taken:
            raise AlreadyExists(f"There is another pipeline named {pipeline.name!r}.") from taken

    async def _pipeline(self, id: str) -> Pipeline:
        pipeline = await self._pipelines.get(id)
        if pipeline is None:
            raise NotFound(f"There is no pipeline {id!r}.", id)
        return pipeline

    async def _feature(self, key: str) -> Feature:
        feature = await self._features.by_key(key)
        if feature is None:
            raise NotFound(f"There is no feature {key!r}.", key)
        return feature

    async def _environment_names(self) -> list[str]:
        return [environment.name for environment in await self._environments.all()]

    async def _spec_problems(self, spec: FeatureSpec, kind: FeatureKind) -> list[FieldProblem]:
        problems = list(spec_problems(spec, kind, await self._environment_names(), ("spec",)))
        return problems or list(spec_size_problems(spec, ("spec",)))

    def _with_ids(self, drafts: tuple[PhaseDraft, ...], before: tuple[Phase, ...]) -> tuple[Phase, ...]:
        """Phases of a pipeline; one keeps its id while it keeps its name."""
        now = self._clock.now()
        ids = {phase.name: phase.id for phase in before}
        return tuple(
            Phase(
                id=ids.pop(draft.name, "") or new_id("pha", now),
                name=draft.name,
                rules=draft.rules,
                bake_time=draft.bake_time,
                required_approvals=draft.required_approvals,
                prevent_self_approval=draft.prevent_self_approval,
                remind_every=draft.remind_every,
            )
            for draft in drafts
        )


def _refuse(problems: Iterator[FieldProblem] | tuple[FieldProblem, ...] | list[FieldProblem]) -> None:
    """Raise ValidationFailed with all the problems, if there are any."""
    found = list(problems)
    if found:
        raise ValidationFailed(found)


def _refuse_under_way(latest: Release | None) -> None:
    """Raise ReleaseInProgress if a feature's latest release is under way."""
    if latest is not None and not latest.is_over:
        raise ReleaseInProgress(
            f"{latest.feature_key} has a release under way, #{latest.number} ({latest.status.value}). "
            "Wait for its end, or abort it.",
            latest,
        )


def _idempotency_key_problems(key: str | None) -> Iterator[FieldProblem]:
    if key is not None and not 0 < len(key) <= MAX_KEY:
        yield FieldProblem(("idempotencyKey",), f"Use 1 to {MAX_KEY} characters.")


def _same_change(first: Release, spec: FeatureSpec, by: Principal) -> Release:
    """The release that the key started, if it was the same person and the same change."""
    if first.started_by.id != by.actor.id or not same_json(first.change.after, spec):
        _refuse([FieldProblem(("idempotencyKey",), "It was used for another change; make a new key for each change.")])
    return first
