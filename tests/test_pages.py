"""The pages of docs/: made from the code, or held against it."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from scripts import reference
from tests.tasks import run

if TYPE_CHECKING:
    from hedra_provider.testing import Sandbox

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
GUIDES = [DOCS / "tutorial.md", *sorted((DOCS / "how-to").glob("*.md"))]


def test_the_reference_is_made_from_the_code():
    assert reference.OPERATORS.read_text() == reference.operators_page(), "run: python -m scripts.reference"
    assert reference.HOOK.read_text() == reference.hook_page(), "run: python -m scripts.reference"


@pytest.mark.parametrize("kind", reference.kinds(), ids=lambda kind: kind.__name__)
def test_each_parameter_has_a_meaning(kind: type):
    found = reference.parameters(kind)
    assert len(found) > 3
    assert [name for name, (_, meaning) in found.items() if len(meaning) < 10] == []


@pytest.mark.parametrize("kind", reference.kinds(), ids=lambda kind: kind.__name__)
def test_each_operator_has_a_how_to_with_an_example(kind: type):
    text = (DOCS / "how-to" / reference.HOW_TO[kind.__name__]).read_text()
    assert f"(../reference/operators.md#{kind.__name__.lower()})" in text
    assert any(f"{kind.__name__}(" in block or f"{kind.__name__}.partial(" in block for block in blocks(text))


def test_a_parameter_without_a_meaning_is_found():
    class Bare:
        """Has one. :param no: it is not a field."""

        def __init__(self, *, it: int = 1, **kwargs: Any) -> None: ...

    Bare.__module__ = "hedra_provider.operators.bare"
    assert {name: meaning for name, (_, meaning) in reference.parameters(Bare).items()} == {"it": ""}


def blocks(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)


def embedded() -> list[tuple[Path, str, str]]:
    """Return the blocks that are said to be a part of a file: page, file, text."""
    pattern = re.compile(r"<!-- from (\S+) -->\n```python\n(.*?)```", re.S)
    return [
        (page, *found) for page in sorted(DOCS.rglob("*.md")) for found in pattern.findall(page.read_text())
    ]


def test_embedded_examples_are_those_of_the_dags():
    found = embedded()
    assert {Path(file).stem for _, file, _ in found} == {path.stem for path in (ROOT / "dags").glob("*.py")}
    for page, file, text in found:
        assert text in (ROOT / file).read_text(), (page.name, file)


@pytest.mark.parametrize("page", [ROOT / "README.md", *GUIDES], ids=lambda page: page.stem)
def test_the_dags_in_a_page_are_dags(page: Path):
    from airflow.sdk import DAG

    for block in re.findall(r"^( *)```python\n(.*?)^ *```$", page.read_text(), re.M | re.S):
        indent, text = block
        code = "\n".join(line.removeprefix(indent) for line in text.splitlines())
        if "with DAG(" not in code:
            continue
        names: dict[str, Any] = {}
        tree = ast.parse(code)
        for node in ast.walk(tree):
            if isinstance(node, ast.With) and not any(item.optional_vars for item in node.items):
                node.items[0].optional_vars = ast.Name("dag_of_the_page", ast.Store())
        exec(compile(ast.fix_missing_locations(tree), str(page), "exec"), names)
        dag = names["dag_of_the_page"]
        assert isinstance(dag, DAG)
        assert dag.tasks


def test_the_request_of_the_page_makes_four_videos(
    hedra_sandbox: Sandbox, portrait: str, voice: str, tmp_path: Path
):
    """The body in any-request.md runs through the operator, its placeholders filled in as Airflow does."""
    from hedra_provider.hooks import HedraHook
    from hedra_provider.operators import HedraGenerateOperator

    (code,) = blocks((DOCS / "how-to" / "any-request.md").read_text())
    (body,) = [
        keyword.value
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "request"
    ]
    image, audio = (HedraHook().upload(source).asset_id for source in (portrait, voice))
    text = ast.unparse(body).replace("portrait.output['asset_id']", repr(image))
    request = ast.literal_eval(text.replace("{{ params.audio_id }}", audio))
    run(HedraGenerateOperator(task_id="videos", request=request, destination=f"{tmp_path}/out/"))
    assert len(hedra_sandbox.requests("POST", "/generations")) == 1
    assert len([*(tmp_path / "out").iterdir()]) == 4


def test_the_index_names_every_page():
    index = (DOCS / "index.md").read_text()
    linked = set(re.findall(r"\]\(([^)#]+)", index))
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")} - {"index.md"}
    shown_by_another = {page for page in pages if page.startswith("proof/")} - {"proof/index.md"}
    assert pages - linked - shown_by_another == set()


def test_the_connection_page_names_every_field():
    from hedra_provider.provider_info import CONNECTION_FIELDS

    text = (DOCS / "reference" / "connection.md").read_text()
    assert [name for name in CONNECTION_FIELDS if f"Extra `{name}`" not in text] == []


def test_the_page_of_xcoms_names_every_key():
    from hedra_provider import xcom
    from hedra_provider.records import Generation

    text = (DOCS / "reference" / "xcom.md").read_text()
    generation = Generation(id="8a5a0a7c-0a5c-4d0e-9f5e-0d6d1f3c2b1a", status="complete")
    keys = [*xcom.generation_result(generation, hedra_conn_id="hedra_default")]
    keys += [value for name, value in vars(xcom).items() if name.startswith("XCOM_")]
    assert [key for key in keys if f"`{key}`" not in text] == []


def literals() -> list[str]:
    """Return the texts in the package's code; "…" for what is filled in."""
    found = []
    for path in (ROOT / "hedra_provider").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [one.value if isinstance(one, ast.Constant) else "…" for one in node.values]
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(re.sub(r"%(?:\.\d)?[sdf]", "…", node.value))
    return found


AIRFLOWS_OWN = {
    "Bad Request",
    "Unknown hook type",
    "No module named 'hedra_provider'",
    "Server returned error",
    "This feature is only available in Airflow versions >= 2.8.0",
}
"""What Airflow, Python or Celery says, not this package."""


def test_what_troubleshooting_quotes_is_what_the_code_says():
    text = (DOCS / "troubleshooting.md").read_text()
    rows = re.findall(r"^\| (.+?) \|", text, re.M)
    quoted = {quote for row in rows for quote in re.findall(r'"([^"]+)"', row)}
    said = literals()
    assert len(quoted) > 30
    assert sorted(one for one in quoted - AIRFLOWS_OWN if not any(one in text for text in said)) == []


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))], ids=lambda page: page.stem
)
def test_pictures_are_there_and_small(page: Path):
    shown = re.findall(r"!\[[^]]*\]\(([^)]+)\)|<img src=\"([^\"]+)\"", page.read_text())
    for picture in (page.parent / (one or other) for one, other in shown):
        assert 1_000 < picture.stat().st_size < 50_000, picture
