"""The public texts of the API and of the console's page use the words of docs/glossary.md."""

import ast
import re
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest

from revalue.console.web.app import create_app
from revalue.engine.correct.inputs.kinds import Kind

# A pattern of a word to avoid, and the word of the glossary.
OLD_WORDS = {
    # --key is the file of a TLS key, and Idempotency-Key a header.
    r"(?<!arrow )(?<!--)(?<!idempotency-)\bkeys?\b": "position",
    r"\b(owed|owes|owing)\b": "due",
    r"\boracle\b": "reference valuation",
    r"\braised?\b": "invalidate",
    r"\bheld to be\b": "considered",
    r"(?<!trading )(?<!database )\bsessions?\b": "business day",
    r"\bgiven up\b": "abandoned",
    r"\btaken up\b": "requeued",
    r"\bput right\b": "restated",
    r"\bunder way\b": "in progress",
    r"\bbusiness dates?\b(?! of)": "business day",
    r"\brows a second\b": "rows per second",
    r"\bno such thing\b": "not found",
    r"\baway\b": "unavailable",
}


def openapi_texts() -> dict[str, str]:
    """Return the texts and the names of the OpenAPI document, by their place in it.

    The kinds of input are not among them: `business_dates` is a table, and the name of its file.
    """
    texts: dict[str, str] = {}

    def collect(node: Any, place: str) -> None:
        for name, value in node.items() if isinstance(node, dict) else enumerate(node):
            here = f"{place}/{name}"
            texts[f"{here} (name)"] = str(name).replace("_", " ")
            if isinstance(value, dict | list):
                collect(value, here)
            elif (
                isinstance(value, str)
                and name not in ("pattern", "$ref")
                and value not in list(Kind)
            ):
                texts[here] = value.replace("_", " ")

    collect(create_app("postgresql://nowhere").openapi(), "")
    return texts


def page_texts() -> dict[str, str]:
    """Return the HTML, and the strings of the scripts, by file and line.

    A string without a space is a name, for example of an attribute or of an event of the browser.
    """
    texts: dict[str, str] = {}
    for each in files("revalue.console.web").joinpath("pages").iterdir():
        if each.name.endswith(".js"):
            for number, line in enumerate(each.read_text().splitlines(), 1):
                strings = re.findall(r'"[^"]*"|`[^`]*`', line)
                texts[f"{each.name}:{number}"] = "\n".join(s for s in strings if " " in s)
        elif each.name.endswith(".html"):
            texts[each.name] = each.read_text()
    return texts


def message_texts() -> dict[str, str]:
    """Return the messages of the server's modules: their strings with a space, not docstrings."""
    texts: dict[str, str] = {}
    for each in files("revalue.console.web").iterdir():
        if each.name.endswith(".py"):
            tree = ast.parse(each.read_text())
            docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
            for node in ast.walk(tree):
                if isinstance(node, ast.Constant) and id(node) not in docstrings:
                    text = str(node.value)
                    if " " in text:
                        texts[f"{each.name}:{node.lineno}:{node.col_offset}"] = text
    return texts


def test_the_texts_are_found() -> None:
    """The test below reads something: there are texts of each kind."""
    document = openapi_texts().values()
    for text in ("Service is healthy.", "Not found", "Retry a job", "Portfolio id."):
        assert text in document
    page = "\n".join(page_texts().values())
    for text in ("Position-days left", "Corrections in progress", "Skip to the content"):
        assert text in page
    assert "a bearer token is required: see `revalue tokens create`" in message_texts().values()


@pytest.mark.parametrize("texts", [openapi_texts, page_texts, message_texts])
def test_public_texts_have_no_old_words(texts: Callable[[], dict[str, str]]) -> None:
    found = [
        f"{place}: say {instead!r}, not {match[0]!r}: {text}"
        for place, text in texts().items()
        for pattern, instead in OLD_WORDS.items()
        for match in [re.search(pattern, text, re.IGNORECASE)]
        if match
    ]
    assert found == []
