"""Converts the arguments of operators and sensors to their types, from templates, forms, JSON and tables.

A template renders every value as text, a form sends "" for an empty field, JSON and tables write numbers as
text, and ``upstream.output`` is a whole dict. Each operator and sensor declares a table of its arguments.
:func:`read_arguments` converts them all by that table, once, before anything is sent:

- ``None``, an empty text, white space only, ``"None"`` (a template's rendering of None) and ``"null"`` (that
  of ``| tojson``) mean "not given". The argument then has its default.
- A text is converted to a number, a boolean, an id or a path if the argument is one. White space around it is
  dropped.
- A dict that holds the id is accepted in place of an id.
- Every other value raises a ``HedraValueError`` that names the argument, its value and what to give.
"""

from __future__ import annotations

import json
import math
import os
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hedra_provider.api.errors import HedraValueError

Reader = Callable[[Any, str], Any]
"""Converts a given value; its second parameter is the argument's name, for messages."""

_NOT_GIVEN = ("", "None", "null")
_TRUE = frozenset({"true", "t", "yes", "y", "on", "1"})
_FALSE = frozenset({"false", "f", "no", "n", "off", "0"})
_V3_ASSET = re.compile(r"asset_[\w-]{1,80}", re.ASCII)
_V3_IDS = {"asset_id": _V3_ASSET, "generation_id": re.compile(r"job_[\w-]{1,80}", re.ASCII)}
"""The ids of v3. They are no UUIDs, and their case counts."""
_V3_FORMS = {"asset_id": "asset_...", "generation_id": "job_..."}
_A_FILE = "Give an asset id, a path, or a URI such as s3://bucket/key."
WHOLE_OUTPUT = "With a v3 key an upload has no asset id: pass its whole output, e.g. upload.output."


@dataclass(frozen=True)
class Argument:
    """
    How one argument is converted.

    :param read: One of the readers below.
    :param default: The value if the argument is not given; None by default.
    :param required: Whether the argument must be given; False by default.
    :param remedy: What to give, for the message about a missing argument; None by default.
    """

    read: Reader
    default: Any = None
    required: bool = False
    remedy: str | None = None


def read_arguments(table: Mapping[str, Argument], values: Mapping[str, Any]) -> dict[str, Any]:
    """
    Convert arguments by their table. Converting a result again gives the same result.

    :param table: The arguments by name.
    :param values: Their values by name. Other names are ignored; a missing name counts as not given.
    :return: The converted values by name.
    :raises HedraValueError: If a value is invalid; the error names its argument.
    """
    return {name: read_argument(argument, values.get(name), name) for name, argument in table.items()}


def read_argument(argument: Argument, value: Any, name: str) -> Any:
    """Convert one argument, as :func:`read_arguments` does."""
    if is_given(value):
        return argument.read(value, name)
    if argument.required:
        raise _error(f"{name} is not given.", name, argument.remedy)
    return argument.default


def is_given(value: Any) -> bool:
    """Return whether an argument counts as given."""
    return not (value is None or (isinstance(value, str) and value.strip() in _NOT_GIVEN))


def text(value: Any, name: str) -> str:
    """Read a text, unchanged; a number becomes its text."""
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
    """Read one of several choices, in lower case."""
    return word(value, name).lower()


def key(value: Any, name: str) -> str:
    """
    Read an idempotency key.

    White space around it is dropped: an additional line break in a form must not pay for another video.

    :raises HedraValueError: If it holds a lone surrogate, or a NUL: with a NUL it could equal a task run's
        key.
    """
    from hedra_provider.api.redaction import shown
    from hedra_provider.api.values import require_json

    stripped = word(value, name)
    require_json(stripped, name)
    if "\0" in stripped:
        raise _error(f"{name}: {shown(value)} holds a NUL.", name)
    return stripped


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


