"""The arguments that both versions share become the input of a v3 job."""

from __future__ import annotations

from typing import Any

import pytest

from hedra_provider.api.errors import HedraValueError
from hedra_provider.service.job_request import (
    JobRequest,
    avatar_input,
    fill_media,
    fingerprint_fields,
    media_references,
    model_name,
    request_fingerprint,
    speech_input,
)

ARGUMENTS: dict[str, Any] = {"text_prompt": "A person", "aspect_ratio": "9:16", "resolution": "720p"}
INPUT = {"prompt": "A person", "aspect_ratio": "9:16", "resolution": "720p"}
SHA, OTHER_SHA = "a" * 64, "b" * 64
HANDLE = "https://files.example/handle"
ASSET = "asset_0f7b6a52-9c1d-4b53-8a43-6a1f2c3d4e5f"


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("avatar", "hedra-avatar"),
        (" Character-3 ", "hedra-character-3"),
        ("hedra-avatar", "hedra-avatar"),
        ("together/hedra-avatar", "hedra-avatar"),
        ("together/hedra-character-3", "hedra-character-3"),
        ("26f0fc66-152b-40ab-abed-76c43df99bc8", "hedra-avatar"),
        ("elevenlabs-v3", "elevenlabs-v3"),
        ("veed-fabric-10", "veed-fabric-10"),
    ],
)
def test_a_model_has_its_name_on_v3(model: str, name: str):
    assert model_name(model) == name


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (
            "omnia",
            "API v3, which the connection's key is for, does not have 'omnia'. Use avatar or character-3",
        ),
        ("ab372b84-432f-44f5-bacc-c2542465f712", "does not have 'ab372b84"),
        ("0f7b6a52-9c1d-4b53-8a43-6a1f2c3d4e5f", "is not the name of a model on API v3"),
        ("../jobs", "is not the name of a model on API v3"),
        ("a b", "is not the name of a model on API v3"),
        ("", "is not the name of a model on API v3"),
    ],
)
def test_a_model_that_v3_lacks_is_named_with_those_it_has(model: str, says: str):
    with pytest.raises(HedraValueError) as raised:
        model_name(model)
    assert says in str(raised.value)
    assert "Use avatar or character-3" in str(raised.value)


@pytest.mark.parametrize(
    ("more", "fields"),
    [
        ({}, {}),
        ({"duration_ms": 5000}, {"duration_ms": 5000}),
        # These change nothing.
        ({"audio_start_ms": 0}, {}),
        ({"extra_request": {"batch_size": "1"}}, {}),
        ({"extra_request": {"batch_size": 1, "resolution": None}}, {}),
        # These are kept, so that the check of the input names them.
        ({"audio_start_ms": -500, "seed": 0}, {"audio_start_ms": -500, "seed": 0}),
        ({"extra_request": {"batch_size": 2}}, {"batch_size": 2}),
        ({"extra_request": {"prompt": "Another"}}, {"prompt": "Another"}),
    ],
)
def test_the_input_of_an_avatar(more: dict[str, Any], fields: dict[str, Any]):
    expected = {**INPUT, **fields}
    if "resolution" in more.get("extra_request", {}):
        del expected["resolution"]
    assert avatar_input(**ARGUMENTS, **more) == expected


def test_what_json_does_not_have_is_rejected():
    with pytest.raises(HedraValueError, match="not a number that JSON can express"):
        avatar_input(**ARGUMENTS, extra_request={"x": float("inf")})


def test_the_input_of_speech():
    assert speech_input(text="Hello", voice_id="voice_1") == {"text": "Hello", "voice_id": "voice_1"}
    # v2 takes the name of a language, v3 its code.
    assert speech_input(text="Hello", language="German", speed=0.9, stability=0.5) == {
        "text": "Hello",
        "language": "de",
        "speed": 0.9,
        "stability": 0.5,
    }


def test_files_are_filled_in():
    filled = fill_media(INPUT, {"start_image": HANDLE, "audio": ASSET})
    assert filled == {
        **INPUT,
        "start_image": {"source": "url", "url": HANDLE},
        "audio": {"source": "asset", "asset_id": ASSET},
    }
    several = fill_media(INPUT, {"audio": [HANDLE, ASSET]})
    assert several["audio"] == [
        {"source": "url", "url": HANDLE},
        {"source": "asset", "asset_id": ASSET},
    ]
    # What extra_request sets stays.
    own = {"audio": {"source": "asset", "asset_id": "asset_own"}}
    assert fill_media(own, {"audio": HANDLE}) == own


MEDIA = {"start_image": SHA, "audio": ASSET}


