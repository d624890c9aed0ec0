#!/usr/bin/env python3
"""B6: snapshots of a restic repository, taken over by `import restic` and restored by backupiq, equal what restic itself restores: content, names,
modes, owners, times in ns, xattrs, ACLs, hard links, devices. Versions 1 and 2 of restic's format."""
import json
import os
import shutil
import stat
import subprocess
import sys
import time

from harness import HERE, MIB, Acceptance, Failed, Repository, copy_tree, has_stack_trace, human, kill_group, need

FIXED = 1_650_000_000_123_456_789


class Tree:
    """A tree that changes from step to step, with every kind of entry that restic keeps."""

    def __init__(self, a):
        self.a, self.random, self.root = a, a.random, os.geteuid() == 0
        self.top = os.fsencode(a.path("tree"))
        os.makedirs(self.top)
        self.static()

    def at(self, name):
        return os.path.join(self.top, name)

    def write(self, name, data, mode=0o644):
        os.makedirs(os.path.dirname(self.at(name)), exist_ok=True)
        with open(self.at(name), "wb") as file:
            file.write(data)
        os.chmod(self.at(name), mode)

    def static(self):
        for name in (b"plain", b"\xff\xfe not UTF-8", "ä".encode(), "a\u0308".encode(), b"new\nline", b"\x1b[31m", b'quote"\\x41', b"back\\slash", b"<&>", b" ",
                     b"\xed\xa0\x80", "\ufffd".encode(), "\u2028".encode(), "\U0001f5c4".encode(), b"x" * 255):
            self.write(b"names/" + name, name)
        for mode in (0o0, 0o400, 0o4755, 0o2755, 0o6711, 0o1644, 0o7777):
            self.write(b"modes/%04o" % mode, b"%o" % mode, mode)
        os.makedirs(self.at(b"modes/folder/in"))
        os.chmod(self.at(b"modes/folder"), 0o3775)
        self.write(b"links/one", b"linked" * 1000)
        os.link(self.at(b"links/one"), self.at(b"links/two"))
        os.makedirs(self.at(b"elsewhere"))
        os.link(self.at(b"links/one"), self.at(b"elsewhere/three"))
        self.write(b"links/still", b"never changed" * 100)
        os.link(self.at(b"links/still"), self.at(b"elsewhere/still"))
        os.symlink(b"one", self.at(b"links/symlink"))
        os.symlink(b"nowhere/\xc3\xa4", self.at(b"links/dangling"))
        os.symlink(b"not \xff UTF-8", self.at(b"links/odd"))
        os.mkfifo(self.at(b"fifo"), 0o620)
        with open(self.at(b"sparse"), "wb") as file:
            file.truncate(6 * MIB)
            file.seek(2 * MIB)
            file.write(b"island" * 1000)
        self.write(b"attributes/file", b"x")
        for name, value in ((b"user.plain", b"value"), (b"user.empty", b""), (b"user.binary", bytes(range(256)))):
            os.setxattr(self.at(b"attributes/file"), name, value)
        os.setxattr(self.at(b"attributes"), b"user.folder", b"\0\xff")
        self.run("setfacl", "-m", "u:65534:rw,g:12345:r,m::r", b"attributes/file")
        self.run("setfacl", "-m", "u:65534:rwx,d:u:12345:rwx,d:g:4:rx", b"attributes")
        self.write(b"large", self.random.randbytes(9 * MIB))
        self.write(b"empty", b"")
        for i in range(200):
            self.write(b"many/%d/%03d" % (i % 7, i), self.random.randbytes(self.random.randint(0, 9000)))
        if self.root:
            os.mknod(self.at(b"character"), stat.S_IFCHR | 0o640, os.makedev(5, 1))
            os.mknod(self.at(b"block"), stat.S_IFBLK | 0o660, os.makedev(259, 70000))
            os.chown(self.at(b"modes/0400"), 12345, 54321)
            os.chown(self.at(b"links/symlink"), 65534, 65534, follow_symlinks=False)
            os.setxattr(self.at(b"attributes/file"), b"trusted.t", b"root's")
            shutil.copy("/bin/true", self.at(b"capable"))
            self.run("setcap", "cap_net_raw+ep", b"capable")
        for i, ns in enumerate((0, 1, -1, -999_999_999, 2**31 * 10**9 + 7, FIXED, -(10**18))):
            self.write(b"times/%d" % i, b"t")
            os.utime(self.at(b"times/%d" % i), ns=(ns, ns))
        os.utime(self.at(b"links/symlink"), ns=(FIXED, FIXED), follow_symlinks=False)
        os.utime(self.at(b"times"), ns=(FIXED, FIXED))

    def run(self, *args):
        program = shutil.which(args[0]) or f"/usr/sbin/{args[0]}"
        subprocess.run([program, *args[1:-1], self.at(args[-1])], check=True)

    def change(self, step):
        """A small change of everything that can change."""
        r = self.random
        for _ in range(5):
            i = r.randrange(200)
            path = b"many/%d/%03d" % (i % 7, i)
            if os.path.exists(self.at(path)) and r.random() < 0.3:
                os.unlink(self.at(path))
            else:
                self.write(path, r.randbytes(r.randint(0, 9000)))
        self.write(b"new/%02d \xfe" % step, b"new in %d" % step, 0o600 + step % 0o70)
        with open(self.at(b"large"), "r+b") as file:
            file.seek(r.randrange(9 * MIB - 100))
            file.write(r.randbytes(100))
        # The same length and mtime, another content: only ctime tells restic.
        self.write(b"times/same", b"%08d" % step)
        os.utime(self.at(b"times/same"), ns=(FIXED, FIXED))
        os.setxattr(self.at(b"attributes/file"), b"user.step", b"%d" % step)
        os.chmod(self.at(b"modes/folder/in"), (0o700, 0o4711, 0o2755, 0o1777)[step % 4])
        with open(self.at(b"links/one"), "ab") as file:
            file.write(b"%d" % step)
        if step % 3 == 0:
            os.link(self.at(b"links/one"), self.at(b"links/more-%d" % step))
        if step % 4 == 0:
            os.rename(self.at(b"names/plain"), self.at(b"names/moved"))
            os.rename(self.at(b"names/moved"), self.at(b"names/plain"))
            os.unlink(self.at(b"links/dangling"))
            os.symlink(b"to %d" % step, self.at(b"links/dangling"))
        if self.root:
            os.chown(self.at(b"empty"), step, 100 + step)


