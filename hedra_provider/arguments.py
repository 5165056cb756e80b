"""What the arguments of operators and sensors mean, however they were written.

A template renders every value as text, a form sends "" for a field that was left empty, JSON and tables have
numbers as texts, and ``upstream.output`` is a whole dict. Each operator and sensor declares a table of its
arguments, and :func:`read_arguments` reads them all by it, once, before anything is sent:

- ``None``, an empty text, white space only, ``"None"`` (what a template renders of None) and ``"null"`` (what
  ``| tojson`` renders of it) mean "not given": the argument has its default then.
- A number, a boolean, an id or a path is read where one is meant; white space around it is dropped.
- Where an id is meant, a dict that holds it will do.
- Everything else is a ``HedraValueError`` that names the argument, its value and what would be right.
"""

from __future__ import annotations

import json
import math
import os
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hedra_provider.api.errors import HedraValueError

Reader = Callable[[Any, str], Any]
"""Reads a value that is given, and the argument's name for messages."""

_NOT_GIVEN = ("", "None", "null")
_TRUE = frozenset({"true", "t", "yes", "y", "on", "1"})
_FALSE = frozenset({"false", "f", "no", "n", "off", "0"})
_A_FILE = "Give an asset id, a path, or a URI such as s3://bucket/key."


@dataclass(frozen=True)
class Argument:
    """
    How one argument is read.

    :param read: What it has to be: one of the readers below.
    :param default: Its value where it is not given.
    :param required: Whether it has to be given.
    :param remedy: What to give then, for the message.
    """

    read: Reader
    default: Any = None
    required: bool = False
    remedy: str | None = None


def read_arguments(table: Mapping[str, Argument], values: Mapping[str, Any]) -> dict[str, Any]:
    """
    Read arguments by their table.

    What was read can be read again: the result is the same.

    :param table: The arguments by name.
    :param values: Their values by name; others are ignored, and what is missing is not given.
    :raises HedraValueError: Naming the first that can't be meant.
    """
    return {name: read_argument(argument, values.get(name), name) for name, argument in table.items()}


def read_argument(argument: Argument, value: Any, name: str) -> Any:
    """Read one argument, as :func:`read_arguments` does."""
    if is_given(value):
        return argument.read(value, name)
    if argument.required:
        raise _error(f"{name} is not given.", name, argument.remedy)
    return argument.default


def is_given(value: Any) -> bool:
    """Return whether a value says anything."""
    return not (value is None or (isinstance(value, str) and value.strip() in _NOT_GIVEN))


def text(value: Any, name: str) -> str:
    """Read a text, as it is; a number is written out."""
    if isinstance(value, str):
        return value
    is_number = isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)
    if is_number and math.isfinite(value):
        return str(value)
    raise _wrong(value, name, "a text")


def word(value: Any, name: str) -> str:
    """Read a text without the white space around it: a name, a code, a choice."""
    return text(value, name).strip()


def lowercase_word(value: Any, name: str) -> str:
    """Read one of several choices that are written in small letters."""
    return word(value, name).lower()


def key(value: Any, name: str) -> str:
    """
    Read an idempotency key.

    White space around it is dropped: one line break more in a form must not pay for another video.

    :raises HedraValueError: If it holds a NUL, which would let it read like a task run's own key, or a lone
        surrogate.
    """
    from hedra_provider.api.redaction import shown
    from hedra_provider.api.requests import require_json

    said = word(value, name)
    require_json(said, name)
    if "\0" in said:
        raise _error(f"{name}: {shown(value)} holds a NUL.", name)
    return said


def number(value: Any, name: str) -> float:
    """Read a finite number."""
    found = _number(value)
    if found is None:
        raise _wrong(value, name, "a number")
    return float(found)


def whole_number(value: Any, name: str, *, unit: str = "") -> int:
    """Read a whole number; ``"7.0"`` is one."""
    found = _number(value)
    if found is None or found != int(found):
        raise _wrong(value, name, f"a whole number{unit}")
    return int(found)


def milliseconds(value: Any, name: str) -> int:
    """Read a whole number of milliseconds."""
    return whole_number(value, name, unit=" of milliseconds")


