"""Writes assets, generations, voices and credits as Hedra's schema has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hedra_provider.sandbox import catalogue
from hedra_provider.sandbox.clock import iso
from hedra_provider.sandbox.records import Asset, Generation, JsonObject
from hedra_provider.sandbox.state import State

if TYPE_CHECKING:
    from hedra_provider.sandbox.signing import Signer


class Answers:
    """See the module.

    :param state: assets, generations, credits.
    :param signer: makes the URLs, new ones for every answer.
    """

    def __init__(self, state: State, signer: Signer) -> None:
        self._state = state
        self._signer = signer

    def submitted(self, generations: list[Generation], *, new: bool) -> JsonObject:
        """Write the answer of ``POST /generations``: the request, and the progress of its generations.

        :param generations: the variations.
        :param new: True shows them as queued, however fast they will be.
        """
        results = [self._progress(generation) for generation in generations]
        if new:
            results = [result | {"status": "queued", "progress": 0.0} for result in results]
        first = generations[0]
        answer = {**first.request, **results[0]}
        if first.type == "video":
            answer |= {
                "batch_generation_id": first.batch_id,
                "batch_results": [{**result, "error": None} for result in results],
            }
        return answer

    def _progress(self, generation: Generation) -> JsonObject:
        phase = self._state.phase(generation)
        return {
            "id": generation.id,
            "asset_id": generation.asset_id,
            "created_at": iso(generation.created_at),
            "status": phase.status,
            "progress": phase.progress,
            "eta_sec": phase.eta_sec,
        }

    def status(self, generation: Generation) -> JsonObject:
        """Write the answer of ``GET /generations/{id}/status``."""
        answer = self._progress(generation)
        answer |= {
            "type": generation.asset_type,
            "error": None,
            "error_message": None,
            "url": None,
            "download_url": None,
            "streaming_url": None,
            "workspace_id": generation.workspace_id,
        }
        if answer["status"] == "complete":
            asset = self._state.assets[generation.asset_id]
            answer |= {
                "url": self.file_url(asset),
                "download_url": self.download_url(asset),
                "streaming_url": self.file_url(asset) if asset.type == "video" else None,
            }
        elif answer["status"] == generation.final_status:
            answer |= _error(generation)
        return answer

    def row(self, generation: Generation) -> JsonObject:
        """Write one row of ``GET /generations``."""
        answer = self._progress(generation)
        del answer["asset_id"]
        answer |= {
            "type": generation.asset_type,
            "input": generation.request,
            "estimated_completion_at": iso(generation.ends_at),
            "credit_cost": generation.credits,
            "batch_generation_id": generation.batch_id,
            "audio_start_ms": generation.job.audio_start_ms or None,
            "asset": None,
            "error": None,
            "error_message": None,
        }
        if answer["status"] == "complete":
            answer["asset"] = self.asset(self._state.assets[generation.asset_id])
        elif answer["status"] == generation.final_status:
            answer |= _error(generation)
        return answer

    def asset(self, asset: Asset) -> JsonObject:
        """Write one asset of any type."""
        generation = self._state.generations.get(asset.generation_id or "")
        return _asset(
            asset.id, asset.type, asset.name, asset.created_at,
            self._uploaded(asset) if generation is None else self._generated(asset, generation),
        )  # fmt: skip

    def _uploaded(self, asset: Asset) -> JsonObject:
        inner: JsonObject = {
            "type": f"uploaded_{asset.type}",
            "url": self.file_url(asset) if asset.file else "",
        }
        if asset.type in ("image", "video"):
            inner |= {"width": asset.facts.width, "height": asset.facts.height}
        if asset.type in ("audio", "video"):
            inner["duration_ms"] = asset.facts.duration_ms
        if asset.type == "audio":
            inner["transcriptions"] = None
        if asset.type == "video":
            inner |= {"download_url": self.download_url(asset), "streaming_url": None, "poster_url": None}
        return inner

    def _generated(self, asset: Asset, generation: Generation) -> JsonObject:
        request = generation.request
        url = self.file_url(asset)
        if asset.type == "audio":
            keys = ("model_slug", "voice_id", "stability", "speed", "language")
            inputs = {"text_prompt": request["text"], **{key: request.get(key) for key in keys}}
            return {
                "type": "generated_audio",
                "duration_ms": asset.facts.duration_ms,
                "url": url,
                "generated_audio_inputs": inputs,
                "transcriptions": None,
            }
        return {
            "type": "generated_video",
            "width": asset.facts.width,
            "height": asset.facts.height,
            "duration_ms": asset.facts.duration_ms,
            "url": url,
            "download_url": self.download_url(asset),
            "streaming_url": url,
            "poster_url": None,
            "preview_url": url,
            "generated_video_inputs": request["generated_video_inputs"],
            "keyframe_start": self._maybe(generation.image_id),
            "keyframe_end": None,
            "audio": self._maybe(generation.audio_id),
        }

    def _maybe(self, asset_id: str | None) -> JsonObject | None:
        asset = self._state.assets.get(asset_id or "")
        return None if asset is None else self.asset(asset)

    def voices(self) -> list[JsonObject]:
        """Write the answer of ``GET /voices``."""
        return [
            _asset(
                voice["id"], "voice", voice["name"], 1_735_689_600,
                {
                    "type": "voice",
                    "external_id": None,
                    "labels": [{"name": name, "value": value} for name, value in voice["labels"].items()],
                    "preview_url": self._signer.url(f"/files/{voice['id']}"),
                    "source": "sandbox",
                },
            )
            for voice in catalogue.VOICES
        ]  # fmt: skip

    def credits(self) -> JsonObject:
        """Write the answer of ``GET /billing/credits``."""
        self._state.settle()
        pools = dict(self._state.pools)
        default = pools.pop(None)
        workspaces: dict[Any, Any] = {
            name: {
                "used": pool.used,
                "allocated": pool.allocated,
                "available": pool.available,
                "api_usd_micros": None,
                "api_credits": None,
                "api_consumed_usd_micros": None,
            }
            for name, pool in pools.items()
        }
        return {
            "remaining": default.available,
            "expiring": 0,
            "used": default.used,
            "workspace_credits": {name: pool.available for name, pool in pools.items()} if pools else None,
            "workspace_credit_pool": workspaces or None,
        }

    def file_url(self, asset: Asset) -> str:
        """Make a URL that shows a file."""
        return self._signer.url(f"/files/{asset.id}")

    def download_url(self, asset: Asset) -> str:
        """Make a URL that saves a file under the asset's name."""
        suffix = {"video": ".mp4", "audio": ".wav"}.get(asset.type, "")
        return self._signer.url(f"/files/{asset.id}", save_as=asset.name.removesuffix(suffix) + suffix)


def _asset(asset_id: str, asset_type: str, name: str, created_at: float, inner: JsonObject) -> JsonObject:
    return {
        "id": asset_id,
        "type": asset_type,
        "name": name,
        "thumbnail_url": None,
        "description": None,
        "is_favorite": False,
        "recent": False,
        "created_at": iso(created_at),
        "favorited_at": None,
        "asset": inner,
    }


def _error(generation: Generation) -> JsonObject:
    """The schema has two shapes for an error: an object, or only a message."""
    error = generation.error
    if error is None:
        return {}
    if "type" in error:
        return {"error": error}
    return {"error_message": error.get("error_message", "Generation failed")}