class Restic:
    def __init__(self, a, name, version):
        self.a, self.path = a, a.path(name)
        self.env = a.environment(RESTIC_PASSWORD="of restic", RESTIC_REPOSITORY=self.path)
        self.must("init", "--repository-version", str(version))

    def must(self, *args):
        result = self.a.execute(["restic", "--no-cache", *args], env=self.env)
        if result.code:
            raise Failed(f"restic {args} ended with {result.code}: {result.text[-800:]}")
        return result

    def snapshots(self):
        return json.loads(self.must("snapshots", "--json").out)


def importing(a, repository, restic, *options, codes=(0,)):
    return repository.must("import", "restic", restic.path, "--from-password-file", a.path("restic-password"), *options, codes=codes)


def scenario(a, version, count):
    restic = Restic(a, f"restic-{version}", version)
    tree = Tree(a)
    static = a.path("static")
    if not a.short:
        os.makedirs(static)
        for i in range(800):
            with open(os.path.join(static, f"{i:05}"), "wb") as file:
                file.write(a.random.randbytes(a.random.randint(1000, 400_000)))
    for step in range(count):
        if step:
            tree.change(step)
        host = ("first.example", "second")[step % 5 == 4]
        tags = ["--tag", f"step{step},ü"] if step % 2 else []
        restic.must("backup", a.path("tree"), *([] if a.short else [static]), "--host", host, "--time", f"2021-05-{step + 1:02} 01:02:03", *tags)

    repository = Repository(a, f"repository-{version}")
    imported = importing(a, repository, restic, "--json")
    summary = imported.summary()
    a.check(f"v{version}: all {count} snapshots are taken over", summary["snapshots_imported"] == count and summary["warnings"] == 0,
            f"{human(summary['total_bytes_processed'])} in {imported.seconds:.1f} s, peak {human(imported.peak)}; stored {human(repository.size())}, restic has {human(size_of(restic.path))}")
    seconds = [m["total_duration"] for m in imported.lines() if m["message_type"] == "snapshot"]
    a.note(f"v{version}: the first took {seconds[0]:.2f} s, each further one {sum(seconds[1:]) / max(1, count - 1):.2f} s")
    if not a.short:
        # Each of them has a large file, eight small ones and most metadata changed.
        a.check(f"v{version}: a further snapshot costs little beside the first", sum(seconds[1:]) / (count - 1) < seconds[0] / 4, f"{count - 1} of them {sum(seconds[1:]):.1f} s, the first {seconds[0]:.1f} s")

    theirs, ours = restic.snapshots(), repository.snapshots()
    # `restic snapshots` sorts the paths of a snapshot for its table, whatever their order in the snapshot.
    what = lambda s: (s["time"][:19], s["hostname"], s["username"], sorted(s["paths"]), s.get("tags") or [])
    a.check(f"v{version}: times, hosts, users, paths and tags are restic's", [what(s) for s in theirs] == [what(s) for s in ours]
            and [s["id"] for s in theirs] == [s["original"] for s in ours], str([what(s) for s in ours][:1]))
    equal = 0
    for one, other in zip(theirs, ours):
        equal += same(a, restic, repository, one, other)
    a.check(f"v{version}: {count} snapshots restored by both are equal (compare_trees.py; rsync -aHAXn, both ways)", equal == count, f"{equal} of {count}")

    again = importing(a, repository, restic, "--json").summary()
    a.check(f"v{version}: a second run takes over nothing", again["snapshots_imported"] == 0 and again["snapshots_present"] == count, "")
    check = repository.call("check", "--read-data")
    a.check(f"v{version}: check --read-data is clean", check.code == 0, check.text[-300:] if check.code else "")
    if version == 2:
        interrupted(a, restic, count)
        damaged(a, restic)
    subprocess.run(["rm", "-rf", a.path("tree"), static, restic.path, repository.path], check=True)


