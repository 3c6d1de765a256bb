"""The man page has all that the parser has, and nothing else; groff formats it without a warning."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
from pathlib import Path

from conftest import lacking

from pte_magic.cli.main_parser import COMMAND, parser

PAGE = Path(__file__).parents[2] / "docs" / "pte-magic.1"


def commands() -> dict[str, argparse.ArgumentParser]:
    """Return the parsers of all commands, by name."""
    each = next(action for action in parser()._actions if action.dest == COMMAND)
    assert isinstance(each, argparse._SubParsersAction)
    return dict(each.choices)


def letters(text: str) -> str:
    """Return a text without what groff reads, and without spaces: lines may also end after a hyphen."""
    return "".join(re.sub(r"\\f[BIR]|\\[,/&]", "", text.replace(r"\-", "-").replace(r"\(aq", "'")).split())


def test_it_has_each_command_and_option_with_its_help() -> None:
    page = letters(PAGE.read_text(encoding="utf-8"))
    for name, command in commands().items():
        assert letters(str(command.description)) in page, f"{name}: type make man"
        for action in command._actions:
            if not isinstance(action, argparse._HelpAction):
                said = letters(command._get_formatter()._expand_help(action))
                assert said in page, f"{name} {action.dest}: type make man"
                assert all(option in page for option in action.option_strings)


def test_it_has_no_option_that_is_not_there() -> None:
    there = {option for command in commands().values() for option in command._option_string_actions} | {"--version"}
    page = PAGE.read_text(encoding="utf-8").replace(r"\-", "-")
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", page)) <= there


def test_groff_formats_it_without_a_warning() -> None:
    if not shutil.which("groff"):
        lacking("needs groff")
    done = subprocess.run(["groff", "-man", "-ww", "-Tutf8", str(PAGE)], capture_output=True, text=True, check=True)
    assert not done.stderr
    assert "EXIT STATUS" in re.sub(".\b", "", done.stdout)  # printers of old made letters bold by typing them twice
