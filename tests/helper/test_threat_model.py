"""docs/threat-model.md: each of its claims names the tests that hold it, these exist and run, and none is left out."""

from __future__ import annotations

import ast
import re

import pytest
from claims import HELPER, TESTS, claims, functions, named
from conftest import PASSED, needs_root

ABOUT_USE = {
    "test_endings.py": {
        "test_a_closed_walker_says_so",
        "test_a_helper_that_was_killed_at_any_point_is_asked_again_when_it_is_back",
        "test_a_helper_that_was_started_again_meanwhile_goes_unnoticed",
        "test_an_address_space_that_is_gone_is_told_as_by_every_walker",
    },
    "test_hostile_helper.py": {"test_a_walk_goes_on_where_the_helper_closed_between_two_walks"},
    "test_install_service.py": {
        "test_a_path_with_any_character_is_one_word_of_the_command",
        "test_systemd_finds_nothing_wrong_with_the_units",
        "test_systemd_is_told_and_told_again_when_it_is_removed",
        "test_the_service_runs_this_python_with_options_that_serve_takes",
        "test_the_socket_is_the_group_s_where_clients_look",
        "test_what_systemd_refuses_is_one_line",
        "test_without_systemd_running_it_says_what_to_type",
    },
    "test_malformed_messages.py": {"test_the_greeting_says_what_it_is_and_brings_the_memory"},
    "test_safe_directories.py": {
        "test_a_link_of_root_s_is_followed",
        "test_of_many_that_start_at_a_time_one_serves",
        "test_what_goes_wrong_while_it_starts_is_said_and_no_lock_is_left",
        "test_what_does_not_exist_is_made_for_all_to_enter",
    },
    "test_serve.py": {
        "test_a_path_that_is_too_long_for_a_socket_is_told",
        "test_a_socket_that_systemd_passed_is_served_and_stays",
        "test_bad_options_are_one_line_with_the_value",
        "test_greetings_of_something_else_are_one_clear_line",
        "test_it_ends_cleanly_and_leaves_nothing",
        "test_lines_for_the_journal_have_their_priority",
        "test_where_no_helper_listens_the_walker_says_what_to_type",
        "test_who_may_not_connect_is_told_what_to_type",
        "test_without_privileges_it_says_which_are_missing",
    },
}
"""Tests of the helper that hold no claim of safety, but of use."""


def test_every_claim_names_tests_that_pytest_finds_and_does_not_skip() -> None:
    assert claims()
    for claim, tests in claims().items():
        assert tests, claim
        for test in tests:
            found = functions(TESTS / test.file)
            assert found, test
            if test.name:
                assert test.name in found, f"{claim}: {test.file} has no {test.name}"
                marks = ast.unparse(ast.Module(found[test.name].decorator_list, []))  # type: ignore[arg-type]
                assert not re.search(r"\bmark\.(skip|xfail)\b", marks), test


def test_every_test_of_the_helper_holds_a_claim_or_is_known_to_be_about_its_use() -> None:
    """A test that no claim names is a promise that nobody reads; name it there, or in `ABOUT_USE`."""
    holding = {test.name for test in named() if test.file.startswith("helper/")}
    for file in sorted(HELPER.glob("test_*.py")):
        if file.name != "test_threat_model.py":
            use = ABOUT_USE.get(file.name, set())
            assert set(functions(file)) - holding == use, file.name
            assert not use & holding, file.name


@needs_root
def test_every_test_of_a_claim_that_is_run_here_has_passed(request: pytest.FixtureRequest) -> None:
    """It comes late: see conftest.py. Of a part of all tests, those are asked for that belong to it."""
    here = {test for test in named() if not (test.in_a_guest or test.in_the_root)}
    chosen = {item.nodeid.partition("[")[0] for item in request.session.items}
    if request.config.args_source.name != "TESTPATHS":
        files = {node.partition("::")[0] for node in chosen}
        here = {test for test in here if f"tests/{test.file}" in files and (not test.name or known(test, chosen))}
    if not here:
        pytest.skip("needs the tests that hold claims, in the same run")
    missing = [test for test in here if not known(test, PASSED)]
    assert not missing


def known(test: tuple[str, str], nodes: set[str]) -> bool:
    """Tell whether a test, or some of its file, is among names of pytest's."""
    file, name = test
    return any(node == f"tests/{file}::{name}" if name else node.startswith(f"tests/{file}::") for node in nodes)
