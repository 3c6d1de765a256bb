"""Lines that cannot be run are refused in one line each, and help needs nothing of what it is about."""

from __future__ import annotations

import importlib
import re
from importlib.metadata import version

import pytest
from conftest import python
from typed_commands import run, said

from pte_magic import walkers
from pte_magic.cli import administration, main_parser
from pte_magic.helper import install_service
from pte_magic.walkers import stap
from pte_magic.walkers.bpf import walker as bpf
from pte_magic.walkers.helper_protocol import DEFAULT_SOCKET, VARIABLE

COMMANDS = ("show", "summary", "watch", "diff", "machine", "decode", "doctor", "snapshot")
ADMINISTRATION = ("serve", "install-module", "install-service")


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("", "COMMAND"),
        ("sohw 1", "'sohw' is not a command; did you mean 'show'?"),
        ("xyzzy", "'xyzzy' is not a command; type one of show, summary,"),
        ("show", "PID"),
        ("show bash", "'bash' is not the number of a process; `pidof NAME` prints those of a program"),
        ("show -- -1", "'-1' is not the number of a process"),
        ("show 11 12 13", "'13' is one pid too many: name one process at a time, as in `pte-magic show 11`"),
        ("show 1 [heap] [stack]", "'[stack]' is a word too many"),
        ("show --jsno 1", "there is no option '--jsno'; did you mean '--json'?"),
        ("show --js 1", "there is no option '--js'; did you mean '--json'?"),
        ("show --json --csv 1", "not allowed with argument --json"),
        ("watch --every 0 1", "'0' is not a number of seconds; type one above 0, such as 0.5"),
        ("diff --seconds nan 1", "'nan' is not a number of seconds"),
        ("decode -l pte 0x67 -l pmd", "argument -l/--level: typed twice, the second time with 'pmd'; type it once"),
        ("show --walker= 1", "argument -w/--walker: the value is empty; type"),
        ("snapshot", "the following arguments are required: PATH; type"),
        ("diff 1", "diff is around a command or some seconds; add -- COMMAND to the line, or --seconds N"),
        ("diff --seconds 1 1 -- true", "diff is around a command or some seconds"),
        ("decode 0x67 zebra", "'zebra' is not a number, such as 0x8000000153016067"),
        ("decode 0x67 --bits --json", "--json does not go with --bits"),
        ("machine --map --csv", "--csv does not go with --map"),
        ("snapshot /nonexistent/x alle", "'alle' is not the number of a process; name numbers, such as 1234, or all"),
        ("serve --max-clients 0", "'0' is not a number from 1 on"),
    ],
)
def test_a_wrong_line_is_refused_in_one(typed: str, expected: str) -> None:
    done = run(*typed.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"pte-magic(?: [a-z]+)?: [^\n]*; type `pte-magic( [a-z]+)? --help`\n", done.stderr)
    assert expected in done.stderr


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("decode 0x67 --level ptt", "level 'ptt' does not exist; type one of pgd, p4d, pud, pmd, pte"),
        ("decode 0x67 --arch x86", "x86"),
        ("decode 0x1ffffffffffffffff", "0x1ffffffffffffffff is not a 64-bit entry; type a number from 0 to 0xf"),
        ("show 999999999", "pid 999999999: no such process"),
        (
            "machine --walker bfp",
            "walker 'bfp' does not exist; type one of auto, bpf, helper, stap, pagemap; did you mean 'bpf'?",
        ),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(typed: str, expected: str) -> None:
    done = run(*typed.split())
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"pte-magic: [^\n]*\n", done.stderr)
    assert expected in done.stderr


def test_the_version_is_the_distribution_s() -> None:
    assert said("--version") == f"pte-magic {version('pte-magic')}\n"


def test_help_names_all_commands_and_each_has_its_own() -> None:
    help_of_all = said("--help")
    for name in (*COMMANDS, *ADMINISTRATION):
        assert re.search(rf"^    {name}\s", help_of_all, re.MULTILINE), name
        assert said(name, "--help").startswith(f"usage: pte-magic {name} ")


def test_the_parser_needs_no_numpy() -> None:
    code = "import sys; from pte_magic.cli import main_parser; main_parser.parser(); print('numpy' in sys.modules)"
    assert python(code) == "False"


def test_what_the_parser_says_without_importing_it_is_so() -> None:
    assert (bpf.NAME, stap.NAME) == administration.LOCAL
    assert {DEFAULT_SOCKET, VARIABLE} <= set(re.findall(r"[\w/-]+", said("serve", "--help")))
    words = " ".join(said("install-service", "--help").split())
    for what in (install_service.SOCKET, install_service.SERVICE, str(install_service.DIRECTORY), DEFAULT_SOCKET):
        assert what in words
    assert set(re.findall(r"\w+", said("show", "--help"))) >= set(walkers.NAMES)


@pytest.mark.parametrize("typed", ["show 1", "summary 1", "watch 1", "diff 1", "machine", "decode 1", "doctor",
                                   "snapshot x", *ADMINISTRATION])  # fmt: skip
def test_each_command_has_a_function(typed: str) -> None:
    module, _, name = main_parser.parse(typed.split()).function.partition(":")
    assert callable(getattr(importlib.import_module(module), name))
