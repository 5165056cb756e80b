"""Check the ``input`` of a v3 job against the published schema of its model, before anything is spent.

``jsonschema`` checks: Airflow itself depends on it, and it knows every keyword that Hedra may use tomorrow.
Its errors are written again here, because they do not say what a model accepts. A schema that can't be used
finds no problem: Hedra checks each submit itself, and a rejected submit costs nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from hedra_provider.api.errors import HedraValueError
from hedra_provider.api.redaction import clean, shown
from hedra_provider.api.responses import GRACE_SECONDS
from hedra_provider.service.differences import alternative_to, asset_problem
from hedra_provider.submission.pricing import Span, read_number, spoken_seconds

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

    from hedra_provider.media.duration import Duration

Problem = Mapping[str, Any]
"""What is wrong with a field: ``{"field", "message"}``."""

_MOST_PROBLEMS = 20
_MEDIUM = '{"source": "asset", "asset_id": "asset_..."} or {"source": "url", "url": "..."}'
_KINDS = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "an object",
    "array": "a list",
}


def input_problems(
    values: Mapping[str, Any],
    schema: Mapping[str, Any] | None,
    *,
    model: str,
    later: Collection[str] = (),
    names: Mapping[str, str] | None = None,
) -> list[Problem]:
    """
    Return all that is wrong with the ``input`` of a job.

    :param values: The input.
    :param schema: The model's ``input_schema`` from ``GET /models/{model}``; None if it is not known: only
        fields of v2 are found then.
    :param model: The model, for messages.
    :param later: Required fields that the caller fills in later: a file that is not uploaded yet.
        Default: none.
    :param names: What the user calls a field, e.g. ``{"prompt": "text_prompt"}``. Default: its own name.
    :return: A problem for each wrong field; empty if nothing is wrong.
    """
    known = _mapping((schema or {}).get("properties"))
    called = names or {}
    problems = [*_unknown_fields(values, schema or {}, known, model), *_v2_assets(values, called)]
    required = (schema or {}).get("required")
    needed = [str(name) for name in required] if isinstance(required, list) else []
    missing = [name for name in needed if name not in values and name not in later]
    problems += [_problem(called.get(name, name), f"{model} requires it") for name in missing]
    for error in _errors(values, schema or {}):
        path = [str(part) for part in error.absolute_path]
        field = ".".join([called.get(path[0], path[0]), *path[1:]]) if path else "input"
        problems.append(_problem(field, _message(error, _mapping(known.get(path[0] if path else "")), model)))
    return problems


def file_problems(
    field: str,
    schema: Mapping[str, Any] | None,
    *,
    model: str,
    size_bytes: int | None = None,
    length: Duration | None = None,
    name: str | None = None,
) -> list[Problem]:
    """
    Return what is wrong with a file, by the limits that stand beside its field in the schema.

    :param field: The field of the input that the file is for: ``start_image`` or ``audio``.
    :param schema: The model's ``input_schema``; None if it is not known.
    :param model: The model, for messages.
    :param size_bytes: The size of the file. Default: None, not known.
    :param length: How long it plays. Default: None, not known, or no audio.
    :param name: What the user calls the field. Default: its own name.
    :return: A problem for each limit that is not kept.
    """
    limits = _mapping(_mapping((schema or {}).get("properties")).get(field))
    most_bytes, shortest, longest = (
        read_number(limits.get(limit))
        for limit in ("max_file_size_bytes", "min_duration_ms", "max_duration_ms")
    )
    found = []
    if most_bytes and size_bytes is not None and size_bytes > most_bytes:
        found.append(f"it has {size_bytes} bytes; {model} accepts at most {most_bytes}")
    if length is not None and shortest and length.at_most_ms < shortest:
        found.append(f"it plays {length.at_most_ms} ms; {model} accepts at least {shortest} ms")
    if length is not None and longest and length.played_ms > longest + GRACE_SECONDS * 1000:
        found.append(f"it plays {length.played_ms} ms; {model} accepts at most {longest} ms")
    return [_problem(name or field, message) for message in found]


def spoken_problems(
    text: str, speed: float | None, avatar_schema: Mapping[str, Any] | None, *, model: str
) -> list[Problem]:
    """
    Return what is wrong with a text whose speech an avatar is to speak.

    A speech that is too long for the avatar would be found only after it was paid for.

    :param text: The text.
    :param speed: The speed of the speech; None: 1.
    :param avatar_schema: The ``input_schema`` of the avatar's model; None if it is not known.
    :param model: The avatar's model, for messages.
    """
    longest = read_number(longest_audio_ms(avatar_schema))
    spoken: Span = spoken_seconds(text, read_number(speed))
    if longest is None or spoken.low * 1000 <= longest:
        return []
    return [
        _problem(
            "text",
            f"it has {len(text)} characters, which even a fast voice speaks for {int(spoken.low)} s; {model} "
            f"accepts at most {int(longest / 1000)} s of audio: split the text into several videos",
        )
    ]


def longest_audio_ms(schema: Mapping[str, Any] | None) -> int | None:
    """
    Return the longest audio that a model takes, in milliseconds.

    :param schema: The model's ``input_schema``; None if it is not known.
    :return: None if the schema does not say.
    """
    audio = _mapping(_mapping((schema or {}).get("properties")).get("audio"))
    longest = read_number(audio.get("max_duration_ms"))
    return int(longest) if longest and longest > 0 else None


def reject_problems(*problems: Iterable[Problem]) -> None:
    """
    Reject a request that has problems, with all of them in one error.

    :param problems: Lists of problems.
    :raises HedraValueError: If there is one; ``violations`` has them all.
    """
    found: list[Problem] = []
    for problem in (one for several in problems for one in several):
        if problem not in found:
            found.append(problem)
    if not found:
        return
    more = len(found) - _MOST_PROBLEMS
    texts = [f"{one['field']}: {one['message']}" for one in found[:_MOST_PROBLEMS]]
    raise HedraValueError(
        "; ".join(texts) + (f"; and {more} more" if more > 0 else "") + ".",
        param=str(found[0]["field"]),
        violations=found,
        remedy="Nothing was submitted.",
    )


def _unknown_fields(
    values: Mapping[str, Any], schema: Mapping[str, Any], known: Mapping[str, Any], model: str
) -> list[Problem]:
    """Return a problem for each field that the model lacks: with the alternative, where v2 has that field."""
    problems = []
    for name in values:
        alternative = alternative_to(name)
        if name in known:
            continue
        if alternative:
            problems.append(_problem(name, f"{model} has no such field on API v3: {alternative}"))
        elif known and schema.get("additionalProperties") is False:
            fields = ", ".join(clean(str(one)) for one in list(known)[:40])
            problems.append(_problem(name, f"{model} has no such field; its fields are {fields}"))
    return problems


def _v2_assets(values: Mapping[str, Any], called: Mapping[str, str]) -> list[Problem]:
    """Return a problem for each medium that is an asset of v2."""
    problems = []
    for field, value in values.items():
        for one in value if isinstance(value, (list, tuple)) else [value]:
            asset_id = one.get("asset_id") if isinstance(one, Mapping) else None
            wrong = asset_problem(asset_id, 3) if isinstance(asset_id, str) else None
            if wrong:
                problems.append(_problem(called.get(field, field), wrong))
    return problems


def _errors(values: Mapping[str, Any], schema: Mapping[str, Any]) -> list[ValidationError]:
    """Return what jsonschema finds, besides missing and unknown fields."""
    from jsonschema import Draft202012Validator
    from referencing import Registry

    top = {name: rule for name, rule in schema.items() if name not in ("required", "additionalProperties")}
    try:
        Draft202012Validator.check_schema(top)
        # An empty registry: a schema may not make this task fetch another one.
        checker = Draft202012Validator(top, registry=Registry())
        return list(islice(checker.iter_errors(_plain(values)), 5 * _MOST_PROBLEMS))
    except Exception:  # noqa: BLE001 - the schema is foreign; Hedra itself checks the request, too
        return []


def _message(error: ValidationError, rules: Mapping[str, Any], model: str) -> str:
    """Say what is wrong with a value, and what is right."""
    value, keyword, limit = shown(error.instance, 80), error.validator, error.validator_value
    if keyword in ("anyOf", "oneOf") and rules.get("media_type"):
        several = " or a list of them" if keyword == "anyOf" else ""
        # A handle is a secret: the value of a medium is not shown.
        return f"this value is no file for {model}; it accepts {_MEDIUM}{several}"
    if keyword in ("anyOf", "oneOf") and error.context:
        from jsonschema.exceptions import best_match

        closest = best_match(error.context)
        return _message(closest, {}, model) if closest else f"{value} is not accepted by {model}"
    if keyword in ("enum", "const"):
        allowed = limit if isinstance(limit, list) else [limit]
        accepted = ", ".join(clean(str(one)) for one in allowed[:40])
        return f"{model} does not accept {value}; it accepts {accepted}"
    if keyword == "type":
        kinds = limit if isinstance(limit, list) else [limit]
        return f"{value} is not {' or '.join(_KINDS.get(str(kind), clean(str(kind))) for kind in kinds)}"
    if keyword == "pattern" and not str(error.instance).strip():
        return "it is empty"
    bound = clean(str(limit))
    said = {
        "maximum": f"{value} is too high; {model} accepts at most {bound}",
        "minimum": f"{value} is too low; {model} accepts at least {bound}",
        "exclusiveMaximum": f"{value} is too high; {model} accepts less than {bound}",
        "exclusiveMinimum": f"{value} is too low; {model} accepts more than {bound}",
        "maxLength": f"it has {_count(error.instance)} characters; {model} accepts at most {bound}",
        "minLength": f"it has {_count(error.instance)} characters; {model} accepts at least {bound}",
        "maxItems": f"it has {_count(error.instance)} items; {model} accepts at most {bound}",
        "minItems": f"it has {_count(error.instance)} items; {model} accepts at least {bound}",
        "pattern": f"{value} does not match the pattern {bound}",
    }
    return said.get(str(keyword)) or f"{model} does not accept {value} ({clean(str(keyword))} {bound})"


def _count(value: Any) -> int:
    return len(value) if isinstance(value, (str, list)) else 0


def _plain(value: Any) -> Any:
    """Return JSON as jsonschema knows it: a tuple is sent as a list."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _problem(field: str, message: str) -> Problem:
    return {"field": clean(field, max_length=100), "message": message}
