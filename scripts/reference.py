"""Writes docs/reference/operators.md and hook.md from the code: ``python -m scripts.reference``.

A parameter is described by the class itself, else by the base that takes it.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hedra_provider import operators, sensors
from hedra_provider.hooks import HedraHook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REFERENCE = Path(__file__).resolve().parents[1] / "docs" / "reference"
OPERATORS, HOOK = REFERENCE / "operators.md", REFERENCE / "hook.md"

HOW_TO = {
    "HedraAvatarVideoOperator": "avatar-video.md",
    "HedraGenerateOperator": "any-request.md",
    "HedraUploadAssetOperator": "step-by-step.md",
    "HedraDownloadOperator": "step-by-step.md",
    "HedraCreditsCheckOperator": "budgets.md",
    "HedraGenerationSensor": "step-by-step.md",
    "HedraCreditsSensor": "budgets.md",
}
"""The how-to page of each public operator and sensor."""

INTERNAL = {"get_async_settings", "check_async_reading", "store_source"}
"""Methods of the hook that serve operators and triggers."""

OPERATORS_HEAD = """# Operators and sensors

Made from the code by `python -m scripts.reference`. All parameters are keywords; those of Airflow's
`BaseOperator` (`task_id`, `retries`, `pool`, ...) come on top, and for sensors those of `BaseSensorOperator`
(`mode`, `soft_fail`, ...). *Template* marks fields that Airflow renders;
[what values arguments take](../how-to/arguments.md) says how each value is read.
What operators return is in [XCom](xcom.md)."""

HOOK_HEAD = """# HedraHook

Made from the code by `python -m scripts.reference`. The example is in
[ask Hedra in a task of your own](../how-to/hook.md).
"""


def kinds() -> list[type]:
    """Return the public operators and sensors."""
    return [
        *(getattr(operators, name) for name in operators.__all__),
        sensors.HedraGenerationSensor,
        sensors.HedraCreditsSensor,
    ]


def parameters(kind: type) -> dict[str, tuple[inspect.Parameter, str]]:
    """Return each parameter of a class of ours, with its description; an empty text where there is none."""
    ours = [one for one in kind.__mro__ if one.__module__.startswith("hedra_provider.")]
    described: dict[str, str] = {}
    found: dict[str, inspect.Parameter] = {}
    for one in ours:
        described = documented(one.__doc__ or "")[1] | described
        for parameter in _keywords(vars(one).get("__init__")):
            found.setdefault(parameter.name, parameter)
    return {name: (parameter, described.get(name, "")) for name, parameter in found.items()}


def _keywords(
    function: Callable[..., Any] | None, *, all_of_them: bool = False
) -> Iterator[inspect.Parameter]:
    if function is not None:
        for parameter in inspect.signature(function).parameters.values():
            if parameter.name != "self" and (all_of_them or parameter.kind is not parameter.VAR_KEYWORD):
                yield parameter


def documented(docstring: str) -> tuple[str, dict[str, str], str, list[str]]:
    """Return the text of a docstring, its parameters, what is returned, and the errors."""
    text, *fields = re.split(r"^:(?=param |return|raises )", inspect.cleandoc(docstring), flags=re.M)
    described: dict[str, str] = {}
    returned, raised = "", []
    for field in fields:
        head, _, body = field.partition(":")
        if head.startswith("param "):
            described[head.removeprefix("param ")] = markdown(body)
        elif head.startswith("raises "):
            raised.append(f"`{head.removeprefix('raises ')}`: {markdown(body)}")
        else:
            returned = markdown(body)
    paragraphs = [_paragraph(one) for one in re.split(r"\n\s*\n(?! )", text.strip())]
    return "\n\n".join(paragraphs), described, returned, raised


def _paragraph(text: str) -> str:
    """Return a paragraph in Markdown; one that ends in ``::`` is followed by code."""
    words, is_code, code = text.partition("::\n\n")
    if not is_code:
        return markdown(text)
    return f"{markdown(words.rstrip())}\n\n```python\n{inspect.cleandoc(code)}\n```"


def markdown(text: str) -> str:
    """Return a docstring's text in Markdown, on one line."""
    text = re.sub(r":(?:class|func|meth|mod|data|attr):`~?([\w.]+)`", lambda m: f"`{_short(m[1])}`", text)
    return " ".join(text.replace("``", "`").split()).replace("|", "\\|")


def _short(path: str) -> str:
    """Return the name of a class, or the class and its method; a module whole."""
    parts = path.split(".")
    return path if parts[-1].islower() and len(parts) > 2 and parts[-2].islower() else parts[-1]


def default(parameter: inspect.Parameter) -> str:
    """Return a parameter's default as the table shows it."""
    if parameter.default is parameter.empty:
        return "required"
    if parameter.name == "deferrable":
        return "`[operators] default_deferrable`, which is False"
    return f"`{parameter.default!r}`"


def operators_page() -> str:
    """Return the whole page of operators and sensors."""
    page = [OPERATORS_HEAD]
    for kind in kinds():
        name = kind.__name__
        page.append(f"\n## {name}\n\n{documented(kind.__doc__ or '')[0]}\n")
        how_to = HOW_TO[name]
        page.append(
            f"Import: `from {_public(kind)} import {name}`. How to: [{how_to}](../how-to/{how_to}).\n"
        )
        page.append("| parameter | default | template | meaning |\n|---|---|---|---|")
        fields = set(kind.template_fields)  # type: ignore[attr-defined]
        for one, (parameter, meaning) in parameters(kind).items():
            template = "yes" if one in fields else ""
            page.append(f"| `{one}` | {default(parameter)} | {template} | {meaning} |")
    return "\n".join(page) + "\n"


def _public(kind: type) -> str:
    return ".".join(kind.__module__.split(".")[:2])


def hook_page() -> str:
    """Return the whole page of the hook."""
    page = [
        HOOK_HEAD,
        documented(HedraHook.__doc__ or "")[0],
        "\n| parameter | default | meaning |\n|---|---|---|",
    ]
    for field, (parameter, meaning) in parameters(HedraHook).items():
        page.append(f"| `{field}` | {default(parameter)} | {meaning} |")
    for name, method in vars(HedraHook).items():
        if name.startswith("_") or name in INTERNAL or not inspect.isfunction(method):
            continue
        shown = [*_keywords(method, all_of_them=True)]
        names = [f"**{one.name}" if one.kind is one.VAR_KEYWORD else one.name for one in shown]
        if keyword_only := [one.name for one in shown if one.kind is one.KEYWORD_ONLY]:
            names.insert(names.index(keyword_only[0]), "*")
        text, described, returned, raised = documented(inspect.getdoc(method) or "")
        coroutine = "await " if inspect.iscoroutinefunction(method) else ""
        page.append(f"\n## `{name}`\n\n`{coroutine}hook.{name}({', '.join(names)})`\n\n{text}")
        if shown or returned or raised:
            page.append("")
        for one in shown:
            needed = "any" if one.kind is one.VAR_KEYWORD else default(one)
            page.append(f"- `{one.name}` ({needed}): {described.get(one.name, '')}".rstrip(" :"))
        if returned:
            page.append(f"- returns: {returned}")
        page += [f"- raises {one}" for one in raised]
    return "\n".join(page) + "\n"


if __name__ == "__main__":
    OPERATORS.write_text(operators_page())
    HOOK.write_text(hook_page())
