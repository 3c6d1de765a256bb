"""Checks of the settings that hold for a kind of memory: anonymous, shared, or of a file."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from pte_magic.api.why.facts import ANONYMOUS, FILE, SHMEM
from pte_magic.api.why.rows import Row, advise, against, as_root, part
from pte_magic.errors.escapes import visible
from pte_magic.linux import kernel_config
from pte_magic.linux.transparent_hugepages import DIRECTORY
from pte_magic.text.units import size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pte_magic.api.why.facts import Facts, Part
    from pte_magic.linux.transparent_hugepages import Settings

# ext4: "ext4: enable large folio for regular file" (6.16). btrfs: cc38d178ff33 "btrfs: enable large data folio support
# under CONFIG_BTRFS_EXPERIMENTAL" (6.17), up to as many blocks as a word has bits, which is less than a huge page;
# huge ones, and by default, since 7.2.
_LARGE_FOLIOS = "xfs, ext4 (6.16), btrfs (7.2), and others of newer kernels"
_READ_ONLY = "CONFIG_READ_ONLY_THP_FOR_FS"


def rows(facts: Facts) -> Iterator[Row]:
    """Yield the results of the checks."""
    settings = facts.settings
    if settings is None:
        line = f"this kernel has no transparent huge pages, or does not show them here: there is no {DIRECTORY}"
        yield against("enabled", line, facts.rest)
        return
    kinds = {one.kind for one in facts.parts}
    if ANONYMOUS in kinds:
        yield _anonymous(facts, settings)
    if SHMEM in kinds:
        yield _shared(facts, settings)
    if FILE in kinds:
        yield _of_file(facts)
    yield from _smaller(facts, settings)


def _file_of(settings: Settings, word: str, name: str) -> str:
    """Return the file whose word holds for huge pages of the largest size."""
    own = settings.of_size.get(settings.huge)
    of_size = DIRECTORY / f"hugepages-{settings.huge >> 10}kB" / name
    return str(DIRECTORY / name if own is None or word in {"", "inherit"} else of_size)


def _anonymous(facts: Facts, settings: Settings) -> Row:
    own = settings.of_size.get(settings.huge)
    found = f"{settings.enabled or 'not readable'}"
    if own and own.anonymous:
        found += f"; for pages of {size(settings.huge)}: {own.anonymous}"
    file = _file_of(settings, own.anonymous if own else "", "enabled")

    def unasked(one: Part) -> bool:
        return one.kind == ANONYMOUS and "hg" not in one.mapping.flags and "nh" not in one.mapping.flags

    if settings.anonymous == "never":
        left = facts.of(lambda one: one.kind == ANONYMOUS)
        line = f"the administrator gives no huge pages to programs (enabled: never) in {file}"
        return against("enabled", found, left, as_root(f"echo madvise > {file}"), line)
    if settings.anonymous == "madvise" and any(map(unasked, facts.parts)):
        left = facts.of(unasked)
        line = "only memory that asks for huge pages gets them (enabled: madvise), and this does not ask"
        return against("enabled", found, left, advise(facts, *facts.first(unasked)), line)
    return Row("enabled", found)


def _shared(facts: Facts, settings: Settings) -> Row:
    """Return what holds for shared memory: ``shmem_allowable_huge_orders()``, mm/shmem.c."""
    internal = settings.shared
    own = settings.of_size.get(settings.huge)
    words, refused = [], []
    for one in (one for one in facts.parts if one.kind == SHMEM):
        word = internal
        if one.mount and settings.shmem_enabled not in {"deny", "force"}:
            word = next((text[5:].decode() for text in one.mount.options if text.startswith(b"huge=")), "never")
        advised = "hg" in one.mapping.flags
        if word in {"never", "deny"} or (word == "advise" and not advised):
            refused.append((one, word))
        words.append(f"mounted with huge={word}" if one.mount else f"shmem_enabled: {settings.shmem_enabled}")
    found = ", ".join(dict.fromkeys(words))
    if own and own.shared:
        found += f"; for pages of {size(settings.huge)}: {own.shared}"
    if not refused:
        return Row("shared memory", found)
    one, word = refused[0]
    left = facts.of(lambda part_: part_.kind == SHMEM)
    if word == "advise":
        line = "only shared memory that asks for huge pages gets them (advise), and this does not ask"
        todo = advise(facts, one.mapping.region.start, one.mapping.region.end)
    elif one.mount and settings.shmem_enabled != "deny":
        point = visible(one.mount.point.decode(errors="backslashreplace"))
        line = f"it is a file on a tmpfs that gives no huge pages: {point}, mounted with huge=never"
        todo = as_root(f"mount -o remount,huge=advise {shlex.quote(point)}")
    else:
        file = _file_of(settings, own.shared if own and settings.shmem_enabled != "deny" else "", "shmem_enabled")
        line = f"it is shared memory, which gets no huge pages (shmem_enabled: {word}), unlike private memory"
        todo = as_root(f"echo advise > {file}")
    return against("shared memory", found, left, todo, line)


def _of_file(facts: Facts) -> Row:
    """Return what can be seen of mapped files.

    A file gets huge pages where its file system has large folios, and readahead makes one of that size: of a region
    with MADV_HUGEPAGE it does (``do_sync_mmap_readahead()``, mm/filemap.c). Or by khugepaged, of files that nobody
    writes to, if the kernel was built for it.
    """
    parts = [one for one in facts.parts if one.kind == FILE]
    kinds = dict.fromkeys(visible(one.mount.kind.decode()) if one.mount else "no mount here" for one in parts)
    built = {True: "yes", False: "no", None: "not readable"}[kernel_config.has(_READ_ONLY)]
    found = f"{parts[0].mapping.region.name} on {', '.join(kinds)}; {_READ_ONLY}: {built}"
    left = facts.of(lambda one: one.kind == FILE)

    def asks(one: Part) -> bool:
        return "hg" in one.mapping.flags

    if all(map(asks, parts)):
        line = "it is a mapped file, whose pages in the page cache are small; only newly read ones can be huge"
        return Row("mapped file", found, None, left, f"file systems that can: {_LARGE_FOLIOS}", line)
    line = "it is a mapped file, whose pages are those of the page cache, and it does not ask for huge ones"
    todo = advise(facts, *facts.first(lambda one: one.kind == FILE and not asks(one)))
    return against("mapped file", f"{found}; {part(left, facts)}", left, todo, line)


def _smaller(facts: Facts, settings: Settings) -> Iterator[Row]:
    """Yield what holds for sizes below that of an entry of the level above (mTHP, since 6.8)."""
    smaller = {of: words for of, words in settings.of_size.items() if of < settings.huge}
    kinds = {one.kind for one in facts.parts} & {ANONYMOUS, SHMEM}
    if not smaller or not kinds:
        return
    words = {
        of: found.anonymous if ANONYMOUS in kinds else found.shared
        for of, found in smaller.items()
        if (found.anonymous if ANONYMOUS in kinds else found.shared)
    }
    inherited = settings.enabled if ANONYMOUS in kinds else settings.shmem_enabled
    by_word: dict[str, list[int]] = {}
    for of, word in words.items():
        by_word.setdefault(word, []).append(of)
    found = "; ".join(f"{word}: {', '.join(map(size, sizes))}" for word, sizes in by_word.items())
    longest = max(one.mapping.region.end - one.mapping.region.start for one in facts.parts)
    fitting = [of for of in words if of <= longest]
    off = [of for of in fitting if (inherited if words[of] == "inherit" else words[of]) == "never"]
    name = "enabled" if ANONYMOUS in kinds else "shmem_enabled"
    if longest < settings.huge and fitting and off == fitting:
        todo = as_root(f"echo always > {DIRECTORY}/hugepages-{fitting[-1] >> 10}kB/{name}")
        line = f"pages of {size(fitting[0])} to {size(fitting[-1])} would fit, and all of these sizes are off"
        yield against("smaller sizes", found, facts.rest, todo, line)
    else:
        yield Row("smaller sizes", found)
