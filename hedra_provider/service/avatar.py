"""The arguments of a video of a portrait that speaks, the same for every version of Hedra's API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hedra_provider.api.errors import HedraValueError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class AvatarRequest:
    """
    The arguments that make the request, besides the files. Their defaults are defined here only.

    ``HedraAvatarVideoOperator`` documents each of them.
    """

    text: str | None = None
    voice: str | Mapping[str, Any] | None = None
    voice_id: str | None = None
    language: str = "auto"
    speed: float = 1.0
    stability: float = 1.0
    text_prompt: str = "A person speaking to the camera"
    model: str = "avatar"
    aspect_ratio: str = "9:16"
    resolution: str = "720p"
    duration_ms: int | None = None
    audio_start_ms: int | None = None
    seed: int | None = None
    name: str | None = None
    extra_request: Mapping[str, Any] | None = None

    @property
    def voice_given(self) -> str | None:
        """
        The voice of the text, for messages; None if none is given.

        :raises HedraValueError: If ``voice`` and ``voice_id`` are both given.
        """
        if self.voice and self.voice_id:
            raise HedraValueError(
                "voice and voice_id are both given.",
                param="voice",
                remedy="Give one of them. Nothing was submitted.",
            )
        return self.voice_id or (str(self.voice) if self.voice else None)


@dataclass(frozen=True, kw_only=True)
class PricedRequest:
    """
    A request whose cost is estimated: a video of a portrait that speaks, or any other body.

    :param avatar: The arguments of the video. Its voice and portrait need not be known.
    :param audio: The video's audio: an asset id, a path or a URI. Default: None, a text is spoken.
    :param body: The body of any other request.
    """

    avatar: AvatarRequest | None = None
    audio: str | None = None
    body: Mapping[str, Any] | None = None