def whole_credits(value: Any, name: str) -> int:
    """Read a whole number of credits."""
    return whole_number(value, name, unit=" of credits")


def seconds(value: Any, name: str) -> float:
    """Read a number of seconds above 0, or a timedelta."""
    found = _number(value.total_seconds() if isinstance(value, timedelta) else value)
    if found is None or found <= 0:
        raise _wrong(value, name, "a number of seconds above 0")
    return float(found)


def flag(value: Any, name: str) -> bool:
    """Read true or false, also as a text or as 1 or 0: ``"False"`` is false."""
    said = str(value).strip().lower() if isinstance(value, (bool, int, str)) else ""
    if said in _TRUE or said in _FALSE:
        return said in _TRUE
    remedy = "It takes no template: its value is read with the DAG." if "{{" in said else None
    raise _wrong(value, name, "true or false", remedy)


def mapping(value: Any, name: str) -> Mapping[str, Any]:
    """Read a dict, or the text of a JSON object."""
    found = _from_json(value)
    if isinstance(found, Mapping):
        return found
    raise _wrong(value, name, "a dict", "Give a dict, or its JSON: a template renders that by | tojson.")


def rows(value: Any, name: str) -> list[Any]:
    """Read a list, or the text of a JSON array; what Airflow makes of mapped outputs is a list too."""
    found = _from_json(value)
    if isinstance(found, Iterable) and not isinstance(found, (str, bytes, Mapping)):
        return list(found)
    raise _wrong(
        value, name, "a list", "Give a list of dicts, or its JSON: a template renders that by | tojson."
    )


def file(value: Any, name: str) -> str:
    """Read a local path or a URI; objects that are paths will do."""
    # ObjectStoragePath is no os.PathLike in every version of Airflow.
    if isinstance(value, os.PathLike) or hasattr(value, "as_uri"):
        return str(value)
    if isinstance(value, Mapping):
        raise _wrong(value, name, "a path or URI", 'Give one key of that output, e.g. output["uri"].')
    if not isinstance(value, str):
        raise _wrong(value, name, "a path or URI")
    if _is_json_like(value):
        raise _wrong(value, name, "a path or URI", 'Give one key of that output, e.g. output["uri"].')
    return value.strip()


def asset_id(value: Any, name: str) -> str:
    """Read the id of an asset; or a dict that holds it as ``asset_id``, as tasks that make assets return."""
    return _id(value, name, "asset_id")


def generation_id(value: Any, name: str) -> str:
    """Read the id of a generation; or a dict that holds it as ``generation_id``."""
    return _id(value, name, "generation_id")


def asset_or_file(value: Any, name: str) -> str:
    """Read an asset's id, in small letters, or a path or URI; or a dict that holds ``asset_id``."""
    from hedra_provider.api.requests import is_uuid

    if isinstance(value, (Mapping, uuid.UUID)) or (isinstance(value, str) and _is_json_like(value)):
        return asset_id(value, name)
    said = file(value, name)
    return said.lower() if is_uuid(said) else said


def asset_ids(value: Any, name: str) -> list[str]:
    """Read a list of assets, each as :func:`asset_id` reads one; one alone is a list of one."""
    found = _from_json(value)
    many = found if isinstance(found, (list, tuple)) else [value]
    return [asset_id(one, name) for one in many]


def _audio_ids(value: Any, name: str) -> str | list[str]:
    """Read one audio, or several where the request lists them."""
    many = isinstance(_from_json(value), (list, tuple))
    return asset_ids(value, name) if many else asset_id(value, name)


def _as_it_is(value: Any, name: str) -> Any:
    return value


