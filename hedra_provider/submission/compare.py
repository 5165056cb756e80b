"""Compare a request with the ``input`` of an existing generation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from hedra_provider.api.requests import IDENTITY_FIELDS, KNOWN_MODELS
from hedra_provider.submission.pricing import read_number

if TYPE_CHECKING:
    from hedra_provider.api.responses import Model

_NO_CONTENT = IDENTITY_FIELDS | {"batch_size", "workspace_id", "agent_thread_id", "name", "type"}
_MODEL_FIELDS = ("model_slug", "ai_model_id", "model_id")
_DEFAULTS = {
    "enhance_prompt": False,
    "language": "auto",
    "speed": 1.0,
    "stability": 1.0,
}
"""Defaults of Hedra's v2 schema: an ``input`` may hold them although the request left them out."""


def differing_fields(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], models: Iterable[Model] = ()
) -> tuple[str, ...]:
    """
    Return the fields in which a request differs from the ``input`` of a generation.

    ``input`` is documented to be the request as sent. A model's id equals its slug; the number 0.8 equals the
    text "0.8".

    :param ours: The request.
    :param theirs: The ``input`` of the generation.
    :param models: The catalogue, with the ids and slugs of models that are not built in.
    :return: Dotted names of the fields that differ; empty if none does.
    """
    found = ["model"] if _other_model(ours, theirs, tuple(models)) else []
    return (*found, *_differing(ours, theirs, ""))


def _differing(ours: Mapping[str, Any], theirs: Mapping[str, Any], prefix: str) -> list[str]:
    found = []
    for name in dict.fromkeys((*ours, *theirs)):
        if name in _MODEL_FIELDS or name in _NO_CONTENT:
            continue
        mine, other = (side.get(name, _DEFAULTS.get(name)) for side in (ours, theirs))
        if isinstance(mine, Mapping) and isinstance(other, Mapping):
            found += _differing(mine, other, f"{prefix}{name}.")
        elif not _equal(mine, other) and not (name in _DEFAULTS and None in (mine, other)):
            found.append(prefix + name)
    return found


def _equal(mine: Any, other: Any) -> bool:
    if isinstance(mine, (list, tuple)) and isinstance(other, (list, tuple)):
        # A tuple is sent as a list.
        return len(mine) == len(other) and all(map(_equal, mine, other))
    if mine == other or (isinstance(mine, str) and isinstance(other, str)):
        return bool(mine == other)
    one, another = _number(mine), _number(other)
    return one is not None and one == another


def _number(value: Any) -> Fraction | None:
    """Read a number, also of a text: a template renders ``0.8`` as ``"0.8"``."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    return read_number(value)


def _other_model(ours: Mapping[str, Any], theirs: Mapping[str, Any], models: tuple[Model, ...]) -> bool:
    mine, other = _model_names(ours, models), _model_names(theirs, models)
    return bool(mine and other and not mine & other)


def _model_names(body: Mapping[str, Any], models: tuple[Model, ...]) -> set[str]:
    """Return all names of a request's model: an id and a slug may mean the same one."""
    names = {str(body[field]).lower() for field in _MODEL_FIELDS if body.get(field)}
    pairs: list[tuple[str | None, str | None]] = [(known.id, known.slug) for known in KNOWN_MODELS.values()]
    pairs += [(model.id, model.slug) for model in models]
    # Twice: a slug of the catalogue leads to an id, and the id to an older slug.
    for _ in range(2):
        for pair in pairs:
            alike = {name.lower() for name in pair if name}
            if alike & names:
                names |= alike
    return names