def same(a, restic, repository, one, other):
    theirs, ours = a.path("theirs"), a.path("ours")
    subprocess.run(["rm", "-rf", theirs, ours], check=True)
    restic.must("restore", one["id"], "--target", theirs)
    repository.restore(other["id"], ours)
    # The targets themselves are of no snapshot; what lies in them is.
    if not os.listdir(theirs) or sorted(os.listdir(theirs)) != sorted(os.listdir(ours)):
        a.note(f"{one['short_id']}: {os.listdir(theirs)} and {os.listdir(ours)}")
        return False
    ok = True
    for top in os.listdir(theirs):
        pair = [os.path.join(theirs, top), os.path.join(ours, top)]
        # restic keeps no holes, so neither has any to compare.
        results = [a.execute([sys.executable, os.path.join(HERE, "compare_trees.py"), "--no-holes", *pair])]
        for x, y in (pair, pair[::-1]):
            results.append(a.execute(["rsync", "-aHAXn", "--numeric-ids", "--delete", "--itemize-changes", x + "/", y + "/"]))
        if any(r.code for r in results) or any(r.text.strip() for r in results[1:]):
            ok = False
            a.note(f"{one['short_id']}: {' | '.join(r.text[-600:] for r in results)}")
    return ok


def interrupted(a, restic, count):
    """Killed in the middle and begun again, all are there once."""
    repository = Repository(a, "killed")
    process = repository.start("import", "restic", restic.path, "--from-password-file", a.path("restic-password"))
    while process.poll() is None and not repository.objects("s/"):
        time.sleep(0.01)
    kill_group(process)
    before = len(repository.snapshots())
    importing(a, repository, restic)
    originals = [s["original"] for s in repository.snapshots()]
    a.check("killed and run again, every snapshot is there once", before < count and len(originals) == len(set(originals)) == count,
            f"{before} before, {len(originals)} after")


def damaged(a, restic):
    """A byte changed in the middle of restic's largest pack: named by file, exit code 3, everything else is taken over."""
    broken = Restic.__new__(Restic)
    broken.a, broken.path, broken.env = a, a.path("broken"), restic.env
    copy_tree(restic.path, broken.path)
    packs = [os.path.join(folder, file) for folder, _, files in os.walk(os.path.join(broken.path, "data")) for file in files]
    pack = max(packs, key=os.path.getsize)
    os.chmod(pack, 0o600)
    with open(pack, "r+b") as file:
        file.seek(os.path.getsize(pack) // 2)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))
    repository = Repository(a, "from-broken")
    result = importing(a, repository, broken, "--json", codes=(3,))
    named = {m["item"] for m in result.lines() if m["message_type"] == "error"}
    a.check("a damaged blob is told by file and costs no other", len(named) in (1, 2) and not has_stack_trace(result.text) and result.summary()["snapshots_failed"] == 0, str(named))
    subprocess.run(["rm", "-rf", broken.path], check=True)


def size_of(path):
    return sum(os.path.getsize(os.path.join(folder, file)) for folder, _, files in os.walk(path) for file in files)


def body(a):
    need("restic", "rsync", "setfacl", "setfattr", "setcap")
    a.note(a.execute(["restic", "version"]).text.strip())
    if os.geteuid() != 0:
        a.note("not root: devices, other owners, capabilities and trusted xattrs are left out")
    with open(a.path("restic-password"), "w") as file:
        file.write("of restic\n")
    a.note("restic itself loses holes, and (0.14) the bytes of a symlink's target that are not UTF-8: both programs restore what it kept")
    scenario(a, 2, 4 if a.short else 20)
    scenario(a, 1, 2 if a.short else 20)


Acceptance("B6", "import restic: what was taken over restores as restic restores it").run(body)
