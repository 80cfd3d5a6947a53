"""Outputs are whole or not there, and never replace anything unasked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from prunelimit.errors import InputError, OutputError
from prunelimit.storage.files import check_writable, read_json, write_json, writing


def test_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    target = tmp_path / "out.txt"
    with pytest.raises(RuntimeError), writing(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_existing_file_survives_unless_forced(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    write_json(target, {"a": 1})
    with pytest.raises(OutputError, match="`force`"):
        write_json(target, {"a": 2})
    assert read_json(target) == {"a": 1}
    write_json(target, {"a": 2}, force=True)
    assert read_json(target) == {"a": 2}
    with pytest.raises(RuntimeError), writing(target, force=True):
        raise RuntimeError
    assert read_json(target) == {"a": 2}
    assert list(tmp_path.iterdir()) == [target]


def test_places_that_cannot_be_written_are_told_beforehand(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no folder"):
        check_writable(tmp_path / "missing" / "out.json")
    with pytest.raises(OutputError, match="is a folder"):
        check_writable(tmp_path, force=True)
    with pytest.raises(OutputError, match="not an ordinary file"):
        check_writable(Path(os.devnull), force=True)
    with pytest.raises(OutputError, match="cannot be written"), writing(tmp_path / ("x" * 300)):
        pass


@pytest.mark.parametrize("content", ["", "{", "[1]", "\x80"])
def test_what_is_no_json_object_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "in.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(InputError, match=r"in\.json"):
        read_json(path)
    with pytest.raises(InputError, match="no file"):
        read_json(tmp_path / "missing.json")
