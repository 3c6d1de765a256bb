"""What is found out about the running kernel, against its configuration and what it does."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pte_magic import hardware
from pte_magic.formats import features, kernel

if TYPE_CHECKING:
    from collections.abc import Callable

CONFIG = Path("/proc/config.gz")
OPTIONS = {
    "migration": "MIGRATION",
    "memory_failure": "MEMORY_FAILURE",
    "device_private": "DEVICE_PRIVATE",
    "soft_dirty": "MEM_SOFT_DIRTY",
}

needs_config = pytest.mark.skipif(not CONFIG.exists(), reason="needs a kernel with CONFIG_IKCONFIG_PROC")
needs_btf = pytest.mark.skipif(not features.BTF.exists(), reason="needs a kernel with CONFIG_DEBUG_INFO_BTF")


@needs_config
@pytest.mark.parametrize(("feature", "option"), OPTIONS.items())
def test_feature_is_there_if_it_was_configured(feature: str, option: str) -> None:
    config = gzip.decompress(CONFIG.read_bytes()).decode().splitlines()
    assert (feature in kernel.running().features) == (f"CONFIG_{option}=y" in config)


@needs_config
def test_names_of_the_kernel_tell_what_its_configuration_does(monkeypatch: pytest.MonkeyPatch) -> None:
    by_config = features.running.__wrapped__()
    monkeypatch.setattr(features, "_config", lambda: "")
    assert features.running.__wrapped__() == by_config


@needs_btf
def test_symbols_of_the_kernel_tell_what_its_types_do(monkeypatch: pytest.MonkeyPatch) -> None:
    by_types = features.running.__wrapped__()
    monkeypatch.setattr(features, "BTF", Path("/nonexistent"))
    assert features.running.__wrapped__() == by_types


@needs_btf
def test_names_are_whole_names() -> None:
    knows = features._names()
    assert knows("do_exit")
    assert not knows("do_exi")
    assert not knows("o_exit")


# What BTF names of Debian's kernels (and 6.14's source) hold, and what those kernels do.
@pytest.mark.parametrize(
    ("names", "config", "expected"),
    [
        (
            "migration_entry_wait PG_hwpoison follow_devmap_pmd",
            "MIGRATION MEMORY_FAILURE PTE_MARKER",
            "migration memory_failure pte_marker swapin_error_type devmap58",
        ),
        (
            "PG_hwpoison can_change_pmd_writable arch_check_zapped_pte follow_devmap_pmd make_device_exclusive_range",
            "MIGRATION MEMORY_FAILURE DEVICE_PRIVATE",
            "migration memory_failure device_private device_exclusive_pair pte_marker devmap57 saved_dirty",
        ),
        (
            "migration_entry_wait PG_hwpoison can_change_pmd_writable arch_check_zapped_pte make_device_exclusive",
            "MIGRATION MEMORY_FAILURE DEVICE_PRIVATE",
            "migration memory_failure device_private pte_marker saved_dirty",
        ),
        (
            "migration_entry_wait can_change_pmd_writable arch_check_zapped_pte",
            "MIGRATION",
            "migration pte_marker saved_dirty",
        ),
    ],
    ids=["6.1", "6.14", "7.2", "6.18 without memory failure"],
)
def test_features_of_other_kernels(names: str, config: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\n" + "".join(f"CONFIG_{option}=y\n" for option in config.split())
    monkeypatch.setattr(features, "_config", lambda: text)
    _pretend(monkeypatch, set(names.split()).__contains__)
    assert _without_run_time(features.running.__wrapped__()) == set(expected.split())


def test_features_of_a_kernel_without_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "_config", lambda: "")
    _pretend(monkeypatch, {"can_change_pmd_writable", "arch_check_zapped_pte", "make_device_exclusive"}.__contains__)
    assert _without_run_time(features.running.__wrapped__()) == {"device_private", "pte_marker", "saved_dirty"}


def _pretend(monkeypatch: pytest.MonkeyPatch, knows: Callable[[str], bool]) -> None:
    monkeypatch.setattr(features, "_names", lambda: knows)


def _without_run_time(found: frozenset[str]) -> set[str]:
    return set(found) - {"soft_dirty", "numa_balancing"}


def test_features_have_a_meaning() -> None:
    assert kernel.running().features <= set(features.FEATURES)


def test_kernel_is_looked_at_once() -> None:
    assert kernel.running() is kernel.running()
    assert kernel.running(1 << 47).physical_mask == kernel.running().physical_mask & ~(1 << 47)


def test_levels_are_as_the_cpu_flags_say() -> None:
    flags = re.search(r"^flags\s*:.*", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    assert flags
    five = " la57 " in f"{flags[0]} "
    assert (hardware.levels(), hardware.user_limit()) == ((5, 1 << 56) if five else (4, 1 << 47))
