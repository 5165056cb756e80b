"""Schemas of v3 models: some written for these tests, and those that Hedra published."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PUBLISHED = Path(os.environ.get("HEDRA_OPENAPI_V3") or ROOT.parent / "shared" / "hedra" / "openapi-v3.json")

_MEDIUM: dict[str, Any] = {
    "oneOf": [
        {
            "type": "object",
            "properties": {"source": {"type": "string", "enum": ["url"]}, "url": {"type": "string"}},
            "required": ["source", "url"],
            "additionalProperties": False,
        },
        {
            "type": "object",
            "properties": {"source": {"type": "string", "enum": ["asset"]}, "asset_id": {"type": "string"}},
            "required": ["source", "asset_id"],
            "additionalProperties": False,
        },
    ]
}
AVATAR: dict[str, Any] = {
    "type": "object",
    "properties": {
        "num_outputs": {"type": "integer", "enum": [1]},
        "prompt": {"type": "string", "pattern": r"[^\s\x1C-\x1F]"},
        "aspect_ratio": {"type": "string", "enum": ["1:1", "16:9", "9:16"]},
        "resolution": {"type": "string", "enum": ["540p", "720p", "1080p"]},
        "duration_ms": {"type": "integer", "maximum": 600_000},
        "start_image": {**_MEDIUM, "media_type": "image", "max_file_size_bytes": 10_485_760},
        "audio": {
            "anyOf": [_MEDIUM, {"type": "array", "items": _MEDIUM, "minItems": 1, "maxItems": 4}],
            "media_type": "audio",
            "min_duration_ms": 500,
            "max_duration_ms": 600_000,
            "max_file_size_bytes": 104_857_600,
        },
        "bounding_box_target": {
            "type": "array",
            "prefixItems": [{"type": "number", "minimum": 0, "maximum": 1}] * 2,
            "minItems": 2,
            "maxItems": 2,
        },
    },
    "required": ["aspect_ratio", "audio", "prompt", "resolution", "start_image"],
    "additionalProperties": False,
}
SPEECH: dict[str, Any] = {
    "type": "object",
    "properties": {
        "text": {"type": "string", "maxLength": 5000, "pattern": r"[^\s\x1C-\x1F]"},
        "stability": {"type": "number", "minimum": 0, "maximum": 1},
        "speed": {"type": "number", "minimum": 0.7, "maximum": 1.2},
        "language": {"type": "string"},
        "voice_id": {"type": "string"},
    },
    "required": ["text", "voice_id"],
    "additionalProperties": False,
}


def published(name: str) -> dict[str, Any]:
    """Return a schema of Hedra's own document; the test is skipped where the document is missing."""
    if not PUBLISHED.is_file():
        pytest.skip("Hedra's schema is not here; set HEDRA_OPENAPI_V3 to openapi-v3.json")
    schemas: dict[str, Any] = json.loads(PUBLISHED.read_text("utf-8"))["components"]["schemas"]
    return dict(schemas[name])