def us_dollars(value: Any, name: str) -> Decimal:
    """Read an amount of US dollars, 0 or more, as exactly as it is written."""
    found = _number(value)
    if found is None or found < 0:
        raise _wrong(value, name, "an amount of US dollars, e.g. 2.50")
    # A float has no exact tenth: its text is what the user wrote.
    return Decimal(str(value).strip())


def seconds(value: Any, name: str) -> float:
    """Read a number of seconds above 0, or a timedelta."""
    found = _number(value.total_seconds() if isinstance(value, timedelta) else value)
    if found is None or found <= 0:
        raise _wrong(value, name, "a number of seconds above 0")
    return float(found)


def flag(value: Any, name: str) -> bool:
    """Read true or false, also as text or as 1 or 0: ``"False"`` is false."""
    lowered = str(value).strip().lower() if isinstance(value, (bool, int, str)) else ""
    if lowered in _TRUE or lowered in _FALSE:
        return lowered in _TRUE
    remedy = (
        "It takes no template: Airflow needs its value when it parses the DAG." if "{{" in lowered else None
    )
    raise _wrong(value, name, "true or false", remedy)


def mapping(value: Any, name: str) -> Mapping[str, Any]:
    """Read a dict, or the text of a JSON object."""
    found = _from_json(value)
    if isinstance(found, Mapping):
        return found
    raise _wrong(value, name, "a dict", "Give a dict, or its JSON: a template renders that by | tojson.")


def rows(value: Any, name: str) -> list[Any]:
    """Read a list, or the text of a JSON array. Airflow's sequence of mapped outputs is a list too."""
    found = _from_json(value)
    if isinstance(found, Iterable) and not isinstance(found, (str, bytes, Mapping)):
        return list(found)
    raise _wrong(
        value, name, "a list", "Give a list of dicts, or its JSON: a template renders that by | tojson."
    )


def file(value: Any, name: str) -> str:
    """Read a local path or a URI, as text or as a path object."""
    # ObjectStoragePath is an os.PathLike in some versions of Airflow only.
    if isinstance(value, os.PathLike) or hasattr(value, "as_uri"):
        return str(value)
    if isinstance(value, Mapping):
        raise _wrong(value, name, "a path or URI", 'Give one key of that output, e.g. output["uri"].')
    if not isinstance(value, str):
        raise _wrong(value, name, "a path or URI")
    if _is_json_like(value):
        raise _wrong(value, name, "a path or URI", 'Give one key of that output, e.g. output["uri"].')
    return value.strip()


def voice(value: Any, name: str) -> str | Mapping[str, Any]:
    """Read a voice: its name or its id, or a dict of labels, or the text of a JSON object."""
    found = _from_json(value) if isinstance(value, str) and _is_json_like(value) else value
    if isinstance(found, Mapping):
        return dict(found)
    return word(str(found) if isinstance(found, uuid.UUID) else found, name)


def is_asset_id(value: str) -> bool:
    """Return whether a text is the id of an asset: a UUID (v2), or ``asset_...`` (v3)."""
    from hedra_provider.api.values import is_uuid

    return is_uuid(value) or bool(_V3_ASSET.fullmatch(value))


def asset_id(value: Any, name: str) -> str:
    """Read the id of an asset, or a dict that holds it as ``asset_id``, as an upload's output does."""
    return _id(value, name, "asset_id")


def generation_id(value: Any, name: str) -> str:
    """Read the id of a generation, or a dict that holds it as ``generation_id``."""
    return _id(value, name, "generation_id")


def generation_to_adopt(value: Any, name: str) -> str | dict[int, str]:
    """Read the id of a generation (v2, v3), a dict that holds it, or a dict of these by map index."""
    found = _from_json(value)
    if isinstance(found, Mapping) and found and all(str(key).isdecimal() for key in found):
        return {int(key): generation_id(one, f"{name}[{key}]") for key, one in found.items() if is_given(one)}
    return generation_id(found if isinstance(found, Mapping) else value, name)


