"""The page for operators names every setting with its default and meaning, and every exit code."""

from pathlib import Path
from typing import get_type_hints

from revalue.engine import errors
from revalue.engine.settings import GivenSettings, Settings

PAGE = (Path(__file__).parents[2] / "docs" / "operating.md").read_text()


def test_every_setting_is_on_the_page_as_the_code_has_it() -> None:
    listed = {line.split("`")[1] for line in PAGE.splitlines() if line.startswith("| `REVALUE_")}
    assert listed == {f"REVALUE_{name.upper()}" for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        row = next(
            line for line in PAGE.splitlines() if line.startswith(f"| `REVALUE_{name.upper()}`")
        )
        assert field.description is not None
        assert field.description in row
        if name != "data_dir":
            assert f"| {'' if field.default is None else field.default} |" in row


def test_every_exit_code_is_on_the_page() -> None:
    codes = {
        error.exit_code
        for error in vars(errors).values()
        if isinstance(error, type) and issubclass(error, errors.RevalueError)
    }
    assert codes == {code for code in codes if f"\n| {code} | " in PAGE}


def test_the_arguments_of_connect_are_the_settings() -> None:
    fields = {name: field.annotation for name, field in Settings.model_fields.items()}
    own = {"database_url", "book"}
    assert get_type_hints(GivenSettings) == {
        name: kind for name, kind in fields.items() if name not in own
    }
