"""A language has a name, which v2 takes, and a code, which v3 takes."""

from __future__ import annotations

import pytest

from hedra_provider.sandbox.catalogue import LANGUAGES
from hedra_provider.service.languages import language_code, language_name, same_language


@pytest.mark.parametrize("name", sorted(LANGUAGES - {"auto"}))
def test_each_language_of_v2_has_a_code_and_a_way_back(name: str):
    code = language_code(name)
    assert code.islower()
    assert 2 <= len(code) <= 3
    assert language_name(code) == name
    assert language_name(name.upper()) == name


def test_no_two_languages_of_v2_are_one():
    assert len({same_language(name) for name in LANGUAGES}) == len(LANGUAGES)


@pytest.mark.parametrize(
    ("language", "code", "name"),
    [
        ("auto", "auto", "auto"),
        (" german ", "de", "German"),
        ("de-AT", "de-AT", "German"),
        ("EN", "EN", "English"),
        ("Cantonese", "yue", "Chinese,Yue"),
        ("Klingon", "Klingon", "Klingon"),
        ("tlh", "tlh", "tlh"),
    ],
)
def test_a_language_on_both_versions(language: str, code: str, name: str):
    assert (language_code(language), language_name(language)) == (code, name)
