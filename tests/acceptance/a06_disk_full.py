#!/usr/bin/env python3
"""A6: the repository's disk full at 20 different sizes: exit 1 with a clear line, check clean, goes on after space is made. Needs root (tmpfs)."""
import os
import subprocess

from harness import MIB, Acceptance, Failed, Repository, compare, fresh, has_stack_trace
import corpora  # found by way of harness


def body(a):
    if os.geteuid() != 0:
        raise Failed("needs root, to mount a tmpfs of each size")
    tree = a.path("tree")
    corpora.make("random", os.path.join(tree, "random"), 0.1, a.options.seed)
    corpora.make("small", os.path.join(tree, "small"), 0.02, a.options.seed)
    reference = Repository(a, "reference")
    empty = reference.size()
    reference.must("backup", tree)
    whole = reference.size()
    a.note(f"an empty repository holds {empty} bytes, a whole one {whole}")
    count = 4 if a.short else 20
    # From hardly more than an empty repository to just too little, at uneven steps.
    sizes = sorted({int(empty + 256 * 1024 + (whole - empty) * (i + a.random.random() * 0.9) / count) for i in range(count)})
    mount = a.path("small-disk")
    for number, size in enumerate(sizes):
        fresh(mount)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size // 4096 * 4096},mode=0700", "tmpfs", mount], check=True)
        try:
            name = f"disk of {size / MIB:.1f} MiB"
            repository = Repository(a, f"full-{number}", path=os.path.join(mount, "repository"))
            full = repository.call("backup", tree, "--checkpoint-interval", "1s", timeout=600)
            if full.code == 0:
                a.check(f"{name}: fits after all", repository.call("check").code == 0)
                continue
            clear = any(w in full.text.lower() for w in ("no space", "full", "space")) and not has_stack_trace(full.text)
            a.check(f"{name}: exit 1 with a clear line", full.code == 1 and clear, f"exit {full.code}: {full.text.strip()[-200:]}")
            check = repository.call("check")
            a.check(f"{name}: check is clean", check.code == 0, check.text[-300:] if check.code else "")
            subprocess.run(["mount", "-o", f"remount,size={whole * 3}", mount], check=True)
            repository.must("backup", tree)
            target = fresh(a.path("restored"))
            repository.restore("latest", target)
            compare(a, f"{name}: goes on after space is made, and restores equal", tree, repository.restored(target, tree))
            a.check(f"{name}: check is clean afterwards", repository.call("check", "--read-data").code == 0)
        finally:
            subprocess.run(["umount", mount], check=True)


Acceptance("A6", "disk full at many sizes").run(body)
