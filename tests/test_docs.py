"""The documents say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_table_of_errors_is_made_from_the_code():
    from scripts.error_table import TARGET, text

    assert TARGET.read_text() == text(), "run: python -m scripts.error_table"


def test_the_table_of_errors_tells_of_every_status_what_is_raised():
    import httpx

    from hedra_provider.api.error_answers import error_from_response

    section = (ROOT / "docs" / "errors.md").read_text().partition("## HTTP statuses")[2].partition("##")[0]
    rows = {name: says for name, *says in re.findall(r"^\| (.+?) \| (yes|no) \| (.*?) \|$", section, re.M)}
    request = httpx.Request("GET", "https://api.hedra.com/web-app/public/models")
    for status in range(400, 600):
        error = error_from_response(httpx.Response(status, request=request))
        row = rows.get(str(status)) or rows[f"another {status // 100}xx"]
        assert row == ["yes" if error.retryable else "no", error.remedy], status
        assert error.remedy in str(error)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page: Path):
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_readme_names_every_operator_and_field():
    from hedra_provider import operators
    from hedra_provider.provider_info import CONNECTION_FIELDS

    text = (ROOT / "README.md").read_text()
    assert [name for name in (*operators.__all__, *CONNECTION_FIELDS) if f"`{name}`" not in text] == []


def test_the_ten_lines_are_a_dag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (block,) = re.findall(
        r"```python\n(   from airflow.sdk import DAG.*?)```", (ROOT / "README.md").read_text(), re.S
    )
    names: dict[str, object] = {}
    code = "\n".join(line.removeprefix("   ") for line in block.splitlines())
    exec(compile(code, "README.md", "exec"), names)
    assert "HedraAvatarVideoOperator" in names


def test_the_readmes_commands_are_targets():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"make ([a-z-]+)", (ROOT / "README.md").read_text()))
    assert named <= targets


def test_the_readme_names_the_template_fields():
    from hedra_provider import operators, sensors

    text = (ROOT / "README.md").read_text()
    table = text[text.index("| | template fields |") : text.index("Set `deferrable=True`")]
    named = {
        name: set(fields.split(", ")) for name, fields in re.findall(r"\| `(\w+)` \| `([\w, ]+)` \|", table)
    }
    kinds = [getattr(operators, name) for name in operators.__all__]
    kinds += [sensors.HedraGenerationSensor, sensors.HedraCreditsSensor]
    common = {"workspace_id", "hedra_conn_id"}
    assert {kind.__name__: set(kind.template_fields) - common for kind in kinds} == named
