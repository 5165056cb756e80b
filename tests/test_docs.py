"""The documents say what the code does."""

from __future__ import annotations

import itertools
import re
import shlex
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_table_of_errors_is_made_from_the_code():
    from scripts.error_table import TARGET, text

    assert TARGET.read_text() == text(), "run: python -m scripts.error_table"


def test_the_table_of_errors_has_the_error_of_every_status():
    import httpx

    from hedra_provider.api.error_bodies import error_from_response

    section = (ROOT / "docs" / "errors.md").read_text().partition("## HTTP statuses")[2].partition("##")[0]
    rows = {name: says for name, *says in re.findall(r"^\| (.+?) \| (yes|no) \| (.*?) \|$", section, re.M)}
    request = httpx.Request("GET", "https://api.hedra.com/web-app/public/models")
    for status in range(400, 600):
        error = error_from_response(httpx.Response(status, request=request))
        row = rows.get(str(status)) or rows[f"another {status // 100}xx"]
        assert row == ["yes" if error.retryable else "no", error.remedy], status
        assert error.remedy in str(error)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path):
    assert dead_links(page) == []


def test_a_dead_link_is_found(tmp_path: Path):
    (tmp_path / "other.md").write_text(
        "# What `x` is, and *why*\n## Twice\n## Twice\n```\n# no heading\n```\n"
    )
    page = tmp_path / "page.md"
    alive = ["other.md", "other.md#what-x-is-and-why", "other.md#twice-1", "#here", "https://a.example/#b"]
    dead = ["no.md", "no.md#here", "other.md#why", "other.md#twice-2", "other.md#no-heading", "#there"]
    page.write_text("## [Here](other.md)\n" + " ".join(f"[a]({link})" for link in alive + dead))
    assert dead_links(page) == dead


def dead_links(page: Path) -> list[str]:
    """Return those links of a page to files and headings that lead nowhere."""
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if ":" in path:
            continue
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            dead.append(link)
    return dead


def anchors(text: str) -> set[str]:
    """Return what GitHub names the headings of a page by."""
    found: Counter[str] = Counter()
    for heading in re.findall(
        r"^#{1,6} +(.+?)[ #]*$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M
    ):
        shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        found[re.sub(r"[^\w -]", "", shown.lower()).replace(" ", "-")] += 1
    return {f"{name}-{n}" if n else name for name, count in found.items() for n in range(count)}


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


def rows_of(page: str, head: str, separator: str) -> list[dict[str, str]]:
    """Return the rows of the table whose head begins so."""
    lines = (ROOT / "docs" / page).read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(head))
    cells = [re.split(separator, line.strip("| ").replace("`", "")) for line in lines[start:]]
    names = cells[0]
    whole = itertools.takewhile(lambda row: len(row) == len(names), cells[2:])
    return [dict(zip(names, row, strict=True)) for row in whole]


@pytest.mark.parametrize(
    ("head", "head_of_benchmark"),
    [("| who | waiting ", "who  "), ("| waiting | requests for each ", "waiting  requests  each ")],
)
def test_figures_of_waiting_are_those_of_the_benchmarks(head: str, head_of_benchmark: str):
    names = {"this provider": "hedra_provider", "requests for each": "each"}
    names |= {"at a fixed interval": "fixed interval, each", "bytes for each": "bytes each"}
    documented = rows_of("waiting.md", head, r" *\| *")
    seen = rows_of("benchmarks.md", head_of_benchmark, r" {2,}")
    assert len(documented) == len(seen) > 2
    for documented_row, seen_row in zip(documented, seen, strict=True):
        for name, figure in documented_row.items():
            found = seen_row[names.get(name, name)]
            # A large one is rounded.
            rounded = f"{float(found):.0f}" if re.fullmatch(r"\d{3,}\.\d", found) else found
            assert names.get(figure, figure) == rounded, (name, documented_row)


CLUSTER_PAGE = ROOT / "docs" / "how-to" / "cluster.md"


def test_the_settings_that_the_cluster_page_names_have_the_defaults_that_it_names():
    from airflow.configuration import conf

    text = CLUSTER_PAGE.read_text()
    # The Celery provider brings its own settings, where it is installed.
    named = [one for one in re.findall(r"`\[(\w+)\] (\w+)`(?: \((\d+) s\))?", text) if "celery" not in one[0]]
    assert len(named) > 6
    for section, option, seconds in named:
        default = conf.get_default_value(section, option)
        assert default is not None, (section, option)
        if seconds:
            assert float(default) == float(seconds), (section, option)
    for section, option in re.findall(r"`AIRFLOW__([A-Z_]+?)__([A-Z_]+)`", text):
        assert conf.get_default_value(section.lower(), option.lower()) is not None, (section, option)
    assert f"{int(conf.get_default_value('triggerer', 'capacity')):,} by default" in text


def test_the_retry_delay_and_the_pool_of_the_cluster_page_are_airflows():
    from airflow.cli import cli_parser
    from airflow.configuration import conf

    text = CLUSTER_PAGE.read_text()
    assert f"`retry_delay` ({conf.get_default_value('core', 'default_task_retry_delay')} s" in text
    (command,) = re.findall(r"airflow (pools set .*)", text)
    options = cli_parser.get_parser().parse_args(shlex.split(command))
    assert (options.slots, options.include_deferred) == (10, True)


def test_the_celery_of_the_cluster_page_is_what_the_cluster_is_tried_with():
    text = CLUSTER_PAGE.read_text()
    pins = dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "constraints/airflow-3.3.txt").read_text(), re.M))
    assert f"Celery provider {pins['apache-airflow-providers-celery']} needs `celery<5.7`" in text
    assert tuple(map(int, pins["celery"].split("."))) < (5, 7)
    assert '"celery[redis]>=5.5,<5.7"' in (ROOT / "pyproject.toml").read_text()
    (backend,) = re.findall(r"`(db\+\w+\+\w+://)\w", text)
    assert f"{backend}{{database}}" in (ROOT / "scripts" / "cluster" / "airflow.py").read_text()
