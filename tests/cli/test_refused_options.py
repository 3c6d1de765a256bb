"""The command ``pte-magic``: what cannot be understood is refused in one line that says what to type."""

from __future__ import annotations

import pytest

from pte_magic import cli

OPTIONS = {
    "serve": ["--socket", "--group", "--frames", "--walker", "--max-clients", "--max-clients-per-user", "--max-rows"],
    "install-module": ["--release", "--key", "--certificate"],
    "install-service": ["--group", "--frames"],
}
VALUES = {"--walker": "bpf", "--max-clients": "5", "--max-clients-per-user": "5", "--max-rows": "5"}
NUMBERS = ["--max-clients", "--max-clients-per-user", "--max-rows"]
EACH = [(command, option) for command, options in OPTIONS.items() for option in options]


def refused(line: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as caught:
        cli.main(line)
    assert caught.value.code == 2  # as of other commands
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert said.err.startswith("pte-magic")
    assert said.err.endswith(" --help`\n")
    assert len(said.err) < 300
    return said.err


@pytest.mark.parametrize(("command", "option"), EACH)
def test_a_value_is_missing_empty_or_typed_twice(command: str, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    value = VALUES.get(option, "staff")
    said = refused([command, option], capsys)
    assert said.startswith(f"pte-magic {command}: argument {option}: expected one argument; type ")
    assert f"argument {option}: " in refused([command, option, "--nonsense"], capsys)
    assert f"argument {option}: " in refused([command, f"{option}="], capsys)
    assert f"argument {option}: typed twice, the second time with " in refused(
        [command, option, value, f"{option}={value}"], capsys
    )


@pytest.mark.parametrize("option", NUMBERS)
@pytest.mark.parametrize("value", ["x", "0", "-1", "1.5", "\N{DEVANAGARI DIGIT FIVE}", "5" * 5000, "\x1b[31m"])
def test_a_number_is_named_that_is_none(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(["serve", f"{option}={value}"], capsys)
    assert f"argument {option}: " in said
    assert "is not a number from 1 on; type one such as 64" in said


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "pte-magic: the following arguments are required: COMMAND; type "),
        ("serv", "'serv' is not a command; did you mean 'serve'?"),
        ("serve --walker nope", "argument --walker: invalid choice: 'nope' (choose from "),
        ("serve --nonsense", "there is no option '--nonsense'"),
        ("serve more", "'more' is a word too many"),
        ("serve --max 5", "there is no option '--max'; did you mean '--max-"),
        ("install-service --remove=yes", "argument --remove: ignored explicit argument 'yes'"),
    ],
)
def test_what_is_not_understood_is_named(line: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in refused(line.split(), capsys)