def asset_or_file(value: Any, name: str) -> str:
    """Read an asset's id, in lower case, or a path or URI, or the output of an upload or another dict."""
    source = _unsent_file(value)
    if source is not None:
        return file(source, name)
    if isinstance(value, (Mapping, uuid.UUID)) or (isinstance(value, str) and _is_json_like(value)):
        return asset_id(value, name)
    path = file(value, name)
    return asset_id(path, name) if is_asset_id(path) else path


def _unsent_file(value: Any) -> Any:
    """Return the file that an upload passed on, because the submit sends it (v3); None if it passed none."""
    if isinstance(value, Mapping) and not is_given(value.get("asset_id")) and is_given(value.get("source")):
        return value["source"]
    return None


def asset_ids(value: Any, name: str) -> list[str]:
    """Read a list of assets, each as :func:`asset_id` does. A single asset becomes a list of one."""
    found = _from_json(value)
    many = found if isinstance(found, (list, tuple)) else [value]
    return [asset_id(one, name) for one in many]


def _audio_ids(value: Any, name: str) -> str | list[str]:
    """Read the id of one audio, or a list of ids."""
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
"""The fields of Hedra's v2 requests that are not plain text, and the texts that may be left out."""

_NESTED = ("generated_video_inputs", "audio_generation")


def request_body(value: Any, name: str) -> dict[str, Any]:
    """
    Read a body of ``POST /generations``, or a part of one. Fields that are unknown here stay unchanged.

    A field that a template rendered as "not given" is left out. None, which is JSON's null, stays.

    :param value: A dict, or its JSON text.
    :param name: The argument's name, for messages.
    :raises HedraValueError: If a field is invalid; the error names it, e.g. ``request.seed``.
    """
    from hedra_provider.api.values import require_json

    found = mapping(value, name)
    # Checked first, because a dict that contains itself would recurse without end.
    require_json(found, name)
    body: dict[str, Any] = {}
    for field, given in found.items():
        # The full name for messages, e.g. request.generated_video_inputs.seed.
        place = f"{name}.{field}"
        if field in _NESTED and is_given(given):
            body[field] = request_body(given, place)
        elif field in _BODY and given is not None:
            if is_given(given):
                body[field] = _BODY[field](given, place)
        else:
            body[field] = given
    return body


def _id(value: Any, name: str, key: str) -> str:
    """Read an id, in lower case, or a dict that holds one as ``key``."""
    from hedra_provider.api.values import is_uuid

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
    stripped = str(value).strip() if isinstance(value, (str, uuid.UUID)) else ""
    if is_uuid(stripped):
        return stripped.lower()
    if _V3_IDS[key].fullmatch(stripped):
        return stripped
    if _is_json_like(stripped):
        raise _wrong(value, name, "an id, but the text of a whole output", f'Give output["{key}"].')
    if isinstance(value, (list, tuple)):
        raise _wrong(value, name, "one id, but a list", f"Map the task over it: expand({name}=...).")
    raise _error(
        f"{name}: {_shown(value)} is not a UUID (API v2), nor {_V3_FORMS[key]} (API v3).",
        name,
        f'Give the id that Hedra gave, or that of an earlier task: output["{key}"].',
    )


def _number(value: Any) -> int | float | None:
    """Return a finite number, also from its text; None if a value is no such number."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal, str)):
        return None
    if isinstance(value, int):
        return value
    try:
        if isinstance(value, str):
            try:
                # Not via float, which rounds a long seed.
                return int(value)
            except ValueError:
                pass
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def _is_json_like(text: str) -> bool:
    """Return whether a text is enclosed in braces or brackets, like a dict or a list."""
    stripped = text.strip()
    return stripped[:1] + stripped[-1:] in ("{}", "[]") and len(stripped) > 1


def _from_json(value: Any) -> Any:
    """Return the value of a JSON text. Every other value is returned unchanged."""
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
    # Imported here: a DAG file without errors is parsed without the client's package.
    from hedra_provider.api.errors import HedraValueError

    return HedraValueError(message, param=name, remedy=remedy or "Nothing was sent.")