def test_a_fingerprint_depends_on_content_and_not_on_handles():
    one = request_fingerprint("hedra-avatar", INPUT, MEDIA)
    reordered = dict(reversed(INPUT.items()))
    assert request_fingerprint("hedra-avatar", reordered, MEDIA) == one
    for handle in (HANDLE, HANDLE + "-2"):
        filled = fill_media(INPUT, {"start_image": handle, "audio": ASSET})
        assert request_fingerprint("hedra-avatar", filled, MEDIA) == one
    assert request_fingerprint("m", {"speed": 1, "at": (0, 1.0)}) == request_fingerprint(
        "m", {"speed": 1.0, "at": [0.0, 1]}
    )


def test_the_fields_of_a_fingerprint_hold_no_handle():
    filled = fill_media(INPUT, {"start_image": HANDLE, "audio": [HANDLE, ASSET]})
    assert fingerprint_fields(filled, {"start_image": SHA, "audio": [OTHER_SHA, ASSET]}) == {
        **INPUT,
        "start_image": {"sha256": SHA},
        "audio": [{"sha256": OTHER_SHA}, {"asset_id": ASSET}],
    }


@pytest.mark.parametrize(
    ("model", "values", "media"),
    [
        ("hedra-character-3", INPUT, MEDIA),
        ("hedra-avatar", {**INPUT, "resolution": "540p"}, MEDIA),
        ("hedra-avatar", {**INPUT, "duration_ms": 5000}, MEDIA),
        ("hedra-avatar", INPUT, {**MEDIA, "start_image": OTHER_SHA}),
        ("hedra-avatar", INPUT, {**MEDIA, "audio": ASSET + "0"}),
        ("hedra-avatar", INPUT, {"start_image": SHA, "audio": [ASSET]}),
        ("hedra-avatar", INPUT, {"start_image": SHA}),
    ],
)
def test_another_request_has_another_fingerprint(model: str, values: Any, media: Any):
    assert request_fingerprint(model, values, media) != request_fingerprint("hedra-avatar", INPUT, MEDIA)


def test_the_fingerprint_is_pinned():
    """Records of paid jobs hold it: if it changed, a clear would pay again."""
    assert request_fingerprint("hedra-avatar", {**INPUT, "speed": 0.9}, MEDIA) == PINNED


PINNED = "9e5b8a00acb2426452f5b1f749c11e8a749d04471a9da2725620f3803f77a9c7"


def test_a_job_request_is_read():
    request = {"model": "avatar", "input": {**INPUT, "seed": None}, "webhook": " https://example.org/hook "}
    read = JobRequest.read(request)
    assert read == JobRequest(model="hedra-avatar", input=INPUT, webhook="https://example.org/hook")
    # It may hold a secret, as a handle does.
    assert "example.org" not in repr(read)
    assert JobRequest.read({"model": "flux-dev", "input": {}}).webhook is None


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (
            {"type": "video", "generated_video_inputs": {}},
            "request has type, generated_video_inputs: that is the form of API v2",
        ),
        (
            {"model": "avatar", "input": {}, "workspace_id": "team"},
            "request has workspace_id: that is the form of API v2",
        ),
        ({"model": "avatar"}, "request has no input, a part of the form of API v3"),
        ({}, "request has no input"),
    ],
)
def test_the_form_of_v2_names_that_of_v3(request_: dict[str, Any], says: str):
    with pytest.raises(HedraValueError) as raised:
        JobRequest.read(request_)
    assert says in str(raised.value)
    assert 'Give the form of v3, {"model": "hedra-avatar", "input"' in str(raised.value)


def test_all_that_is_wrong_with_a_request_stands_in_one_error():
    request = {"model": 7, "input": "x", "webhook": "ftp://secret", "idempotency_key": "k", "inputs": {}}
    with pytest.raises(HedraValueError) as raised:
        JobRequest.read(request)
    fields = [one["field"] for one in raised.value.violations]
    assert fields == [
        f"request.{name}" for name in ("model", "input", "webhook", "idempotency_key", "inputs")
    ]
    assert "give idempotency_key to the operator" in str(raised.value)
    assert "secret" not in str(raised.value)


def test_a_medium_may_be_an_asset_id_or_the_output_of_a_task():
    schema = {"properties": {"audio": {"media_type": "audio"}, "image": {"media_type": "image"}, "text": {}}}
    reference = {"source": "asset", "asset_id": "asset_1"}
    given = {
        "audio": ["asset_1", {"asset_id": "asset_1", "cost": 1}],
        "image": reference,
        "text": "asset_1",
    }
    assert media_references(given, schema) == {
        "audio": [reference, reference],
        "image": reference,
        "text": "asset_1",
    }
    assert media_references({"audio": "asset_1"}, None) == {"audio": "asset_1"}