_BODY: Mapping[str, Reader] = {
    **dict.fromkeys(("start_keyframe_id", "end_keyframe_id", "video_id", "image_id"), asset_id),
    "audio_id": _audio_ids,
    **dict.fromkeys(
        ("reference_image_ids", "reference_audio_ids", "reference_video_ids", "reference_image_asset_ids"),
        asset_ids,
    ),
    **dict.fromkeys(("duration_ms", "audio_start_ms"), milliseconds),
    **dict.fromkeys(("seed", "num_inference_steps"), whole_number),
    **dict.fromkeys(
        (
            "speed",
            "stability",
            "guidance_scale",
            "cfg_scale",
            "upscale_factor",
            "duration_seconds",
            "prompt_influence",
        ),
        number,
    ),
    **dict.fromkeys(("enhance_prompt", "generate_audio", "keep_audio", "loop"), flag),
    **dict.fromkeys(
        (
            "name",
            "workspace_id",
            "ai_model_id",
            "model_id",
            "model_slug",
            "aspect_ratio",
            "resolution",
            "negative_prompt",
            "output_format",
            "target_resolution",
            "batch_size",
        ),
        _as_it_is,
    ),
}
"""The fields of Hedra's v2 requests that are no text of their own, and the texts that may be left out."""

_NESTED = ("generated_video_inputs", "audio_generation")


def request_body(value: Any, name: str) -> dict[str, Any]:
    """
    Read a body of ``POST /generations``, or a part of one; fields that are not known here stay as they are.

    A field that a template rendered as "not given" is left out. None, which is JSON's null, stays.
    """
    from hedra_provider.api.requests import require_json

    found = mapping(value, name)
    # First: what holds itself would be read for ever.
    require_json(found, name)
    body: dict[str, Any] = {}
    for field, said in found.items():
        # As they stand in messages: request.generated_video_inputs.seed.
        place = f"{name}.{field}"
        if field in _NESTED and is_given(said):
            body[field] = request_body(said, place)
        elif field in _BODY and said is not None:
            if is_given(said):
                body[field] = _BODY[field](said, place)
        else:
            body[field] = said
    return body


def _id(value: Any, name: str, key: str) -> str:
    """Read an id, in small letters, or the dict of which ``key`` is one."""
    from hedra_provider.api.requests import is_uuid

    if isinstance(value, Mapping):
        found = value.get(key)
        if not is_given(found):
            missing = f"has no {key}" if key not in value else f"has no {key} yet (it is {found!r})"
            raise _error(
                f"{name}: the dict {_shown(value)} {missing}.",
                name,
                f'Give an id, or the output of a task that has one: output["{key}"].',
            )
        return _id(found, name, key)
    said = str(value).strip() if isinstance(value, (str, uuid.UUID)) else ""
    if is_uuid(said):
        return said.lower()
    if _is_json_like(said):
        raise _wrong(value, name, "an id, but the text of a whole output", f'Give output["{key}"].')
    if isinstance(value, (list, tuple)):
        raise _wrong(value, name, "one id, but a list", f"Map the task over it: expand({name}=...).")
    raise _error(
        f"{name}: {_shown(value)} is not a UUID.",
        name,
        f'Give the id that Hedra gave, or that of an earlier task: output["{key}"].',
    )


def _number(value: Any) -> int | float | None:
    """Return the finite number that a value is or says, None for another value."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal, str)):
        return None
    if isinstance(value, int):
        return value
    try:
        if isinstance(value, str):
            try:
                # Not by way of float: that rounds a long seed.
                return int(value)
            except ValueError:
                pass
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def _is_json_like(said: str) -> bool:
    """Return whether a text looks like a dict or a list that was written out."""
    stripped = said.strip()
    return stripped[:1] + stripped[-1:] in ("{}", "[]") and len(stripped) > 1


def _from_json(value: Any) -> Any:
    """Return what a JSON text says; another value, or a text that is none, as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _shown(value: Any) -> str:
    from hedra_provider.api.redaction import shown

    return shown(value)


def _wrong(value: Any, name: str, takes: str, remedy: str | None = None) -> HedraValueError:
    return _error(f"{name}: {_shown(value)} is not {takes}.", name, remedy)


def _error(message: str, name: str, remedy: str | None = None) -> HedraValueError:
    # The client's package is not imported where DAG files are read, unless something is wrong there.
    from hedra_provider.api.errors import HedraValueError

    return HedraValueError(message, param=name, remedy=remedy or "Nothing was sent.")
