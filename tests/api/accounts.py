"""An account of the sandbox to submit from."""

from __future__ import annotations

import asyncio
import io
import uuid
from typing import TYPE_CHECKING, Any

from hedra_provider.api.client import AsyncHedraClient, HedraClient
from hedra_provider.api.sized_file import SizedFile
from hedra_provider.submission import identity
from hedra_provider.submission.submit import submit_once
from hedra_provider.transfer.upload import store_asset
from tests.media import png, wav

if TYPE_CHECKING:
    from hedra_provider.testing import Sandbox


NAMESPACE = uuid.UUID(int=7)


AVATAR = "together/hedra-avatar"


class Account:
    """A client of the sandbox, sync or async, whose pauses are noted and not taken."""

    def __init__(self, sandbox: Sandbox, kind: str) -> None:
        self.sandbox, self.kind = sandbox, kind
        self.pauses: list[float] = []
        self.notes: list[tuple[int, str]] = []
        """What submits notified of, each with the number of pauses before it."""
        with self._sync() as client:
            self.image = self._store(client, png(), "image")
            self.audio = self._store(client, wav(0.5), "audio")

    def _store(self, client: HedraClient, content: bytes, kind: str) -> str:
        return client.run(store_asset(SizedFile(io.BytesIO(content), len(content), kind), kind)).asset_id

    def _sync(self) -> HedraClient:
        options = {"base_url": self.sandbox.base_url, "sleep": self.pauses.append, "timeout": 5}
        return HedraClient(self.sandbox.api_key, **options)

    def run(self, call: Any) -> Any:
        if self.kind == "sync":
            with self._sync() as client:
                return client.run(call)

        async def sleep(seconds: float) -> None:
            self.pauses.append(seconds)

        async def go() -> Any:
            options = {"base_url": self.sandbox.base_url, "sleep": sleep, "timeout": 5}
            async with AsyncHedraClient(self.sandbox.api_key, **options) as client:
                return await client.run(call)

        return asyncio.run(go())

    def body(self, prompt: str = "A person", **fields: Any) -> dict[str, Any]:
        inputs = {"text_prompt": prompt, "aspect_ratio": "9:16", "resolution": "540p"}
        body = {"type": "video", "model_slug": AVATAR}
        body |= {"start_keyframe_id": self.image, "audio_id": self.audio}
        return body | fields | {"generated_video_inputs": inputs}

    def submit(
        self, body: dict[str, Any] | None = None, *, key: str = "row-1", attempt_group: str = "run-1"
    ) -> Any:
        def notify(event: str) -> None:
            self.notes.append((len(self.pauses), event))

        return self.run(submit_once(body or self.body(), [ids_of(key, attempt_group)], notify=notify))[0]

    @property
    def paid(self) -> list[dict[str, Any]]:
        return [row for row in self.sandbox.submissions if row["credits"]]


def ids_of(key: str = "row-1", attempt_group: str = "run-1"):
    return identity.generation_ids(NAMESPACE, key, attempt_group=attempt_group)


def ids(key: str = "row-1"):
    return lambda n: ids_of(key)(n)[0]
