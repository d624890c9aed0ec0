#!/usr/bin/env python3
"""A4: four backups of different trees at once into one repository, which share part of their contents."""
import os

from harness import Acceptance, Failed, Repository, compare, copy_tree
import corpora  # found by way of harness


def body(a):
    scale = 0.02 if a.short else 0.15
    shared = corpora.make("small", a.path("shared"), scale, a.options.seed)
    trees = []
    for n in range(4):
        tree = a.path(f"tree-{n}")
        corpora.make("random", os.path.join(tree, "own"), scale, a.options.seed + n)
        copy_tree(shared, os.path.join(tree, "shared"))
        trees.append(tree)
    repository = Repository(a)
    for round_number in range(1 if a.short else 3):
        if round_number:
            for n, tree in enumerate(trees):
                corpora.make("change", os.path.join(tree, "own"), 1, a.options.seed * 10 + round_number * 4 + n)
                corpora.make("change", os.path.join(tree, "shared"), 1, a.options.seed * 10 + round_number)  # the same change in all four
        processes = [repository.start("backup", tree, "--host", f"host-{n}") for n, tree in enumerate(trees)]
        codes = [p.wait(timeout=1800) for p in processes]
        with open(a.path("started.log"), "rb") as log:
            told = log.read().decode("utf-8", "replace")
        a.check(f"round {round_number + 1}: four backups at once end with 0", codes == [0] * 4, f"{codes} {told[-1000:] if any(codes) else ''}")
    snapshots = repository.snapshots()
    a.check("every snapshot is listed", len(snapshots) == 4 * (1 if a.short else 3), str(len(snapshots)))
    for n, tree in enumerate(trees):
        own = sorted((s for s in snapshots if s["hostname"] == f"host-{n}"), key=lambda s: s["time"])
        if not own:
            raise Failed(f"no snapshot of host-{n}")
        target = a.path(f"restored-{n}")
        repository.restore(own[-1]["id"], target)
        compare(a, f"tree {n} restores equal", tree, repository.restored(target, tree))
    check = repository.call("check", "--read-data")
    a.check("check --read-data is clean", check.code == 0, check.text[-500:] if check.code else "")


Acceptance("A4", "four backups at once").run(body)
