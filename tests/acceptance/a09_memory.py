#!/usr/bin/env python3
"""A9: backing up 1,000,000 small files stays under 300 MB of memory; restoring them too."""
import os

from harness import Acceptance, Repository, compare
import corpora  # found by way of harness

LIMIT = 300_000_000


def body(a):
    count = 50_000 if a.short else 1_000_000
    tree = corpora.make("million", os.path.join(a.options.corpus or a.path(), "million"), count / 1_000_000, a.options.seed)
    a.note(f"{count} files are there")
    repository = Repository(a)
    for name, args in (("first backup", ("backup", tree)), ("unchanged backup", ("backup", tree)), ("full backup", ("backup", tree, "--type", "full"))):
        result = repository.must(*args)
        a.check(f"{name} of {count} files stays under 300 MB", result.peak < LIMIT,
                f"peak {result.peak / 1e6:.0f} MB, {result.seconds:.1f} s, {count / result.seconds:.0f} entries/s")
    a.note(f"{repository.size() / 1e6:.0f} MB stored")
    target = a.path("restored")
    result = repository.restore("latest", target)
    a.check(f"restore of {count} files stays under 300 MB", result.peak < LIMIT, f"peak {result.peak / 1e6:.0f} MB, {result.seconds:.1f} s")
    compare(a, "they restore equal", tree, repository.restored(target, tree))
    check = repository.must("check")
    a.check("check stays under 300 MB", check.peak < LIMIT, f"peak {check.peak / 1e6:.0f} MB, {check.seconds:.1f} s")


Acceptance("A9", "memory with a million files", lambda p: p.add_argument("--corpus", help="folder that keeps the files between runs")).run(body)
