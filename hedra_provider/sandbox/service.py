"""What Hedra does when it is asked: create assets, take files, start generations, tell how they fare."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from hedra_provider.sandbox import catalogue, media, refusals, validation
from hedra_provider.sandbox.answers import Answers
from hedra_provider.sandbox.media import Facts
from hedra_provider.sandbox.state import Asset, Generation, JsonObject, State
from hedra_provider.sandbox.validation import SpeechRequest, VideoRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from hedra_provider.sandbox.files import Signer
    from hedra_provider.sandbox.store import FileStore, Incoming
    from hedra_provider.sandbox.studio import Made, Studio

RENDER_WAIT_SECONDS = 2.0
"""How long an answer waits for a file that the clock says is done: with ``seconds=0`` a short video is
complete at the first look. After that it says ``finalizing``."""

_RENDERS_KEPT_BYTES = 256 * 1024**2
_PREVIEW_MS = 2_000


class Hedra:
    """See the module.

    :param state: assets, generations, credits.
    :param store: bytes.
    :param studio: makes files.
    :param signer: makes URLs.
    :param save: keeps the state over a restart; called after every change.
    """

    def __init__(
        self, state: State, store: FileStore, studio: Studio, signer: Signer, save: Callable[[], None]
    ) -> None:
        self.state = state
        self.store = store
        self.answers = Answers(state, signer)
        self._studio = studio
        self._signer = signer
        self._save = save

    # Assets

    def create_asset(self, raw: Any) -> JsonObject:
        """``POST /assets``."""
        request = validation.read_asset(raw)
        if request.workspace_id is not None:
            self.state.member(request.workspace_id)
        reserved = str(request.reserved_asset_id) if request.reserved_asset_id else None
        if reserved is not None and self.state.is_taken(reserved):
            raise refusals.already("ALREADY_EXISTS", f"Asset {reserved} already exists.")
        asset = Asset(
            id=reserved or str(uuid4()),
            type=request.type,
            name=request.name,
            created_at=self.state.clock.now(),
            workspace_id=request.workspace_id,
        )
        self.state.assets[asset.id] = asset
        self._save()
        answer = {
            "id": asset.id,
            "name": asset.name,
            "type": asset.type,
            "workspace_id": request.workspace_id,
            "reserved_asset_id": reserved,
            "upload_url": None,
        }
        if asset.type == "video":
            answer["upload_url"] = self._signer.url(f"/uploads/{asset.id}", method="PUT")
        return answer

    def uploadable(self, asset_id: str) -> Asset:
        """The asset that a file is for."""
        asset = self.state.assets.get(asset_id)
        if asset is None or asset.type == "voice":
            raise refusals.not_found("Asset")
        if asset.generation_id is not None:
            raise refusals.bad_request("A generated asset takes no upload.")
        return asset

    async def take_file(self, asset: Asset, incoming: Incoming, media_type: str) -> None:
        """Measure an upload and make it the asset's file."""
        if not incoming.size:
            raise refusals.bad_request("The uploaded file is empty.")
        await incoming.complete()
        measure = media.measure if self.state.options.media else media.guess
        try:
            facts = await asyncio.to_thread(measure, incoming.path, asset.type)
        except media.Unreadable as error:
            raise refusals.unprocessable(["body", "file"], str(error)) from None
        asset.file, asset.size = incoming.keep(), incoming.size
        asset.facts, asset.media_type = facts, media_type
        self._save()

    def assets(self, asset_type: str, ids: set[str] | None) -> list[JsonObject]:
        """``GET /assets``."""
        if asset_type == "voice":
            rows = self.answers.voices()
        else:
            rows = [self.answers.asset(asset) for asset in self.state.visible_assets(asset_type)]
        return [row for row in rows if ids is None or row["id"] in ids]

    async def file_of(self, asset_id: str) -> Asset | None:
        """The asset behind a file URL; the preview of a voice is made when it is first asked for."""
        asset = self.state.assets.get(asset_id)
        voice = next((voice for voice in catalogue.VOICES if voice["id"] == asset_id), None)
        if asset is None and voice is not None:
            path = self.store.path(f"part-{uuid4().hex}")
            await asyncio.to_thread(
                media.synthesise_speech, path, f"Hello, I am {voice['name']}.", _PREVIEW_MS
            )
            name, size = await asyncio.to_thread(self.store.adopt, path)
            self.store.count(size)
            asset = Asset(asset_id, "voice", voice["name"], 0.0, file=name, media_type="audio/wav", size=size)
            self.state.assets[asset_id] = asset
        return asset

    # Generations

    def submit(self, raw: Any, error: JsonObject | None) -> JsonObject:
        """``POST /generations``.

        :param raw: the body.
        :param error: in which the generations are to end.
        """
        request = validation.read_submit(raw)
        asked, asset_ids = _ids(request)
        duplicates = [self.state.generations[key] for key in asked if key in self.state.generations]
        mode = self.state.options.duplicate_id
        duplicate_of = None
        if mode == "ignore":
            duplicate_of = self.state.first_asked(asked)
            asked = [str(uuid4()) for _ in asked]
            asset_ids = [str(uuid4()) for _ in asset_ids]
        elif duplicates:
            return self._duplicate(duplicates, raw, mode, whole=len(duplicates) == len(asked))
        for asset_id in asset_ids:
            if self.state.is_taken(asset_id):
                raise refusals.already("ALREADY_EXISTS", f"Asset {asset_id} already exists.")
        plan = validation.plan(request, self._usable)
        started = self.state.submit(plan, raw, asked, asset_ids, request.workspace_id, duplicate_of, error)
        for generation in started:
            self._start(generation, request.name)
        self._save()
        return self.answers.submitted(started, new=True)

    def _duplicate(
        self, existing: list[Generation], raw: JsonObject, mode: str, *, whole: bool
    ) -> JsonObject:
        first = existing[0]
        self.state.record_submission(first, raw, 0, duplicate_of=first.id)
        if mode == "return" and whole:
            return self.answers.submitted(existing, new=False)
        if mode == "error":
            running = self.state.phase(first).status not in ("complete", "error")
            kind = "ALREADY_IN_PROGRESS" if running else "ALREADY_EXISTS"
            raise refusals.already(kind, f"Generation {first.id}: {kind}", status=400)
        raise refusals.already("ALREADY_EXISTS", f"Generation {first.id} already exists.")

    def _usable(self, asset_id: str) -> Asset | None:
        """An asset for a generation; a generated one counts when it is complete."""
        asset = self.state.assets.get(asset_id)
        generation = self.state.generations.get(asset.generation_id or "") if asset else None
        if generation is not None and self.state.phase(generation).status != "complete":
            raise refusals.bad_request(f"Asset {asset_id} is not ready yet.")
        return asset

    def _start(self, generation: Generation, name: str | None = None) -> None:
        job = generation.job
        if generation.asset_id not in self.state.assets:
            self.state.assets[generation.asset_id] = Asset(
                id=generation.asset_id,
                type=generation.asset_type,
                name=name or f"Generation {generation.id}",
                created_at=generation.created_at,
                workspace_id=generation.workspace_id,
                media_type="video/mp4" if generation.type == "video" else "audio/wav",
                facts=Facts(job.width, job.height, job.duration_ms),
                generation_id=generation.id,
            )
        if generation.error is None:
            self._studio.make(job, lambda made: self._made(generation, made))

    def _made(self, generation: Generation, made: asyncio.Future[Made]) -> None:
        if made.cancelled() or self._studio.closed:
            # The sandbox ends: with a state file, the next one makes it.
            return
        if self.state.generations.get(generation.id) is not generation:
            # The sandbox was reset.
            return
        error = made.exception()
        if error is not None:
            message = f"The sandbox could not make the file: {error}"
            self.state.fail(generation, {"type": "INTERNAL", "message": message})
        else:
            asset = self.state.assets[generation.asset_id]
            asset.file, asset.size = made.result()
        self._save()

    def resume(self) -> None:
        """Start again what a restart has interrupted."""
        for generation in self.state.generations.values():
            if not self.state.has_file(generation):
                self._start(generation)

    async def wait_for_files(self, generations: list[Generation]) -> None:
        """Wait a moment for files that are due, so that short ones are complete at the first look."""
        now = self.state.clock.now()
        jobs = {
            generation.job
            for generation in generations
            if generation.ends_at <= now and not generation.error and not self.state.has_file(generation)
        }
        if jobs:
            await self._studio.wait(jobs, RENDER_WAIT_SECONDS)

    def generation(self, generation_id: str) -> Generation:
        """Find a generation."""
        generation = self.state.generations.get(generation_id)
        if generation is None:
            raise refusals.not_found("Generation")
        return generation

    # Back door

    def reset(self) -> None:
        """Forget everything but the key. Finished renders stay as a cache: equal jobs give equal files."""
        self.state.clear()
        if self.store.used > _RENDERS_KEPT_BYTES:
            self._studio.forget()
            self.store.clear()
        self._save()


