#!/usr/bin/env python3
"""B10: docs/reference/restore.py, which shares nothing with BackupIQ but the specification, restores snapshots of every kind equal, opens with
password, key file and recovery kit, does without the index and without the contents tables, and says which byte is wrong in a damaged copy."""
import os
import re
import shutil
import subprocess

from harness import HERE, MIB, ROOT, Acceptance, Failed, Repository, compare, copy_tree, fresh

READER = os.path.join(ROOT, "docs", "reference", "restore.py")
PYTHON = "/usr/bin/python3"  # Debian's, which sees Debian's packages
CODECS = ("zstd:19", "lz4", "gzip", "bzip2", "lzma", "off")


class Reader:
    """Calls of the reader on one copied repository."""

    def __init__(self, a, path, *secret, environment=None):
        self.a, self.path, self.secret, self.environment = a, path, secret or ("--password-file", a.password_file), environment

    def call(self, *words):
        return self.a.execute([PYTHON, READER, self.path, *self.secret, *words], env=self.environment)

    def restores(self, name, snapshot, source, *options):
        """Restores a snapshot and compares it with its source; a folder beside the source must not appear."""
        target = self.a.path("restored")
        subprocess.run(["rm", "-rf", target], check=True)
        result = self.call("restore", snapshot, target, *options)
        back = os.path.join(target, os.path.abspath(source).lstrip("/"))
        if not self.a.check(f"{name}: the reader ends with 0", result.code == 0, result.text.strip()[-600:] if result.code else f"{result.seconds:.1f} s"):
            return
        owner = () if os.geteuid() == 0 else ("--no-owner",)
        compare(self.a, f"{name}: equal to its source", source, back, *owner)


def text(a, path, size, salt):
    """A file of words, different for each salt, so that every codec has something to do and nothing is known already."""
    words = [bytes(a.random.choices(b"abcdefghijklmnop", k=a.random.randint(2, 9))) for _ in range(500)]
    with open(path, "wb") as file:
        while file.tell() < size:
            file.write(salt + b" " + b" ".join(a.random.choices(words, k=400)) + b"\n")


def sources(a):
    """The trees of the snapshots, by name."""
    trees = {name: a.path("source", name) for name in ("everything", "crowd", "sparse", "large", *CODECS)}
    for name, tree in trees.items():
        if name != "everything":
            os.makedirs(tree)
    subprocess.run([PYTHON, os.path.join(HERE, "build_tree.py"), *(["--short"] if a.short else []), trees["everything"]], check=True, stderr=subprocess.DEVNULL)
    for i in range(10_000):
        with open(os.path.join(os.fsencode(trees["crowd"]), b"entry-%05d-\xff\xfe" % i), "wb") as file:
            file.write(b"%d\n" % i * (i % 211))
    # 1,500 extents: more chunks than a list within the node holds; and holes between them.
    with open(os.path.join(trees["sparse"], "many extents"), "wb") as file:
        for i in range(1_500):
            os.pwrite(file.fileno(), a.random.randbytes(4096), i * 65_536)
        os.ftruncate(file.fileno(), 1_600 * 65_536 + 123)
    with open(os.path.join(trees["sparse"], "nothing but a hole"), "wb") as file:
        os.ftruncate(file.fileno(), 2**33)
    # More than 1,024 chunks in one run: the list is indirect. The same block again and again costs no space.
    block = a.random.randbytes(3 * MIB)
    with open(os.path.join(trees["large"], "repeats"), "wb") as file:
        for _ in range(500):
            file.write(block)
    with open(os.path.join(trees["large"], "random"), "wb") as file:
        for _ in range(50 if a.short else 400):
            file.write(a.random.randbytes(MIB))
    for codec in CODECS:
        text(a, os.path.join(trees[codec], "text"), 3 * MIB, codec.encode())
        for i in range(300):
            text(a, os.path.join(trees[codec], f"small-{i}"), a.random.randint(1, 9_000), codec.encode() + b"%d" % i)
        with open(os.path.join(trees[codec], "random"), "wb") as file:
            file.write(a.random.randbytes(2 * MIB + 17))
    return trees


def snapshots(a, trees):
    """Repositories with their snapshots: [(name, repository, snapshot, source)]."""
    first, second = Repository(a, "first"), Repository(a, "second")
    made = []

    def backup(repository, name, tree, *options):
        made.append((name, repository, repository.backup(tree, *options)["snapshot_id"], tree))

    backup(first, "every kind of entry", trees["everything"])
    backup(first, "10,000 names that are not UTF-8 in one folder", trees["crowd"])
    backup(first, "sparse with more than 1,024 chunks", trees["sparse"])
    for codec in CODECS:
        backup(second, f"compression {codec}", trees[codec], "--compression", codec)
    backup(second, "large files, several packs and index segments", trees["large"])
    # The state before the rename is gone from disk, so that snapshot is not among those compared.
    renamed = a.path("renamed", "source", "words")
    os.makedirs(os.path.dirname(renamed))
    copy_tree(trees["lz4"], renamed)
    backup(first, "before a rename", renamed)
    os.rename(renamed, renamed + " moved")
    with open(os.path.join(renamed + " moved", "one more"), "w") as file:
        file.write("after the rename")
    backup(first, "after a rename", renamed + " moved")
    made = [m for m in made if m[0] != "before a rename"]
    backup(first, "an incremental one after it", renamed + " moved", "--type", "incremental")
    return first, second, made


