"""What Airflow discovers."""

from __future__ import annotations

import importlib
import json
import re
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path
from types import ModuleType, SimpleNamespace

import airflow
import jsonschema
import pytest

from hedra_provider import __version__
from hedra_provider.hooks import HedraHook
from hedra_provider.provider_info import CONNECTION_FIELDS, UI_FIELD_BEHAVIOUR, get_provider_info


def schema(name: str) -> dict:
    return json.loads((Path(airflow.__path__[0]) / name).read_text())


def test_it_validates_against_airflows_schema():
    jsonschema.validate(get_provider_info(), schema("provider_info.schema.json"))


def test_the_form_fields_validate_against_airflows_schema():
    whole = schema("provider.yaml.schema.json")
    about = whole["properties"]["connection-types"]["items"]["properties"]
    if "conn-fields" not in about:
        pytest.skip("this Airflow (3.0, 3.1) has no conn-fields yet; its form reads the hook's widgets")
    jsonschema.validate(get_provider_info()["connection-types"][0]["conn-fields"], about["conn-fields"])


def test_the_form_of_airflow_3_1_shows_the_same_fields(monkeypatch: pytest.MonkeyPatch):
    """It gives the widgets modules of its own where FAB is missing; they take what these take."""
    fab, forms = ModuleType("flask_appbuilder.fieldwidgets"), ModuleType("wtforms")
    fab.BS3TextFieldWidget = SimpleNamespace  # type: ignore[attr-defined]
    forms.StringField = lambda label, **about: {"label": label, **about}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "flask_appbuilder", ModuleType("flask_appbuilder"))
    monkeypatch.setitem(sys.modules, "flask_appbuilder.fieldwidgets", fab)
    monkeypatch.setitem(sys.modules, "wtforms", forms)
    shown = HedraHook.get_connection_form_widgets()
    about = {name: (field["label"], field["description"]) for name, field in shown.items()}
    assert about == {
        name: (field["label"], field["description"]) for name, field in CONNECTION_FIELDS.items()
    }


def test_the_form_of_airflow_3_1_has_the_same_labels():
    behaviour = HedraHook.get_ui_field_behaviour()
    # What does not fit, Airflow leaves out with a line in a log.
    jsonschema.validate(behaviour, schema("customized_form_field_behaviours.schema.json"))
    spelled = {name.replace("_", "-"): value for name, value in behaviour.items()}
    assert spelled == UI_FIELD_BEHAVIOUR


def test_every_module_it_names_is_there():
    text = json.dumps(get_provider_info())
    for name in set(re.findall(r"hedra_provider(?:\.\w+)+", text)):
        if name.endswith("Hook"):
            module, _, attribute = name.rpartition(".")
            assert hasattr(importlib.import_module(module), attribute)
        else:
            importlib.import_module(name)


def test_the_distribution_declares_it():
    entry_points = distribution("airflow-provider-hedra").entry_points
    (found,) = [entry for entry in entry_points if entry.group == "apache_airflow_provider"]
    assert found.load()()["package-name"] == "airflow-provider-hedra"
    assert distribution("airflow-provider-hedra").version == __version__


def test_the_providers_page_links_to_a_page_that_exists():
    """Airflow reads ``Documentation`` of the metadata; without it, it makes up an address of its own."""
    about = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    (integration,) = get_provider_info()["integrations"]
    assert about["project"]["urls"]["Documentation"] == integration["external-doc-url"]


def test_airflow_lists_provider_and_hook():
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()
    assert manager.providers["airflow-provider-hedra"].version == __version__
    assert manager.hooks["hedra"].hook_class_name == "hedra_provider.hooks.HedraHook"