def _ids(request: VideoRequest | SpeechRequest) -> tuple[list[str], list[str]]:
    """Ids of the generations and of their assets, made up where the client reserved none."""
    size = request.batch_size if isinstance(request, VideoRequest) else 1
    generations = _some_ids("generation_id", request.generation_id, request.generation_ids, size)
    assets = _some_ids("reserved_asset_id", request.reserved_asset_id, request.reserved_asset_ids, size)
    if size > 1 and generations is None:
        raise refusals.bad_request("generation_ids is required when batch_size is greater than 1.")
    return (
        generations or [str(uuid4()) for _ in range(size)],
        assets or [str(uuid4()) for _ in range(size)],
    )


def _some_ids(name: str, one: UUID | None, many: list[UUID] | None, size: int) -> list[str] | None:
    if one is not None and many is not None:
        raise refusals.bad_request(f"{name} and {name}s are mutually exclusive.")
    if one is not None and size > 1:
        raise refusals.bad_request(f"Use {name}s when batch_size is greater than 1.")
    ids = [one] if one is not None else many
    if ids is None:
        return None
    if len(ids) != size:
        raise refusals.bad_request(f"{name}s has {len(ids)} entries; batch_size is {size}.")
    if len(set(ids)) != len(ids):
        raise refusals.bad_request(f"{name}s must not hold an id twice.")
    return [str(key) for key in ids]
