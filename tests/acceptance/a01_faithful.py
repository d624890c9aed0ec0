#!/usr/bin/env python3
"""A1: /usr/share, a Python installation and a tree with every kind of entry come back to the last bit of data and metadata."""
import glob
import os
import subprocess
import sys
import time

from harness import HERE, Acceptance, Repository, compare, need


def rsync_agrees(a, source, target):
    for name, first, second in (("rsync source → restored", source, target), ("rsync restored → source", target, source)):
        result = a.execute(["rsync", "-aHAXSn", "--numeric-ids", "--delete", "--itemize-changes", first + "/", second + "/"])
        a.check(f"{name} prints nothing", result.code == 0 and not result.text, result.text[:1500])


def body(a):
    need("rsync", "setfacl", "setcap")
    if os.geteuid() != 0:
        a.note("not root: devices, other owners, capabilities and trusted xattrs are left out")
    odd = a.path("odd")
    made = a.execute([sys.executable, os.path.join(HERE, "build_tree.py"), *(["--short"] if a.short else []), "--seed", str(a.options.seed), odd])
    a.check("the tree with every kind of entry is made", made.code == 0, made.text.strip()[-800:])

    installed = sorted(p for p in glob.glob("/usr/lib/python3*") if os.path.isdir(p) and not os.path.islink(p))
    sources = [odd, *installed, *([] if a.short else ["/usr/share"])]
    repository = Repository(a)
    # What changed in the two seconds before a run is read again by the next: let the tree come to rest.
    time.sleep(3)
    backup = repository.must("backup", *sources, "--json")
    summary = backup.summary()
    a.note(f"{summary['total_files_processed']} files, {summary['total_bytes_processed']} bytes backed up in {backup.seconds:.1f} s; "
           f"stored {repository.size()} bytes; peak {backup.peak // 2**20} MiB")
    a.check("no source item failed", summary["files_failed"] == 0, str(summary["files_failed"]))

    target = a.path("restored")
    restore = repository.restore("latest", target)
    a.note(f"restored in {restore.seconds:.1f} s; peak {restore.peak // 2**20} MiB")
    a.check("restore tells no warning", "warning" not in restore.text.lower(), restore.text[-800:])
    for source in sources:
        back = repository.restored(target, source)
        compare(a, f"times in ns, xattrs, holes, everything: {source}", source, back)
        # rsync has no paths beyond PATH_MAX; the comparer above has been there.
        rsync_agrees(a, *((os.path.join(source, "tree"), os.path.join(back, "tree")) if source == odd else (source, back)))

    part = a.path("part")
    repository.restore(f"latest:{odd}/tree/links", part)
    compare(a, "SNAP:/p puts p's contents into the target", os.path.join(odd, "tree", "links"), part, *[])
    # A file whose mtime lies ahead of the clock can never be told to be unchanged, so it is read again each time.
    ahead = sum(os.lstat(os.path.join(folder, name)).st_mtime > time.time() for source in sources
                for folder, _, names in os.walk(os.fsencode(source)) for name in names
                if not os.path.islink(os.path.join(folder, name)) and os.path.isfile(os.path.join(folder, name)))
    again = repository.backup(*sources)
    a.check("an unchanged second backup finds nothing new or changed", again["files_new"] == 0 and again["files_changed"] == ahead,
            f"{again['files_new']} new, {again['files_changed']} changed, {again['files_unmodified']} unmodified")
    check = repository.call("check", "--read-data")
    a.check("check --read-data is clean", check.code == 0, check.text[-500:] if check.code else "")


Acceptance("A1", "a faithful restore of every kind of entry").run(body)
