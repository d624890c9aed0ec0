#!/usr/bin/env python3
"""B5, copy: a repository aged by days of small changes is copied, killed, taken up, exported, imported; beside it restic copies the same data."""
import os
import shutil
import subprocess
import sys
import time

from harness import MIB, ROOT, Acceptance, Failed, Repository, compare, copy_tree, human, kill_group
import corpora  # found by way of harness


class Restic:
    """A restic repository, and its copy."""

    def __init__(self, a, name):
        self.a, self.path = a, a.path(name)
        self.call("init")

    def call(self, *args, source=None):
        env = self.a.environment(RESTIC_REPOSITORY=self.path, RESTIC_PASSWORD_FILE=self.a.password_file, RESTIC_CACHE_DIR=self.a.path("restic-cache"),
                                 RESTIC_FROM_REPOSITORY=source, RESTIC_FROM_PASSWORD_FILE=self.a.password_file if source else None)
        result = self.a.execute(["restic", *args], env=env)
        if result.code != 0:
            raise Failed(f"restic {args[0]} ended with {result.code}: {result.text[-500:]}")
        return result

    def size(self):
        return sum(os.lstat(os.path.join(folder, file)).st_size for folder, _, files in os.walk(self.path) for file in files)


def change(a, tree, day):
    """A day's work: some files are written again, one is new, one goes, a log grows, a large file changes in its middle."""
    small = sorted(os.path.join(folder, file) for folder, _, files in os.walk(os.path.join(tree, "small")) for file in files if not file.endswith(".done"))
    for path in a.random.sample(small, max(1, len(small) // 200)):
        with open(path, "wb") as file:
            file.write(b"day %d\n" % day + a.random.randbytes(a.random.randrange(1, 4000)))
    os.unlink(a.random.choice(small))
    with open(os.path.join(tree, "small", f"new on day {day}"), "wb") as file:
        file.write(a.random.randbytes(2000))
    with open(os.path.join(tree, "log"), "ab") as file:
        file.write(b"".join(b"%d line %d of the log\n" % (day, i) for i in range(2000)))
    with open(os.path.join(tree, "image"), "r+b") as file:
        file.seek(a.random.randrange(0, os.path.getsize(os.path.join(tree, "image")) - 5000))
        file.write(a.random.randbytes(4096))


def body(a):
    days = 6 if a.short else 90
    tree = a.path("tree")
    os.makedirs(tree)
    corpora.make("small", os.path.join(tree, "small"), 0.05 if a.short else 1.0, a.options.seed)
    with open(os.path.join(tree, "image"), "wb") as file:
        file.write(a.random.randbytes((16 if a.short else 128) * MIB))
    source = Repository(a, "source")
    restic = Restic(a, "restic") if shutil.which("restic") else None
    kept = {}
    for day in range(days):
        if day > 0:
            change(a, tree, day)
        snapshot = source.backup(tree, "--host", "server", "--tag", f"day{day}")["snapshot_id"]
        if restic:
            restic.call("backup", "--host", "server", tree)
        if day in (0, days // 2, days - 1):
            kept[snapshot] = a.path(f"tree of day {day}")
            copy_tree(tree, kept[snapshot])
    a.note(f"{days} snapshots in {human(source.size())}")

    target = Repository(a, "target")
    words = ["copy", "--from-repo", source.path, "--from-password-file", a.password_file, "--json"]
    process = target.start(*words, "--limit-upload", "5M", "--checkpoint-interval", "1s")
    while not target.objects("d/") and process.poll() is None:
        time.sleep(0.05)
    time.sleep(1)
    kill_group(process)
    stored = sum(os.path.getsize(os.path.join(target.path, name)) for name in target.objects("d/"))
    summary = target.must(*words).summary()
    data = sum(os.path.getsize(os.path.join(target.path, name)) for name in target.objects("d/"))
    a.check("a copy killed in the middle is taken up", summary["snapshots_copied"] > 0 and stored > 0,
            f"{human(stored)} were stored before the kill, {human(data)} in the end")

    fresh = Repository(a, "fresh")
    result = fresh.must(*words)
    summary = result.summary()
    a.check("all snapshots are copied", summary["snapshots_copied"] == days, str(summary["snapshots_copied"]))
    a.check("what the killed copy stored was not stored again", data <= 1.05 * sum(os.path.getsize(os.path.join(fresh.path, n)) for n in fresh.objects("d/")))
    # Other keys cut elsewhere: a chunk that a change falls into may be larger in one and smaller in the other.
    a.check("the copy is about as large as its source", fresh.size() <= 1.1 * source.size(), f"{human(fresh.size())} of {human(source.size())}")
    again = fresh.must(*words)
    a.check("a second copy copies nothing", again.summary()["snapshots_copied"] == 0 and again.summary()["snapshots_there"] == days, f"{again.seconds:.2f} s")
    for name, repository in (("killed", target), ("fresh", fresh)):
        originals = {s["original"]: s for s in repository.snapshots()}
        for snapshot, tree_then in kept.items():
            into = a.path("restored")
            repository.restore(originals[snapshot]["id"], into)
            compare(a, f"{name}: the copy of {originals[snapshot]['tags'][0]} restores equal", tree_then, repository.restored(into, tree))
            subprocess.run(["rm", "-rf", into], check=True)
        repository.must("check", "--read-data")

    last = list(kept)[-1]
    file = a.path("export.biq")
    exported = source.must("export", last, file, "--to-password-file", a.password_file)
    imported = Repository(a, "imported")
    taken = imported.must("import", file, "--from-password-file", a.password_file)
    a.note(f"export {exported.seconds:.1f} s, {human(exported.peak)}, a file of {human(os.path.getsize(file))}; import {taken.seconds:.1f} s, {human(taken.peak)}")
    imported.restore("latest", a.path("from import"))
    compare(a, "what was exported and imported restores equal", kept[last], imported.restored(a.path("from import"), tree))
    os.makedirs(a.path("unpacked"))
    subprocess.run(["tar", "xf", file, "-C", a.path("unpacked")], check=True)
    reader = os.path.join(ROOT, "docs", "reference", "restore.py")
    restored = a.execute([sys.executable, reader, a.path("unpacked"), "--password-file", a.password_file, "restore", "latest", a.path("from tar")])
    if restored.code == 0:
        compare(a, "unpacked by tar, the reader that is not ours restores it equal", kept[last], imported.restored(a.path("from tar"), tree))
    else:
        a.check("unpacked by tar, the reader that is not ours restores it equal", False, restored.text[-500:])

    a.note(f"backupiq copy: {result.seconds:.1f} s, {human(result.peak)}, {human(fresh.size())}")
    if restic:
        copy = Restic(a, "restic-copy")
        theirs = copy.call("copy", source=restic.path)
        a.note(f"restic copy:   {theirs.seconds:.1f} s, {human(theirs.peak)}, {human(copy.size())}")
        a.check("copy takes at most restic's time", result.seconds <= theirs.seconds, f"{result.seconds:.1f} s, restic {theirs.seconds:.1f} s")
        memory = f"{human(result.peak)}, restic {human(theirs.peak)}"
        if a.short:
            # Of little data the passwords' derivation is the most of it: 64 MiB for each of ours, 32 for each of theirs.
            a.note(f"memory: {memory}")
        else:
            a.check("copy takes at most restic's memory", result.peak <= theirs.peak, memory)
        a.check("the copy is at most restic's size", fresh.size() <= copy.size(), f"{human(fresh.size())}, restic {human(copy.size())}")


Acceptance("B5", "copy, export and import of an aged repository").run(body)
