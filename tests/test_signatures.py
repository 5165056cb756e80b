"""Each public operator and sensor shows its parameters, and documents each with unit and default."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

from hedra_provider import operators, sensors
from hedra_provider.arguments import milliseconds, seconds, whole_credits

PUBLIC = [
    *(getattr(operators, name) for name in operators.__all__),
    sensors.HedraGenerationSensor,
    sensors.HedraCreditsSensor,
]
UNITS = {milliseconds: "milliseconds", seconds: "seconds", whole_credits: "credits"}
BY_CONFIGURATION = {"deferrable": "Airflow's ``[operators] default_deferrable``"}


def own_parameters(kind: type) -> dict[str, inspect.Parameter]:
    """Return what the class itself shows."""
    # A base may have no parameters of its own.
    shown = inspect.signature(vars(kind)["__init__"]).parameters if "__init__" in vars(kind) else {}
    return {name: one for name, one in shown.items() if name != "self" and one.kind is not one.VAR_KEYWORD}


def documented(kind: type) -> dict[str, str]:
    """Return the text of each parameter in the class's own docstring, on one line."""
    text = " ".join((vars(kind)["__doc__"] or "").split())
    pairs = re.findall(r":param (\w+): (.*?)(?= :param |$)", text)
    assert len(pairs) == len(dict(pairs)), f"{kind.__name__} documents a parameter twice"
    return dict(pairs)


def unit(kind: Any, name: str, parameter: inspect.Parameter) -> str | None:
    """Return the unit that a parameter's reader, name or type implies."""
    argument = kind.arguments.get(name)
    if argument and argument.read in UNITS:
        return UNITS[argument.read]
    if name.endswith("_ms"):
        return "milliseconds"
    if name.endswith("_seconds") or "timedelta" in str(parameter.annotation):
        return "seconds"
    return "credits" if "credits" in name else None


def test_every_public_class_is_checked():
    module = {
        kind
        for kind in vars(sensors).values()
        if inspect.isclass(kind) and issubclass(kind, sensors.HedraSensor)
    }
    assert module - {sensors.HedraSensor} == set(PUBLIC[-2:])


@pytest.mark.parametrize("kind", PUBLIC)
def test_no_parameter_hides_behind_the_kwargs_of_a_base(kind: type):
    of_bases = {
        name
        for base in kind.__mro__[1:]
        if base.__module__.startswith("hedra_provider.")
        for name in own_parameters(base)
    }
    assert of_bases
    assert of_bases - set(own_parameters(kind)) == set()


@pytest.mark.parametrize("kind", PUBLIC)
def test_every_parameter_is_documented_with_its_unit_and_default(kind: Any):
    texts, shown = documented(kind), own_parameters(kind)
    assert set(texts) == set(shown)
    for name, parameter in shown.items():
        text = texts[name]
        expected_unit = unit(kind, name, parameter)
        assert expected_unit is None or re.search(rf"\b{expected_unit}\b", text), (name, expected_unit)
        if parameter.default is parameter.empty:
            end = "Required."
        else:
            end = f"Default: {BY_CONFIGURATION.get(name, f'``{parameter.default!r}``')}."
        assert text.endswith(end), (name, end)


@pytest.mark.parametrize("kind", PUBLIC)
def test_the_default_of_a_field_that_renders_nothing_is_the_one_that_an_editor_shows(kind: Any):
    shown = own_parameters(kind)
    for name, argument in kind.arguments.items():
        if not argument.required:
            assert argument.default == shown[name].default, name
