"""The public texts of the API and of the console use the words of the glossary, and no field of
the API is without a description."""

import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest

from revalue.console.web.app import create_app

OPENAPI = create_app("postgresql://nowhere").openapi()
PAGES = files("revalue.console.web").joinpath("pages")

OLD_WORDS = re.compile(
    r"(?<![a-z])(keys?|ow(e|es|ed|ing)|raised?|oracles?|peers?|letters(?<!dead.letters)|away"
    r"|held to be|giv(e|es|en) up|tak(e|es|en) up|put right|a second|a day)(?![a-z])",
    re.IGNORECASE,
)
# Keys of a keyboard, and the attribute by which the page finds the element that had the focus.
ALLOWED = re.compile(r"Arrow keys|data-key")


def old_words(text: str) -> list[str]:
    """Return the words of a text that the glossary replaces by others."""
    return [found[0] for found in OLD_WORDS.finditer(ALLOWED.sub("", text))]


def texts(part: Any) -> Iterator[str]:
    """Yield every name and every text of a part of the OpenAPI document."""
    if isinstance(part, dict):
        for name, value in part.items():
            yield name
            yield from texts(value)
    elif isinstance(part, list):
        for value in part:
            yield from texts(value)
    elif isinstance(part, str):
        yield part


def literals(script: str) -> list[str]:
    """Return the strings and the texts of the templates of a script, without its comments."""
    code = re.sub(r"/\*.*?\*/|(?<!:)//[^\n]*", "", script, flags=re.DOTALL)
    found = re.findall(r'"([^"\n]*)"', code)
    code = re.sub(r'"[^"\n]*"', "0", code)
    while innermost := re.search(r"`((?:[^`$]|\$(?!{))*)`|\$({[^{}`]*})", code):
        found.append(innermost[1] or "")
        code = code[: innermost.start()] + "0" + code[innermost.end() :]
    return found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("keys_left", ["keys"]),
        ("NOT_OWED", ["OWED"]),
        ("The job is taken up again.", ["taken up"]),
        ("letters of recent_dead_letters", ["letters"]),
        ("Arrow keys move along the dates", []),
        ("the monkeys of a keyboard: praised, towed", []),
    ],
)
def test_an_old_word_is_found(text: str, words: list[str]) -> None:
    assert old_words(text) == words


def test_the_texts_of_a_script_are_found() -> None:
    script = """
        // keys of a comment
        /** oracle */
        const url = "http://example.org/a";
        say(`one ${count(n)} two ${late ? `three ${"four"}` : "five"} six`);
    """
    found = literals(script)
    assert set(found) >= {"http://example.org/a", "four", "five", "three 0", "one 0 two 0 six"}
    assert not any("key" in each or "oracle" in each for each in found)


def test_the_openapi_document_uses_the_words_of_the_glossary() -> None:
    assert {text: words for text in texts(OPENAPI) if (words := old_words(text))} == {}


@pytest.mark.parametrize("name", sorted(each.name for each in PAGES.iterdir()))
def test_the_console_uses_the_words_of_the_glossary(name: str) -> None:
    content = PAGES.joinpath(name).read_text()
    found = literals(content) if name.endswith(".js") else [content]
    assert {text: words for text in found if (words := old_words(text))} == {}


def test_everything_in_the_openapi_document_has_a_description() -> None:
    missing = [
        (path, method, each["name"])
        for path, methods in OPENAPI["paths"].items()
        for method, operation in methods.items()
        for each in operation.get("parameters", [])
        if not each.get("description")
    ]
    for name, schema in OPENAPI["components"]["schemas"].items():
        missing += [(name, "", "")] * (not schema.get("description"))
        for field, described in schema.get("properties", {}).items():
            missing += [(name, "", field)] * (not described.get("description"))
    assert missing == []
    for methods in OPENAPI["paths"].values():
        for operation in methods.values():
            assert operation["summary"][-1] != "."
            assert operation["description"]
