"""What Hedra does behind its API: creates assets, takes files, starts generations, reports their progress."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from hedra_provider.sandbox import catalogue, rejections, speech, validation
from hedra_provider.sandbox.answers import Answers
from hedra_provider.sandbox.media import Facts, Unreadable, reason
from hedra_provider.sandbox.records import Asset, Ending, Generation, JsonObject
from hedra_provider.sandbox.state import State
from hedra_provider.sandbox.store import StoreFull
from hedra_provider.sandbox.validation import SpeechRequest, VideoRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from hedra_provider.sandbox.signing import Signer
    from hedra_provider.sandbox.store import FileStore, Incoming
    from hedra_provider.sandbox.studio import Made, Studio

RENDER_WAIT_SECONDS = 2.0
"""How long an answer waits for a file that is due by the clock, in seconds of real time: with ``seconds=0`` a
short video is complete at the first poll. After that time the status is ``finalizing``."""

_RENDERS_KEPT_BYTES = 256 * 1024**2
_PREVIEW_MS = 2_000


class Hedra:
    """See the module.

    :param state: assets, generations, credits.
    :param store: the bytes of files.
    :param studio: makes and measures files.
    :param signer: makes URLs.
    :param save: saves the state for the next start; called after every change.
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
        """Answer ``POST /assets``.

        :param raw: the body.
        """
        request = validation.read_asset(raw)
        if request.workspace_id is not None:
            self.state.require_member(request.workspace_id)
        reserved = str(request.reserved_asset_id) if request.reserved_asset_id else None
        if reserved is not None and self.state.is_taken(reserved):
            raise rejections.already("ALREADY_EXISTS", f"Asset {reserved} already exists.")
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
        """Find the asset that an upload is for.

        :param asset_id: its id.
        :raises Rejection: 404 for an unknown asset, 400 for a generated one.
        """
        asset = self.state.assets.get(asset_id)
        if asset is None or asset.type == "voice":
            raise rejections.not_found("Asset")
        if asset.generation_id is not None:
            raise rejections.bad_request("A generated asset takes no upload.")
        return asset

    async def take_file(self, asset: Asset, incoming: Incoming, media_type: str) -> None:
        """Measure an upload and make it the asset's file.

        :param asset: takes the file.
        :param incoming: the file, received whole.
        :param media_type: what the file is served as.
        :raises Rejection: 400 for an empty file, 422 for a file that is not of the asset's type.
        """
        if not incoming.size:
            raise rejections.bad_request("The uploaded file is empty.")
        await incoming.complete()
        try:
            facts = await self._studio.measure(incoming.path, asset.type)
        except Unreadable as error:
            raise rejections.unprocessable(["body", "file"], str(error)) from None
        asset.file, asset.size = incoming.keep(), incoming.size
        asset.facts, asset.media_type = facts, media_type
        self._save()

    def assets(self, asset_type: str, ids: set[str] | None) -> list[JsonObject]:
        """Answer ``GET /assets``.

        :param asset_type: the type to list.
        :param ids: only these; None lists all.
        """
        if asset_type == "voice":
            rows = self.answers.voices()
        else:
            rows = [self.answers.asset(asset) for asset in self.state.visible_assets(asset_type)]
        return [row for row in rows if ids is None or row["id"] in ids]

    async def asset_with_file(self, asset_id: str) -> Asset | None:
        """Find the asset behind a file URL. The preview of a voice is made at the first request for it.

        :param asset_id: its id.
        """
        asset = self.state.assets.get(asset_id)
        voice = next((voice for voice in catalogue.VOICES if voice["id"] == asset_id), None)
        if asset is None and voice is not None:
            path = self.store.path(f"part-{uuid4().hex}")
            text = f"Hello, I am {voice['name']}."
            await asyncio.to_thread(speech.synthesise_speech, path, text, _PREVIEW_MS)
            name, size = await asyncio.to_thread(self.store.adopt, path)
            self.store.count(size)
            asset = Asset(asset_id, "voice", voice["name"], 0.0, file=name, media_type="audio/wav", size=size)
            self.state.assets[asset_id] = asset
        return asset

    # Generations

    def submit(self, raw: Any, ending: Ending | None) -> JsonObject:
        """Answer ``POST /generations``.

        :param raw: the body.
        :param ending: how the generations will end by a fault; None, as usual.
        """
        request = validation.read_submit(raw)
        ids, asset_ids = _ids(request)
        duplicates = [self.state.generations[key] for key in ids if key in self.state.generations]
        mode = self.state.options.duplicate_id
        duplicate_of = None
        if mode == "ignore":
            duplicate_of = self.state.first_requested(ids)
            ids = [str(uuid4()) for _ in ids]
            asset_ids = [str(uuid4()) for _ in asset_ids]
        elif duplicates:
            return self._duplicate(duplicates, raw, mode, whole=len(duplicates) == len(ids))
        for asset_id in asset_ids:
            if self.state.is_taken(asset_id):
                raise rejections.already("ALREADY_EXISTS", f"Asset {asset_id} already exists.")
        plan = validation.plan(request, self._usable)
        started = self.state.submit(plan, raw, ids, asset_ids, request.workspace_id, duplicate_of, ending)
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
            raise rejections.already(kind, f"Generation {first.id}: {kind}", status=400)
        raise rejections.already("ALREADY_EXISTS", f"Generation {first.id} already exists.")

    def _usable(self, asset_id: str) -> Asset | None:
        """Find an asset for a generation. A generated one is usable when it is complete."""
        asset = self.state.assets.get(asset_id)
        generation = self.state.generations.get(asset.generation_id or "") if asset else None
        if generation is not None and self.state.phase(generation).status != "complete":
            raise rejections.bad_request(f"Asset {asset_id} is not ready yet.")
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
        if not generation.ends_by_fault:
            self._studio.make(job, lambda made: self._made(generation, made))

    def _made(self, generation: Generation, made: asyncio.Future[Made]) -> None:
        if made.cancelled() or self._studio.closed:
            # The sandbox stops. With a state file, the next start makes the file.
            return
        if self.state.generations.get(generation.id) is not generation:
            # The sandbox was reset.
            return
        error = made.exception()
        if error is not None:
            why = str(error) if isinstance(error, (StoreFull, Unreadable)) else reason(error)
            message = f"The sandbox could not make the file: {why}"
            self.state.fail(generation, {"type": "INTERNAL", "message": message})
        else:
            asset = self.state.assets[generation.asset_id]
            asset.file, asset.size = made.result()
        self._save()

    def resume(self) -> None:
        """Start again the jobs that a restart interrupted."""
        for generation in self.state.generations.values():
            if not self.state.has_file(generation):
                self._start(generation)

    async def wait_for_files(self, generations: list[Generation]) -> None:
        """Wait up to :data:`RENDER_WAIT_SECONDS` for files that are due by the clock.

        :param generations: what an answer is about.
        """
        now = self.state.clock.now()
        jobs = {
            generation.job
            for generation in generations
            if generation.ends_at <= now
            and not generation.ends_by_fault
            and not self.state.has_file(generation)
        }
        if jobs:
            await self._studio.wait(jobs, RENDER_WAIT_SECONDS)

    def generation(self, generation_id: str) -> Generation:
        """Find a generation.

        :param generation_id: its id.
        :raises Rejection: 404 for an unknown one.
        """
        generation = self.state.generations.get(generation_id)
        if generation is None:
            raise rejections.not_found("Generation")
        return generation

    # Back door

    def reset(self) -> None:
        """Forget everything but the key. Finished files stay as a cache: equal jobs give equal files."""
        self.state.clear()
        if self.store.used > _RENDERS_KEPT_BYTES:
            self._studio.forget()
            self.store.clear()
        self._save()


