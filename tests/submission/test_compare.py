"""Whether two requests ask for the same thing."""

from __future__ import annotations

from typing import Any

import pytest

from hedra_provider.api.responses import Model
from hedra_provider.submission.compare import differing_fields

AVATAR_ID, AVATAR_SLUG = "26f0fc66-152b-40ab-abed-76c43df99bc8", "together/hedra-avatar"
INPUTS = {"text_prompt": "p", "resolution": "720p", "duration_ms": 5000}
OURS = {"type": "video", "model_slug": AVATAR_SLUG, "audio_id": "x", "generated_video_inputs": INPUTS}


def inputs(**changes: Any) -> dict[str, Any]:
    return OURS | {"generated_video_inputs": INPUTS | changes}


@pytest.mark.parametrize(
    ("theirs", "differing"),
    [
        (OURS, ()),
        (OURS | {"batch_size": 1, "generation_id": "g", "reserved_asset_id": "a", "name": "n"}, ()),
        (OURS | {"seed": None, "workspace_id": "w"}, ()),
        (OURS | {"model_slug": None, "ai_model_id": AVATAR_ID}, ()),
        (OURS | {"model_slug": None}, ()),
        (OURS | {"model_slug": "together/hedra-character-3"}, ("model",)),
        (OURS | {"model_slug": None, "ai_model_id": "ab372b84-432f-44f5-bacc-c2542465f712"}, ("model",)),
        (OURS | {"audio_id": None}, ("audio_id",)),
        (OURS | {"audio_generation": {"text": "t"}}, ("audio_generation",)),
        (OURS | {"end_keyframe_url": "u"}, ("end_keyframe_url",)),
        (OURS | {"reference_image_ids": ["i"]}, ("reference_image_ids",)),
        (OURS | {"generated_video_inputs": None}, ("generated_video_inputs",)),
        (inputs(text_prompt="q"), ("generated_video_inputs.text_prompt",)),
        (inputs(seed=3), ("generated_video_inputs.seed",)),
        (inputs(duration_ms="5000", enhance_prompt=False), ()),
        (inputs(duration_ms=None), ("generated_video_inputs.duration_ms",)),
        (inputs(enhance_prompt=True), ("generated_video_inputs.enhance_prompt",)),
    ],
)
def test_requests_are_compared_by_what_they_ask_for(theirs: dict[str, Any], differing: tuple[str, ...]):
    assert differing_fields(OURS, theirs) == differing


@pytest.mark.parametrize(
    ("ours", "theirs", "differing"),
    [
        ({"text": "t"}, {"text": "t", "speed": 1.0, "stability": 1.0, "language": "auto"}, ()),
        ({"text": "t"}, {"text": "t", "speed": 0.8}, ("speed",)),
        ({"text": "t", "speed": "0.8"}, {"text": "t", "speed": 0.8}, ()),
        ({"text": "t", "speed": 0.8}, {"text": "t"}, ("speed",)),
        ({"text": "1"}, {"text": "1.0"}, ("text",)),
        ({"text": "t"}, {"text": "u"}, ("text",)),
    ],
)
def test_speech(ours: dict[str, Any], theirs: dict[str, Any], differing: tuple[str, ...]):
    assert differing_fields(ours, theirs) == differing


def test_a_slug_that_the_catalogue_renamed_is_the_same_model():
    renamed = Model(id=AVATAR_ID, slug="hedra/avatar-2")
    ours = OURS | {"model_slug": "hedra/avatar-2"}
    assert differing_fields(ours, OURS, [renamed]) == ()
    assert differing_fields(ours, OURS) == ("model",)


@pytest.mark.parametrize("theirs", [["a", "b"], ["a"], ["b", "a"]])
def test_a_tuple_is_sent_as_a_list(theirs: list[str]):
    same = theirs == ["a", "b"]
    assert differing_fields({"reference_image_ids": ("a", "b")}, {"reference_image_ids": theirs}) == (
        () if same else ("reference_image_ids",)
    )
