"""What only one version has is named before anything is sent, with the alternative."""

from __future__ import annotations

from typing import Any

import pytest

from hedra_provider.api.errors import HedraValueError
from hedra_provider.service.differences import (
    asset_problem,
    reject_other_asset,
    reject_other_generation,
    reject_v2_only,
    reject_v3_form,
    version_of_asset,
)

UUID = "0f7b6a52-9c1d-4b53-8a43-6a1f2c3d4e5f"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            {"workspace_id": "team"},
            "workspace_id: API v3, .* does not have it. A v3 key belongs to one workspace",
        ),
        (
            {"variations": 2},
            "batch_size: API v3, .* API v3 makes one video for each request; for more, map the task.",
        ),
    ],
)
def test_what_v3_lacks(arguments: dict[str, Any], says: str):
    with pytest.raises(HedraValueError, match=says):
        reject_v2_only(3, **arguments)
    reject_v2_only(2, **arguments)
    reject_v2_only(3, workspace_id=None, variations=1)


@pytest.mark.parametrize(
    ("asset_id", "version"),
    [(UUID, 2), (UUID.upper(), 2), (f"asset_{UUID}", 3), ("s3://bucket/face.png", None), ("face.png", None)],
)
def test_the_version_of_an_asset(asset_id: str, version: int | None):
    assert version_of_asset(asset_id) == version


@pytest.mark.parametrize(
    ("asset_id", "key"), [(UUID, 2), (f"asset_{UUID}", 3), ("s3://bucket/face.png", 2), ("face.png", 3)]
)
def test_an_asset_of_the_same_version_and_a_file_are_fine(asset_id: str, key: Any):
    assert asset_problem(asset_id, key) is None
    reject_other_asset(asset_id, key, "image")


@pytest.mark.parametrize(("asset_id", "key", "other"), [(UUID, 3, 2), (f"asset_{UUID}", 2, 3)])
def test_an_asset_of_the_other_version_names_the_file(asset_id: str, key: Any, other: int):
    with pytest.raises(HedraValueError) as raised:
        reject_other_asset(asset_id, key, "image")
    assert str(raised.value) == (
        f"image: '{asset_id}' is an asset of API v{other}, but the connection's key is for API v{key}; give "
        "the file itself, a path or a URI, which works with both kinds of key. Nothing was submitted."
    )


@pytest.mark.parametrize(("generation_id", "key", "other"), [(UUID, 3, 2), (f"job_{UUID}", 2, 3)])
def test_a_generation_of_the_other_version_names_the_key(generation_id: str, key: Any, other: Any):
    with pytest.raises(HedraValueError, match=f"Use a connection with a key for API v{other}"):
        reject_other_generation(generation_id, key)
    reject_other_generation(generation_id, other)


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (
            {"model": "hedra-avatar", "input": {}, "webhook": "x"},
            "request has input, webhook: that is the form of API v3",
        ),
        ({"model": "hedra-avatar"}, "request has model: that is"),
    ],
)
def test_the_form_of_v3_names_that_of_v2(request_: dict[str, Any], says: str):
    with pytest.raises(HedraValueError, match=says) as raised:
        reject_v3_form(request_)
    assert 'Give the form of v2, {"type": "video"' in str(raised.value)


def test_the_form_of_v2_is_fine_on_v2():
    reject_v3_form({"type": "video", "model_slug": "x", "generated_video_inputs": {}})
