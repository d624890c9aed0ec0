#!/usr/bin/env python3
"""C4: the storage's server is stopped for a minute, killed and started again, or full, in the middle of a backup: it goes on, or the next one does."""
import os
import subprocess
import time

from harness import MIB, Acceptance, Failed, Repository, compare, fresh, has_stack_trace, human

RATE = 8  # MiB a second, so that the middle of a backup is known


class Disk:
    """What the server has for its objects: a small file system where it keeps them as files, else its own quota. It stays until the end."""

    def __init__(self, a, size):
        self.server, self.is_mounted = a.server, False
        if self.server.disk:
            if os.geteuid() != 0:
                raise Failed("needs root, to mount a small disk")
            os.makedirs(self.server.disk, exist_ok=True)
            owner = os.stat(self.server.disk)
            options = f"size={size},uid={owner.st_uid},gid={owner.st_gid},mode={owner.st_mode & 0o7777:o}"
            subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", self.server.disk], check=True)
            self.is_mounted = True
        else:
            self.server.do(f"limit {size}")

    def widen(self):
        if self.is_mounted:
            subprocess.run(["mount", "-o", "remount,size=4g", self.server.disk], check=True)
        else:
            self.server.do("unlimit")

    def remove(self):
        if self.is_mounted:
            subprocess.run(["umount", "-l", self.server.disk], check=True)


def interrupted(a, name, tree, size, hit, codes):
    """A backup, what happens in its middle, and that nothing of it is lost."""
    repository = Repository(a, name)
    empty = repository.size()
    log = f"{name}.log"
    started = time.monotonic()
    process = repository.start("backup", tree, "--checkpoint-interval", "1s", "--limit-upload", f"{RATE}M", log=log)
    hit(process)
    code = process.wait(timeout=1200)
    seconds = time.monotonic() - started
    with open(a.path(log), errors="replace") as file:
        said = file.read().strip()
    failure = [line for line in said.splitlines() if line.startswith("backupiq: ")]
    a.check(f"{name}: the backup goes on, or says in one line why not", code in codes and not has_stack_trace(said) and len(failure) == (1 if code else 0),
            f"exit {code} after {seconds:.0f} s: {said[-700:] or 'nothing said'}")
    return repository, empty, code


def goes_on(a, name, tree, size, repository, empty, code):
    if code:
        stored = repository.size(with_temporary=False) - empty
        again = repository.must("backup", tree, "--json")
        total = repository.size(with_temporary=False) - empty
        what = (f"{human(stored)} of {human(size)} were stored, the next run added {human(again.summary()['data_added_packed'])} in {again.seconds:.1f} s; "
                f"{human(max(0, total - size))} were stored twice")
        # What is on its way when a run ends is stored again: the packs that are being sent, and those of the last checkpoint.
        a.check(f"{name}: the next run goes on from what is stored", total - size <= 64 * MIB, what)
    target = fresh(a.path("restored"))
    repository.restore("latest", target)
    compare(a, f"{name}: restores equal", tree, repository.restored(target, tree))
    check = repository.call("check", "--read-data")
    a.check(f"{name}: check --read-data is clean", check.code == 0, check.text[-700:] if check.code else "")


def in_the_middle(a, process, seconds):
    time.sleep(seconds)
    if process.poll() is not None:
        raise Failed(f"the backup had ended after {seconds} s")


def body(a):
    if not a.server:
        raise Failed("needs a server: --storage s3, azure, webdav or sftp")
    size = (40 if a.short else 256) * MIB
    middle = size / MIB / RATE * 0.6
    tree = fresh(a.path("tree"))
    for n in range(16):
        with open(os.path.join(tree, f"file-{n}"), "wb") as file:
            file.write(a.random.randbytes(size // 16))
    disk = Disk(a, size * 2 // 3)
    try:
        name = "full"
        repository, empty, code = interrupted(a, name, tree, size, lambda process: None, (1, 15))
        disk.widen()
        goes_on(a, name, tree, size, repository, empty, code)

        def stop(process):
            in_the_middle(a, process, middle)
            a.server.do("pause")
            time.sleep(5 if a.short else 60)
            a.server.do("continue")

        name = "stopped"
        goes_on(a, name, tree, size, *interrupted(a, name, tree, size, stop, (0, 15)))
        for away in (2,) if a.short else (2, 30):
            def kill(process):
                in_the_middle(a, process, middle)
                a.server.do("kill")
                time.sleep(away)
                a.server.do("start")

            name = f"killed-{away}"
            goes_on(a, name, tree, size, *interrupted(a, name, tree, size, kill, (0, 15)))
    finally:
        disk.remove()


Acceptance("C4", "the storage's server is away in mid-backup").run(body)
