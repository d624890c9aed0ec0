#!/usr/bin/env python3
"""A2: what does not change is not stored again: unchanged, renamed, shifted, on another host."""
import os

from harness import MIB, Acceptance, Repository, compare, human
import corpora  # found by way of harness


def body(a):
    scale = 0.1 if a.short else 1.0
    tree = a.path("tree")
    os.makedirs(tree)
    # A folder of 1 GB: 700 MB of it in 20,000 small files' company, as folders are.
    corpora.make("random", os.path.join(tree, "folder", "large"), 0.7 * scale, a.options.seed)
    corpora.make("small", os.path.join(tree, "folder", "small"), 0.8 * scale, a.options.seed + 1)
    one = os.path.join(corpora.make("random", os.path.join(tree, "single"), 1.0 * scale, a.options.seed + 2), "random.bin")
    for folder, _, files in os.walk(tree):
        for file in files:
            if file.endswith(".done"):
                os.unlink(os.path.join(folder, file))
    repository = Repository(a)

    def step(name, limit, *options):
        before = repository.size()
        result = repository.must("backup", tree, *options, "--json")
        summary, growth = result.summary(), repository.size() - before
        if limit is not None:
            a.check(name, growth < limit, f"the repository grew by {growth} bytes, allowed {limit}; summary: {summary['data_added_packed']} packed, "
                    f"{summary['data_blobs']} data blobs, {summary['tree_blobs']} tree blobs; {result.seconds:.2f} s")
        else:
            a.note(f"{name}: stored {human(growth)} of {human(summary['total_bytes_processed'])} in {result.seconds:.1f} s")
        return summary

    step("first backup", None)
    step("an unchanged second backup adds under 64 KiB", 64 * 1024)
    full = step("the same with --type full adds under 64 KiB", 64 * 1024, "--type", "full")
    a.check("--type full read everything again and stored no data", full["data_blobs"] == 0, f"{full['data_blobs']} data blobs")
    other = step("the same tree on another host name adds under 64 KiB", 64 * 1024, "--host", "another-host")
    # The folders above the tree changed meanwhile (this script's own files lie there), so that a few tree blobs are right.
    a.check("another host adds no data", other["data_blobs"] == 0, f"{other['data_blobs']} data blobs, {other['tree_blobs']} tree blobs")
    os.rename(os.path.join(tree, "folder"), os.path.join(tree, "renamed folder"))
    step("the rename of a 1 GB folder adds under 1 MiB", MIB)
    with open(one, "rb") as old, open(one + ".new", "wb") as new:
        new.write(os.urandom(100))
        while block := old.read(8 * MIB):
            new.write(block)
    size = os.path.getsize(one)
    os.replace(one + ".new", one)
    step("100 bytes inserted at the start of a 1 GB file add under 3 %", int(size * 0.03) if not a.short else max(int(size * 0.03), 5 * MIB))
    repository.restore("latest", a.path("restored"))
    compare(a, "the last snapshot restores equal", tree, repository.restored(a.path("restored"), tree))


Acceptance("A2", "deduplication figures").run(body)
