"""The documents say what the code does."""

from __future__ import annotations

import itertools
import re
import shlex
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_table_of_errors_is_made_from_the_code():
    from scripts.error_table import TARGET, text

    assert TARGET.read_text() == text(), "run: python -m scripts.error_table"


def test_the_table_of_errors_has_the_error_of_every_status():
    import httpx

    from hedra_provider.api.error_bodies import error_from_response

    section = (
        (ROOT / "docs" / "reference" / "errors.md")
        .read_text()
        .partition("## HTTP statuses")[2]
        .partition("##")[0]
    )
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


def test_every_test_that_the_page_of_faults_seen_in_use_names_is_in_the_file_that_it_links():
    page = ROOT / "docs" / "proof" / "field.md"
    assert re.search(r"`test_\w+`", page.read_text())
    assert missing_tests(page) == []


def test_a_missing_test_is_found(tmp_path: Path):
    (tmp_path / "test_a.py").write_text("def test_one():\n    test_two()\n")
    page = tmp_path / "page.md"
    page.write_text("[`test_one`](test_a.py) [`test_two`](test_a.py) [`test_one`](test_b.py) `test_three`")
    assert missing_tests(page) == ["test_two", "test_one", "test_three"]


def missing_tests(page: Path) -> list[str]:
    """Return the tests that a page names without a link to the file that defines them."""
    missing = []
    for name, link in re.findall(r"`(test_\w+)`(?:\]\(([^)]+)\))?", page.read_text()):
        file = page.parent / link
        if not file.is_file() or not re.search(rf"def {name}\(", file.read_text()):
            missing.append(name)
    return missing


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


def test_the_readme_names_every_operator():
    from scripts.reference import kinds

    text = (ROOT / "README.md").read_text()
    assert [kind.__name__ for kind in kinds() if f"[`{kind.__name__}`](" not in text] == []


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) < 180


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_are_targets(page: Path):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = re.findall(r"(?:`|^ *)make ((?:[a-z-]+ ?)+)(?=[`\"A-Z#\n]|  )", page.read_text(), re.M)
    assert {target for words in named for target in words.split()} <= targets


def test_the_commands_of_the_readme_are_found():
    text = (ROOT / "README.md").read_text()
    named = re.findall(r"(?:`|^ *)make ((?:[a-z-]+ ?)+)(?=[`\"A-Z#\n]|  )", text, re.M)
    assert {"demo", "airflow", "test", "bench-batch"} <= {one.strip() for one in named}


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
    documented = rows_of("explanation/waiting.md", head, r" *\| *")
    seen = rows_of("proof/benchmarks.md", head_of_benchmark, r" {2,}")
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
    assert f"{backend}{{database}}" in (ROOT / "testbed" / "cluster_airflow.py").read_text()


@pytest.mark.parametrize("name", ["README.md", "docs/tutorial.md", "docs/reference/connection.md"])
def test_the_command_that_stores_the_connection_is_airflows(name: str):
    from airflow.cli import cli_parser

    found = re.findall(r"^ *airflow (connections add .*)$", (ROOT / name).read_text(), re.M)
    assert found
    for command in found:
        options = cli_parser.get_parser().parse_args(shlex.split(command))
        assert (options.conn_id, options.conn_type, options.conn_password) == (
            "hedra_default",
            "hedra",
            "YOUR KEY",
        )