def other_ways_in(a, first, second, made):
    """Key file, recovery kit without keys and configuration, without numpy, without the index, and by the index alone."""
    key, kit = a.path("key"), a.path("kit.txt")
    with open(key, "wb") as file:
        file.write(a.random.randbytes(64))
    os.chmod(key, 0o600)
    second.must("key", "add", "--new-key-file", key)
    second.must("key", "recovery-kit", "--output", kit)
    name, _, snapshot, source = next(m for m in made if m[0] == "compression gzip")
    Reader(a, second.path, "--key-file", key).restores("with a key file", snapshot, source)
    copy = fresh(a.path("copy")) + "/repository"
    copy_tree(second.path, copy)
    shutil.rmtree(os.path.join(copy, "keys"))
    shutil.rmtree(os.path.join(copy, "config"))
    Reader(a, copy, "--recovery-kit", kit).restores("with the recovery kit, keys and configuration gone", snapshot, source)
    shutil.rmtree(os.path.join(second.path, "i"))
    for name, _, snapshot, source in (made[0], made[4]):
        reader = Reader(a, second.path if "compression" in name else first.path)
        reader.restores(f"{name}, without the index" if "compression" in name else f"{name}, by the index", snapshot, source,
                        *([] if "compression" in name else ["--index"]))
    # An environment in which importing numpy fails.
    os.makedirs(a.path("without"), exist_ok=True)
    with open(a.path("without", "numpy.py"), "w") as file:
        file.write("raise ImportError\n")
    name, _, snapshot, source = next(m for m in made if m[0] == "compression lz4")
    Reader(a, second.path, environment=a.environment(PYTHONPATH=a.path("without"))).restores("without numpy", snapshot, source)


def hostile(a):
    """Names that would leave their folder are refused when a node is read."""
    program = ("import importlib.util, sys; s = importlib.util.spec_from_file_location('restore', sys.argv[1]); r = importlib.util.module_from_spec(s); "
               "s.loader.exec_module(r)\nrefused = 0\n"
               "for name in (b'', b'.', b'..', b'a/b', b'/etc', b'a\\0b'):\n"
               "    try: r.read_node(bytes([1, len(name)]) + name + b'\\2\\1\\1')\n"
               "    except ValueError: refused += 1\n"
               "print(refused, r.read_node(b'\\1\\1a\\2\\1\\1').name)")
    result = a.execute([PYTHON, "-c", program, READER])
    a.check("names that leave their folder are refused", result.out.strip() == b"6 b'a'", result.text.strip()[-300:])


def offsets(pack):
    """Where the parts of a pack lie, as docs/format.md says: {part: (first byte, end)}."""
    size = os.path.getsize(pack)
    with open(pack, "rb") as file:
        head = file.read(64)
        file.seek(size - 32)
        trailer = file.read(32)
    first, length = (int.from_bytes(trailer[i:i + 4], "little") for i in (0, 4))
    frames = 28 + 36 * head[24]
    return {"head": (0, 28), "salt": (28, 64), "frame": (frames, first), "first contents table": (first, first + length),
            "second contents table": (first + length, first + 2 * length), "trailer": (size - 32, size)}


def damage(a, made):
    """One byte of each class of object, at a random place: verify names the object and that very byte, and what it must be."""
    tree = a.path("source", "small")
    os.makedirs(tree)
    for i in range(40):
        text(a, os.path.join(tree, f"words-{i:02}"), 30_000, b"%d" % i)
    with open(os.path.join(tree, "random"), "wb") as file:
        file.write(a.random.randbytes(5 * MIB))
    repository = Repository(a, "small")
    snapshot = repository.backup(tree)["snapshot_id"]
    clean = Reader(a, repository.path).call("verify")
    a.check("an undamaged copy: verify finds nothing", clean.code == 0 and not clean.out, clean.text.strip()[-300:])
    cases = []
    for prefix in ("d/", "m/"):
        pack = a.random.choice(repository.objects(prefix))
        for part, (begin, end) in offsets(os.path.join(repository.path, pack)).items():
            cases.append((f"{'data' if prefix == 'd/' else 'metadata'} pack, {part}", pack, begin, end))
    for prefix in ("i/", "s/", "keys/", "config/a", "config/b", "l/"):
        name = a.random.choice(repository.objects(prefix))
        cases.append((prefix, name, 0, os.path.getsize(os.path.join(repository.path, name))))
    for what, name, begin, end in cases:
        for _ in range(1 if a.short else 5):
            one_byte(a, repository, what, name, a.random.randrange(begin, end), snapshot, tree)
    worse(a, repository, snapshot, tree)


