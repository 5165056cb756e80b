"""Bad input is found before anything is sent, and the message names field, value and remedy."""

from __future__ import annotations

from typing import Any

import pytest

from hedra_provider.api.errors import HedraValueError
from hedra_provider.api.requests import (
    avatar_video_request,
    check_against_model,
    deep_merge,
    find_model,
    is_uuid,
    model_fields,
    require_one_voice,
    require_voice,
)
from hedra_provider.api.responses import Model

A, B = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
AVATAR = Model(
    id="26f0fc66-152b-40ab-abed-76c43df99bc8",
    slug="together/hedra-avatar",
    name="Hedra Avatar",
    aspect_ratios=["9:16", "1:1"],
    resolutions=["540p", "720p"],
    max_duration_ms=600_000,
    requires_audio_input=True,
    max_prompt_length=20,
)


def request(**changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "image_id": A,
        "audio_id": B,
        "text_prompt": "A person",
        "model": {"model_slug": "together/hedra-avatar"},
        "aspect_ratio": "9:16",
        "resolution": "720p",
    }
    return avatar_video_request(**(fields | changes))


def test_the_body_of_the_guide():
    assert request() == {
        "type": "video",
        "model_slug": "together/hedra-avatar",
        "start_keyframe_id": A,
        "audio_id": B,
        "generated_video_inputs": {"text_prompt": "A person", "aspect_ratio": "9:16", "resolution": "720p"},
    }


def test_inline_speech():
    body = request(audio_id=None, text="Hello", voice_id=A, speed="1.1")
    assert body["audio_generation"] == {
        "type": "text_to_speech",
        "voice_id": A,
        "text": "Hello",
        "language": "auto",
        "speed": 1.1,
        "stability": 1.0,
    }
    assert "audio_id" not in body


def test_newer_fields_pass_through():
    body = request(extra_request={"brand_new": 1, "generated_video_inputs": {"cfg_scale": 0.5}})
    assert body["brand_new"] == 1
    assert body["generated_video_inputs"]["cfg_scale"] == 0.5
    assert body["generated_video_inputs"]["resolution"] == "720p"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"audio_id": None, "text": "x", "voice_id": A, "speed": 3}, r"speed.*1\.2.*got 3"),
        ({"audio_id": None, "text": "x", "voice_id": "Anna"}, "voice_id.*UUID.*Anna"),
        ({"image_id": "portrait"}, "start_keyframe_id.*UUID.*portrait"),
        ({"aspect_ratio": "tall"}, "aspect_ratio.*tall"),
        ({"resolution": " "}, "resolution.*empty"),
        ({"duration_ms": 0}, "duration_ms.*greater than 0"),
        ({"duration_ms": "long"}, "duration_ms.*long"),
        ({"text_prompt": ""}, "text_prompt.*empty"),
        ({"name": "x" * 300}, "name.*255"),
    ],
)
def test_bad_input_is_named(changes: dict[str, Any], says: str):
    with pytest.raises(HedraValueError, match=f"(?s){says}"):
        request(**changes)


@pytest.mark.parametrize(
    ("voice", "says"),
    [
        ((B, "x", A), "audio and text are both given"),
        ((None, None, None), "Neither audio nor text"),
        ((None, "x", None), "without voice_id"),
    ],
)
def test_a_video_has_exactly_one_voice(voice: tuple[str | None, ...], says: str):
    with pytest.raises(HedraValueError, match=says):
        require_one_voice(*voice)


def test_speech_of_a_body_needs_a_voice():
    speech = {"text": "Good morning"}
    body = request(audio_id=None, extra_request={"audio_generation": speech})
    with pytest.raises(HedraValueError, match=r"audio_generation\.voice_id"):
        require_voice(body)
    require_voice(request(audio_id=None, extra_request={"audio_generation": speech | {"voice_id": A}}))


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("avatar", {"model_slug": "together/hedra-avatar"}),
        ("Character-3", {"model_slug": "together/hedra-character-3"}),
        ("omnia", {"ai_model_id": "ab372b84-432f-44f5-bacc-c2542465f712"}),
        ("some/slug", {"model_slug": "some/slug"}),
        (A, {"ai_model_id": A}),
    ],
)
def test_a_model_by_name_slug_or_id(name: str, fields: dict[str, str]):
    assert model_fields(name) == fields


def test_a_slug_of_the_catalogue_is_preferred_to_an_id():
    omnia = Model(id="ab372b84-432f-44f5-bacc-c2542465f712", slug="new/omnia")
    assert model_fields("omnia", [AVATAR, omnia]) == {"model_slug": "new/omnia"}
    assert find_model("omnia", [AVATAR]) is None


def test_a_model_without_an_id_is_found_by_its_slug():
    code_backed = Model(id=None, slug="code/backed")
    assert find_model("code/backed", [AVATAR, code_backed]) is code_backed
    assert find_model("", [code_backed]) is None


def test_an_invalid_model_name_is_rejected():
    with pytest.raises(HedraValueError, match="avatar, omnia, character-3"):
        model_fields("my model")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"aspect_ratio": "16:9"}, "aspect_ratio: Hedra Avatar does not accept '16:9'; it accepts 9:16, 1:1"),
        ({"resolution": "4K"}, "resolution.*540p, 720p"),
        ({"duration_ms": 600_001}, "duration_ms.*at most 600000 ms"),
        ({"text_prompt": "x" * 21}, "text_prompt.*at most 20"),
    ],
)
def test_the_models_own_limits(changes: dict[str, Any], says: str):
    with pytest.raises(HedraValueError, match=says):
        check_against_model(request(**changes), AVATAR)


def test_a_model_without_limits_takes_anything():
    check_against_model(request(aspect_ratio="21:9"), Model(slug="x"))


def test_merging_leaves_its_arguments_alone():
    base, extra = {"a": {"b": 1}}, {"a": {"c": 2}}
    assert deep_merge(base, extra) == {"a": {"b": 1, "c": 2}}
    assert base == {"a": {"b": 1}}


@pytest.mark.parametrize(
    ("text", "verdict"), [(A, True), (A.replace("-", ""), False), ("", False), ("x" * 36, False)]
)
def test_uuids_are_distinguished_from_paths(text: str, verdict: bool):
    assert is_uuid(text) is verdict
