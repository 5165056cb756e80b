"""The options: one list, which the command line, ``testing.Sandbox`` and the page of the docs follow."""

from __future__ import annotations

import inspect
from dataclasses import fields
from pathlib import Path

import pytest

from hedra_provider.sandbox.__main__ import _parser
from hedra_provider.sandbox.faults import Fault
from hedra_provider.sandbox.options import Options
from hedra_provider.testing import Sandbox

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "sandbox.md").read_text("utf-8")


def test_the_sandbox_of_tests_has_the_same_names_and_defaults() -> None:
    ours = {
        name: p.default
        for name, p in inspect.signature(Sandbox.__init__).parameters.items()
        if name != "self"
    }
    # Tests listen on loopback only, and a generation takes no time unless a test gives one.
    wanted = {option.name: option.default for option in fields(Options) if option.name != "host"}
    assert ours == wanted | {"seconds": 0.0, "queue_seconds": 0.0}


def test_the_sandbox_of_tests_hands_each_option_on(tmp_path: Path) -> None:
    given = {
        "api": "both", "api_key": "k", "api_key_v3": "k:s", "usd": 1.5, "requests_per_window": 11,
        "window_seconds": 12.0, "idempotency": "body", "key_hours": 13.0, "key_form": "uuid",
        "compare": "json", "burn_rejected_keys": True, "two_at_once": "wait", "submit_seconds": 14.0,
        "lapsed_replay": "expired", "workspaces": {"a": 1}, "credits": 2, "seconds": 3.0,
        "queue_seconds": 4.0, "max_parallel": 5, "rate": 6.0, "duplicate_id": "return", "batch": False,
        "media": False, "url_seconds": 7, "max_bytes": 8, "max_kept_bytes": 9, "state": tmp_path / "s",
        "port": 10,
    }  # fmt: skip
    assert Sandbox(**given)._options == Options(**given)  # type: ignore[arg-type]
    assert given.keys() | {"host"} == {option.name for option in fields(Options)}


def test_the_command_line_has_every_option() -> None:
    assert Options(**vars(_parser().parse_args([]))) == Options()
    line = (
        "--host 127.0.0.2 --port 1 --api-key k --workspace a=1 --workspace b=2 --credits 2 --seconds 3.5 "
        "--queue-seconds 4 --max-parallel 5 --rate 6.5 --duplicate-id error --no-batch --no-media "
        "--url-seconds 7 --max-bytes 8 --max-kept-bytes 9 --state f --api both "
        "--api-key-v3 k:s --usd 1.5 --requests-per-window 11 --window-seconds 12.5 --idempotency both "
        "--key-hours 13 --key-form uuid --compare json --burn-rejected-keys --two-at-once wait "
        "--submit-seconds 14 --lapsed-replay expired"
    )
    given = vars(_parser().parse_args(line.split()))
    assert given == {
        "host": "127.0.0.2", "port": 1, "api_key": "k", "workspaces": [("a", 1), ("b", 2)], "credits": 2,
        "seconds": 3.5, "queue_seconds": 4.0, "max_parallel": 5, "rate": 6.5, "duplicate_id": "error",
        "batch": False, "media": False, "url_seconds": 7, "max_bytes": 8, "max_kept_bytes": 9,
        "state": Path("f"), "api": "both", "api_key_v3": "k:s", "usd": 1.5, "requests_per_window": 11,
        "window_seconds": 12.5, "idempotency": "both", "key_hours": 13.0, "key_form": "uuid",
        "compare": "json", "burn_rejected_keys": True, "two_at_once": "wait", "submit_seconds": 14.0,
        "lapsed_replay": "expired",
    }  # fmt: skip


def option_rows() -> str:
    """The table of the page, made of the list."""
    rows = []
    for option in fields(Options):
        flag = option.metadata.get("flag", "--" + option.name.replace("_", "-"))
        # A flag that switches something off has its meaning when the option is False.
        name = f"{option.name}=False" if option.default is True else option.name
        default = "" if option.default in (None, True, False) else option.default
        rows.append(f"| `{flag}` | `{name}` | {option.metadata['help']} | {default} |")
    return "\n".join(rows)


def test_the_page_has_every_option() -> None:
    assert option_rows() in PAGE, f"put this into docs/reference/sandbox.md:\n{option_rows()}"


def test_the_page_has_every_field_of_a_fault() -> None:
    for field in fields(Fault):
        if field.name not in ("seen", "applied"):
            assert f"| `{field.name}` |" in PAGE, field.name
            assert f":param {field.name}:" in (Fault.__doc__ or ""), field.name


@pytest.mark.parametrize(
    "wrong",
    [{"duplicate_id": "x"}, {"rate": 0}, {"seconds": -1}, {"credits": -5}, {"seconds": float("nan")},
     {"queue_seconds": float("inf")}, {"port": 65_536}, {"url_seconds": 10**12},
     {"api": "4"}, {"api_key": "a:b"}, {"api_key": "a", "api": 3}, {"api_key_v3": "a"},
     {"window_seconds": 0}, {"compare": "x"}, {"usd": -1}],
)  # fmt: skip
def test_a_wrong_value_names_its_option(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Options(**wrong)  # type: ignore[arg-type]