def one_byte(a, repository, what, name, position, snapshot, tree):
    copy = fresh(a.path("copy")) + "/repository"
    copy_tree(repository.path, copy)
    path = os.path.join(copy, name)
    os.chmod(path, 0o600)
    with open(path, "r+b") as file:
        file.seek(position)
        right = file.read(1)[0]
        wrong = right ^ a.random.randrange(1, 256)
        file.seek(position)
        file.write(bytes([wrong]))
    reader = Reader(a, copy)
    verify = reader.call("verify")
    told = f"{name}: byte {position} is 0x{wrong:02x} and must be 0x{right:02x}"
    a.check(f"{what}, byte {position}: verify says so", verify.code == (14 if "keys/" not in what else verify.code) and told in verify.text and "Traceback" not in verify.text,
            "" if told in verify.text else f"exit {verify.code}, wanted '{told}': {verify.text.strip()[-500:]}")
    target = fresh(a.path("restored"))
    restore = reader.call("restore", snapshot, target)
    back = os.path.join(target, tree.lstrip("/"))
    a.check(f"{what}, byte {position}: it restores in spite of it", restore.code in (0, 14) and os.path.isdir(back) and not subprocess.run(
        [PYTHON, os.path.join(HERE, "compare_trees.py"), tree, back], stdout=subprocess.PIPE).returncode, restore.text.strip()[-300:] if restore.code not in (0, 14) else "")


def worse(a, repository, snapshot, tree):
    """Damage that cannot be undone: what it hits is named, everything else comes back."""
    def zeroed(path):
        with open(path, "r+b") as file:
            file.seek(os.path.getsize(path) // 2)
            file.write(bytes(70_000))

    def tables(path):
        parts = offsets(path)
        with open(path, "r+b") as file:
            file.seek(parts["first contents table"][0])
            file.write(bytes(parts["second contents table"][1] - parts["first contents table"][0]))

    def cut(path):
        os.truncate(path, os.path.getsize(path) * 2 // 3)
    pack = max(repository.objects("d/"), key=lambda name: os.path.getsize(os.path.join(repository.path, name)))
    for what, harm, whole in (("70,000 bytes zeroed", zeroed, False), ("both contents tables zeroed", tables, True), ("a third cut off", cut, False), ("deleted", os.unlink, False)):
        copy = fresh(a.path("copy")) + "/repository"
        copy_tree(repository.path, copy)
        harm(os.path.join(copy, pack))
        reader = Reader(a, copy)
        verify = reader.call("verify")
        a.check(f"a data pack, {what}: verify names it and ends with 14", verify.code == 14 and pack in verify.text and "Traceback" not in verify.text, verify.text.strip()[-400:] if verify.code != 14 else "")
        if not whole:
            a.check(f"a data pack, {what}: verify names the snapshot and files", re.search(rf"snapshot {snapshot[:8]}\w*: .*(words-|random)", verify.text) is not None, "")
        target = fresh(a.path("restored"))
        restore = reader.call("restore", snapshot, target)
        back = os.path.join(target, tree.lstrip("/"))
        lost = {os.path.basename(path) for path in re.findall(r"^LOST (\S+): ", restore.text, re.M)}
        differ = {name for name in os.listdir(tree) if open(os.path.join(tree, name), "rb").read() != open(os.path.join(back, name), "rb").read()}
        a.check(f"a data pack, {what}: {'all comes' if whole else 'the rest comes'} back, what is lost is named", restore.code == 14 and lost == differ and bool(differ) != whole,
                f"exit {restore.code}, {len(differ)} files differ, {len(lost)} named")


def body(a):
    if subprocess.run([PYTHON, "-c", "import cryptography, numpy"], stderr=subprocess.DEVNULL).returncode:
        raise Failed("needs Debian's python3-cryptography and python3-numpy")
    lines = open(READER).read().count("\n")
    a.check("the reader has at most 600 lines", lines <= 600, str(lines))
    hostile(a)
    trees = sources(a)
    first, second, made = snapshots(a, trees)
    for repository in (first, second):
        listed = Reader(a, repository.path).call("list")
        missing = [s["short_id"] for s in repository.snapshots() if s["short_id"][:8] not in listed.text]
        a.check("list shows each snapshot", listed.code == 0 and not missing, listed.text.strip()[-300:] if missing else "")
        a.check("several index segments", len(repository.objects("i/")) > 1, str(len(repository.objects("i/"))))
    a.check("at least ten snapshots", len(made) >= 10, str(len(made)))
    for name, repository, snapshot, source in made:
        Reader(a, repository.path).restores(name, snapshot, source)
    part = fresh(a.path("restored"))
    name, repository, snapshot, source = next(m for m in made if m[0] == "compression lz4")
    result = Reader(a, repository.path).call("restore", f"{snapshot[:8]}:{source}", part)
    a.check("a folder of a snapshot alone", result.code == 0, result.text.strip()[-300:])
    compare(a, "a folder of a snapshot alone: equal", source, part)
    other_ways_in(a, first, second, made)
    damage(a, made)


Acceptance("B10", "a reader that is not ours").run(body)