def _ids(request: VideoRequest | SpeechRequest) -> tuple[list[str], list[str]]:
    """Ids of the generations and of their assets; new ones where the client reserved none."""
    size = request.batch_size if isinstance(request, VideoRequest) else 1
    generations = _some_ids("generation_id", request.generation_id, request.generation_ids, size)
    assets = _some_ids("reserved_asset_id", request.reserved_asset_id, request.reserved_asset_ids, size)
    if size > 1 and generations is None:
        raise rejections.bad_request("generation_ids is required when batch_size is greater than 1.")
    return (
        generations or [str(uuid4()) for _ in range(size)],
        assets or [str(uuid4()) for _ in range(size)],
    )


def _some_ids(name: str, one: UUID | None, many: list[UUID] | None, size: int) -> list[str] | None:
    if one is not None and many is not None:
        raise rejections.bad_request(f"{name} and {name}s are mutually exclusive.")
    if one is not None and size > 1:
        raise rejections.bad_request(f"Use {name}s when batch_size is greater than 1.")
    ids = [one] if one is not None else many
    if ids is None:
        return None
    if len(ids) != size:
        raise rejections.bad_request(f"{name}s has {len(ids)} entries; batch_size is {size}.")
    if len(set(ids)) != len(ids):
        raise rejections.bad_request(f"{name}s must not hold an id twice.")
    return [str(key) for key in ids]
