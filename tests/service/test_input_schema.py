"""The input of a v3 job is checked against its model's schema: all problems in one error, before a cost."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedra_provider.api.errors import HedraValueError
from hedra_provider.media.duration import Duration
from hedra_provider.service.input_schema import (
    file_problems,
    input_problems,
    longest_audio_ms,
    reject_problems,
    spoken_problems,
)
from hedra_provider.service.job_request import AVATAR_MEDIA, AVATAR_NAMES
from tests.service.schemas import AVATAR, SPEECH, published

HANDLE = "https://files.example/secret-handle"
VALID: dict[str, Any] = {"prompt": "A person", "aspect_ratio": "9:16", "resolution": "720p"}
FILES: dict[str, Any] = {
    "start_image": {"source": "url", "url": HANDLE},
    "audio": {"source": "asset", "asset_id": "asset_1"},
}


@pytest.fixture(params=["literal", "hedra-avatar", "hedra-character-3"])
def avatar(request: pytest.FixtureRequest) -> dict[str, Any]:
    name = request.param
    return AVATAR if name == "literal" else published(f"Input_{name.replace('-', '_')}")


@pytest.fixture(params=["literal", "elevenlabs_v3", "elevenlabs_flash_v2"])
def speech(request: pytest.FixtureRequest) -> dict[str, Any]:
    return SPEECH if request.param == "literal" else published(f"Input_{request.param}")


def found(values: dict[str, Any], schema: Any, later: Any = AVATAR_MEDIA, **names: Any) -> dict[str, str]:
    problems = input_problems(values, schema, model="hedra-avatar", later=later, **names)
    return {one["field"]: one["message"] for one in problems}


def test_a_valid_input_has_no_problem(avatar: dict[str, Any]):
    assert found(VALID, avatar) == {}
    assert found(VALID | FILES, avatar, later=()) == {}
    several = {"audio": [FILES["audio"]] * 4, "bounding_box_target": [0, 0.5], "duration_ms": 5000}
    assert found(VALID | FILES | several, avatar, later=()) == {}


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("resolution", "4K", "hedra-avatar does not accept '4K'; it accepts 540p, 720p, 1080p"),
        ("num_outputs", 2, "hedra-avatar does not accept 2; it accepts 1"),
        ("prompt", "   ", "it is empty"),
        ("prompt", 7, "7 is not a text"),
        ("duration_ms", 600_001, "600001 is too high; hedra-avatar accepts at most 600000"),
        ("duration_ms", "5000", "'5000' is not a whole number"),
        ("duration_ms", 1.5, "1.5 is not a whole number"),
        ("duration_ms", True, "True is not a whole number"),
    ],
)
def test_each_wrong_field_says_what_is_right(avatar: dict[str, Any], field: str, value: Any, message: str):
    assert found(VALID | {field: value}, avatar) == {field: message}


def test_an_unknown_field_names_those_there_are(avatar: dict[str, Any]):
    (message,) = found(VALID | {"resolutoin": "720p"}, avatar).values()
    assert message.startswith("hedra-avatar has no such field; its fields are ")
    assert "resolution" in message


@pytest.mark.parametrize(
    ("field", "value", "alternative"),
    [
        ("audio_start_ms", 500, "cut the audio, or put silence in front of it"),
        ("seed", 7, "this model takes none"),
        ("generated_video_inputs", {"seed": 7}, "text_prompt is prompt on v3"),
        ("batch_size", 4, "map the task"),
        ("workspace_id", "team", "a connection with a key of that workspace"),
        ("model_slug", "together/hedra-avatar", "give model"),
        ("audio_id", "x", "its name on v3 is audio"),
        ("generation_id", "x", "idempotency_key of the operator"),
        ("webhook", "https://x", "HedraGenerateOperator"),
    ],
)
@pytest.mark.parametrize("has_schema", [True, False])
def test_a_field_of_v2_names_the_alternative(field: str, value: Any, alternative: str, has_schema: bool):
    (message,) = found(VALID | {field: value}, AVATAR if has_schema else None).values()
    assert alternative in message


def test_a_field_of_v2_that_a_model_has_is_no_problem():
    image = {"type": "object", "properties": {"seed": {"type": "integer"}}, "additionalProperties": False}
    assert found({"seed": 7}, image) == {}


def test_required_fields(avatar: dict[str, Any]):
    assert found({}, avatar, later=()).keys() == {
        "aspect_ratio",
        "audio",
        "prompt",
        "resolution",
        "start_image",
    }
    assert found({}, avatar) == dict.fromkeys(
        ("aspect_ratio", "prompt", "resolution"), "hedra-avatar requires it"
    )


def test_problems_have_the_names_that_the_user_gave(avatar: dict[str, Any]):
    assert found(
        FILES | {"prompt": "", "resolution": "720p", "aspect_ratio": "9:16"}, avatar, names=AVATAR_NAMES
    ) == {"text_prompt": "it is empty"}
    assert "image" in found(VALID, avatar, later=("audio",), names=AVATAR_NAMES)


@pytest.mark.parametrize(
    "medium",
    [
        HANDLE,
        {"source": "url"},
        {"source": "file", "url": HANDLE},
        {"source": "url", "url": HANDLE, "more": 1},
        [{"source": "url", "url": HANDLE}] * 5,
    ],
)
def test_a_wrong_medium_names_the_forms_and_hides_the_handle(avatar: dict[str, Any], medium: Any):
    (message,) = found(VALID | FILES | {"audio": medium}, avatar).values()
    assert '{"source": "asset", "asset_id": "asset_..."}' in message
    assert HANDLE not in message


def test_an_asset_of_v2_is_named(avatar: dict[str, Any]):
    old = "0f7b6a52-9c1d-4b53-8a43-6a1f2c3d4e5f"
    problems = found(VALID | FILES | {"audio": [{"source": "asset", "asset_id": old}]}, avatar)
    assert (
        "is an asset of API v2, but the connection's key is for API v3; give the file itself"
        in problems["audio"]
    )


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"speed": 3}, "speed: 3 is too high; hedra-avatar accepts at most 1.2"),
        ({"stability": -0.1}, "stability: -0.1 is too low; hedra-avatar accepts at least 0"),
        ({"text": "x" * 30_001}, "text: it has 30001 characters; hedra-avatar accepts at most "),
    ],
)
def test_the_limits_of_speech(speech: dict[str, Any], fields: dict[str, Any], says: str):
    problems = input_problems({"text": "Hello"} | fields, speech, model="hedra-avatar", later=("voice_id",))
    with pytest.raises(HedraValueError) as raised:
        reject_problems(problems)
    assert str(raised.value).startswith(says)


def test_all_problems_stand_in_one_error(avatar: dict[str, Any]):
    values = VALID | {"resolution": "4K", "aspect_ratio": "2:1", "batch_size": 2, "audio_start_ms": 1}
    with pytest.raises(HedraValueError) as raised:
        reject_problems(
            input_problems(values, avatar, model="hedra-avatar", later=AVATAR_MEDIA),
            input_problems({"text": "x", "speed": 9}, SPEECH, model="elevenlabs-v3", later=("voice_id",)),
        )
    fields = {one["field"] for one in raised.value.violations}
    assert fields == {"resolution", "aspect_ratio", "batch_size", "audio_start_ms", "speed"}
    assert all(f"{field}: " in raised.value.message for field in fields)
    assert str(raised.value).endswith("Nothing was submitted.")


def test_no_problem_is_no_error():
    reject_problems()
    reject_problems([], [])


def test_of_many_problems_twenty_are_listed():
    many = [{"field": f"f{n}", "message": "it is wrong"} for n in range(25)]
    with pytest.raises(HedraValueError, match="and 5 more") as raised:
        reject_problems(many, many)
    assert len(raised.value.violations) == 25


@pytest.mark.parametrize(
    ("field", "size", "length", "says"),
    [
        ("start_image", 10_485_760, None, None),
        ("start_image", 10_485_761, None, "it has 10485761 bytes; hedra-avatar accepts at most 10485760"),
        ("audio", 104_857_601, Duration(1000, 1000), "accepts at most 104857600"),
        ("audio", 10, Duration(400, 499), "it plays 499 ms; hedra-avatar accepts at least 500 ms"),
        ("audio", 10, Duration(499, 500), None),
        ("audio", 10, Duration(600_900, 600_950), None),
        (
            "audio",
            10,
            Duration(601_001, 601_001),
            "it plays 601001 ms; hedra-avatar accepts at most 600000 ms",
        ),
        ("audio", None, None, None),
        ("prompt", 10**9, None, None),
    ],
)
def test_the_limits_beside_a_file(
    avatar: dict[str, Any], field: str, size: Any, length: Any, says: str | None
):
    problems = file_problems(
        field, avatar, model="hedra-avatar", size_bytes=size, length=length, name=AVATAR_NAMES.get(field)
    )
    assert [one["field"] for one in problems] == ([] if says is None else [AVATAR_NAMES.get(field, field)])
    assert says is None or says in problems[0]["message"]


def test_a_text_that_is_too_long_for_the_avatar_is_found_before_its_speech_is_paid(avatar: dict[str, Any]):
    assert longest_audio_ms(avatar) == 600_000
    assert spoken_problems("x" * 13_200, None, avatar, model="hedra-avatar") == []
    (problem,) = spoken_problems("x" * 13_300, None, avatar, model="hedra-avatar")
    assert "speaks for 604 s; hedra-avatar accepts at most 600 s of audio" in problem["message"]
    assert spoken_problems("x" * 13_200, 0.9, avatar, model="hedra-avatar")
    assert spoken_problems("x" * 99_999, None, None, model="hedra-avatar") == []


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"properties": []},
        {"properties": {"prompt": {"type": "poem"}}},
        {"properties": {"prompt": {"pattern": "("}}},
        {"properties": {"prompt": {"$ref": "https://example.org/schema.json"}}},
        {"properties": {"prompt": {"$ref": "#/nowhere"}}},
        {"$ref": "#"},
        {"required": "prompt"},
        {"required": [[], None, 3.5]},
    ],
)
def test_a_schema_that_cannot_be_used_stops_no_request(schema: Any):
    problems = found(VALID, schema)
    assert problems.keys() <= {"[]", "None", "3.5"}


def test_a_schema_makes_the_task_fetch_nothing():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/schema.json"
        schema = {"properties": {"prompt": {"$ref": address}}}
        fetched = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("urllib.request.urlopen", fetched.append)
            assert found(VALID, schema) == {}
        with pytest.raises(BlockingIOError):
            server.accept()
    assert fetched == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*AVATAR["properties"], "seed", "x"]), json_values))
def test_any_input_can_be_checked(values: dict[str, Any]):
    for one in input_problems(values, AVATAR, model="hedra-avatar"):
        assert one["field"]
        assert "\n" not in one["message"]
