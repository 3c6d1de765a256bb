"""What is found out about the running kernel, against its configuration and what it does."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from kernel_macros import FEATURES_OF

from pte_magic.formats import features, kernel
from pte_magic.formats.kernel import fields
from pte_magic.linux import hardware
from pte_magic.linux.address_bits import AddressBits

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
OTHERS = [
    (
        "x86_64-6.1",
        "migration_entry_wait PG_hwpoison follow_devmap_pmd",
        "MIGRATION MEMORY_FAILURE PTE_MARKER",
        "migration memory_failure pte_marker swapin_error_type devmap58",
    ),
    (
        "x86_64-6.14",
        "PG_hwpoison can_change_pmd_writable arch_check_zapped_pte follow_devmap_pmd make_device_exclusive_range",
        "MIGRATION MEMORY_FAILURE DEVICE_PRIVATE",
        "migration memory_failure device_private device_exclusive_pair pte_marker devmap57 saved_dirty",
    ),
    (
        "x86_64-7.2",
        "migration_entry_wait PG_hwpoison can_change_pmd_writable arch_check_zapped_pte make_device_exclusive",
        "MIGRATION MEMORY_FAILURE DEVICE_PRIVATE",
        "migration memory_failure device_private pte_marker saved_dirty",
    ),
    (
        "x86_64-6.18 without memory failure",
        "migration_entry_wait can_change_pmd_writable arch_check_zapped_pte",
        "MIGRATION",
        "migration pte_marker saved_dirty",
    ),
    (
        "arm64_4k-6.1",
        "migration_entry_wait memory_failure_queue handle_userfault follow_devmap_pmd",
        "MIGRATION MEMORY_FAILURE USERFAULTFD",
        "migration memory_failure swapin_error_type devmap prot_none58",
    ),
    (
        "arm64_4k-6.12",
        "vmalloc_noprof follow_devmap_pmd can_change_pte_writable arch_set_user_pkey_access handle_userfault",
        "MIGRATION MEMORY_FAILURE USERFAULTFD HAVE_ARCH_USERFAULTFD_WP ARM64_PA_BITS_52",
        "migration memory_failure pte_marker devmap present_invalid uffd_wp",
    ),
    (
        "arm64_16k-7.2",
        "vmalloc_noprof can_change_pte_writable migration_entry_wait memory_failure_queue make_device_exclusive",
        "MIGRATION MEMORY_FAILURE DEVICE_PRIVATE",
        "migration memory_failure device_private pte_marker present_invalid",
    ),
    ("x86_32-6.1", "migration_entry_wait", "MIGRATION", "migration swapin_error_type"),
    (
        "x86_pae-6.12",
        "migration_entry_wait can_change_pte_writable do_vmi_munmap arch_check_zapped_pte",
        "MIGRATION SPARSEMEM",
        "migration pte_marker saved_dirty swp_exclusive sparsemem",
    ),
]


@pytest.mark.parametrize(("kernel_", "names", "config", "expected"), OTHERS, ids=[name for name, *_ in OTHERS])
def test_features_of_other_kernels(
    kernel_: str, names: str, config: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "\n" + "".join(f"CONFIG_{option}=y\n" for option in config.split())
    monkeypatch.setattr(features, "_config", lambda: text)
    _pretend(monkeypatch, set(names.split()).__contains__, kernel_.partition("-")[0])
    assert _without_run_time(features.running.__wrapped__()) == set(expected.split())


@pytest.mark.parametrize(
    ("encoding", "names", "expected"),
    [
        (
            "x86_64",
            "can_change_pmd_writable arch_check_zapped_pte make_device_exclusive",
            "device_private pte_marker saved_dirty",
        ),
        ("arm64_4k", "migration_entry_wait handle_userfault", "migration swapin_error_type prot_none58"),
        (
            "arm64_4k",
            "vmalloc_noprof can_change_pte_writable handle_userfault",
            "pte_marker present_invalid uffd_wp",
        ),
    ],
)
def test_features_of_a_kernel_without_configuration(
    encoding: str, names: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "_config", lambda: "")
    _pretend(monkeypatch, set(names.split()).__contains__, encoding)
    assert _without_run_time(features.running.__wrapped__()) == set(expected.split())


def _pretend(monkeypatch: pytest.MonkeyPatch, knows: Callable[[str], bool], encoding: str) -> None:
    monkeypatch.setattr(features, "_names", lambda: knows)
    monkeypatch.setattr(hardware, "encoding", lambda: encoding)


def _without_run_time(found: frozenset[str]) -> set[str]:
    return set(found) - {"soft_dirty", "numa_balancing", "poe", "shadow_stack"}


@pytest.mark.parametrize("release", ["6.1", "6.12", "7.2"])
def test_what_kernels_of_a_release_usually_do_is_what_those_of_a_distribution_do(release: str) -> None:
    major, minor = map(int, release.split("."))
    found = kernel.of_release("x86_64", (major, minor))
    seen = kernel.known("x86_64", 4, frozenset(FEATURES_OF[release].split()))
    assert found.swap == seen.swap
    assert {field.name for field in fields(found)} == {field.name for field in fields(seen)}


def test_features_have_a_meaning() -> None:
    assert kernel.running().features <= set(features.FEATURES)


def test_kernel_is_looked_at_once() -> None:
    assert kernel.running() is kernel.running()
    assert kernel.running(AddressBits(1 << 47)).physical_mask == kernel.running().physical_mask & ~(1 << 47)


@pytest.mark.skipif(hardware.machine() != "x86_64", reason="needs x86-64, whose CPU has a flag for five levels")
def test_levels_are_as_the_cpu_flags_say() -> None:
    flags = re.search(r"^flags\s*:.*", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    assert flags
    five = " la57 " in f"{flags[0]} "
    assert (hardware.levels(), hardware.user_limit()) == ((5, 1 << 56) if five else (4, 1 << 47))
