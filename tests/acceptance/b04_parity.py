#!/usr/bin/env python3
"""B4: with 5 % of parity a run of 4 % of a pack overwritten, its tail cut, its head and both its tables zeroed: `repair packs` brings identical
bytes back. With 6 % it says that it cannot and loses nothing else. Small objects come back from their parity, too; an interrupted repair
is taken up."""
import hashlib
import os
import shutil

from harness import MIB, Acceptance, Repository, copy_tree, differing, fresh, has_stack_trace


def digests(repository):
    """SHA-256 of every object that is no session and no parity."""
    found = {}
    for name in repository.objects():
        if not name.startswith(("l/", "e/")):
            with open(os.path.join(repository.path, name), "rb") as file:
                found[name] = hashlib.sha256(file.read()).hexdigest()
    return found


def layout(path):
    """Size, first table and length of a table of a pack, as docs/format.md says."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        file.seek(size - 32)
        trailer = file.read(32)
    return size, int.from_bytes(trailer[:4], "little"), int.from_bytes(trailer[4:8], "little")


def write(path, offset, data):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


class Case:
    """A copy of the repository, to be damaged and repaired."""

    def __init__(self, a, origin, wanted):
        shutil.rmtree(a.path("damaged"), ignore_errors=True)
        shutil.rmtree(a.path("cache-damaged"), ignore_errors=True)
        copy_tree(origin.path, a.path("damaged"))
        self.a, self.repository, self.wanted = a, Repository(a, "damaged", initialise=False), wanted

    def path(self, name):
        path = os.path.join(self.repository.path, name)
        os.chmod(path, 0o600)
        return path

    def repaired(self, name):
        """Runs repair; everything must have its old bytes again."""
        dry = self.repository.call("repair", "packs", "--dry-run")
        unchanged = digests(self.repository) != self.wanted
        repair = self.repository.call("repair", "packs")
        equal = digests(self.repository) == self.wanted
        ok = repair.code == 0 and equal and not has_stack_trace(repair.text)
        self.a.check(f"{name}: identical bytes again", ok, f"exit {repair.code}: {repair.text[-500:]}" if not ok else f"{repair.seconds:.1f} s")
        self.a.check(f"{name}: the dry run said so and changed nothing", unchanged and dry.code == 14 and "would" in dry.text.lower(), dry.text[-300:] if dry.code != 14 else "")
        check = self.repository.call("check", "--read-data")
        self.a.check(f"{name}: check --read-data is clean", check.code == 0, check.text[-300:] if check.code else "")


def body(a):
    tree = a.path("tree")
    os.makedirs(tree)
    for i in range(10 if a.short else 40):
        with open(os.path.join(tree, f"large-{i:02}"), "wb") as file:
            file.write(a.random.randbytes(a.random.randint(1, 12) * MIB))
    for i in range(300):
        with open(os.path.join(tree, f"small-{i:03}"), "wb") as file:
            file.write(a.random.randbytes(a.random.randint(300, 20_000)))
    repository = Repository(a)
    a.first_slot = repository.objects("keys/")[0]
    second = a.path("second-password")
    with open(second, "w") as file:
        file.write("another password\n")
    repository.must("key", "add", "--new-password-file", second)
    repository.must("backup", tree)
    before = digests(repository)
    size = repository.size()
    added = repository.must("parity", "add", "--percent", "5")
    parity = repository.size() - size
    a.check("parity add changes nothing that is there", digests(repository) == before, added.text.strip())
    a.check("parity takes about what was asked for", 0.05 <= parity / size <= 0.075, f"{parity / size:.2%} of {size / MIB:.0f} MiB in {added.seconds:.1f} s")
    status = repository.must("parity", "status", "--json").json()
    a.check("parity covers everything", status["covered_objects"] == status["objects"] and status["least_percent"] >= 5, str(status))
    again = repository.must("parity", "add", "--percent", "5")
    a.check("a second run has nothing to do", "for 0 objects" in again.text, again.text.strip())

    packs = repository.objects("d/")
    pack = a.random.choice([p for p in packs if os.path.getsize(os.path.join(repository.path, p)) > 20 * MIB] or packs)
    size, first, table = layout(os.path.join(repository.path, pack))
    share = lambda percent: size * percent // 100

    for where in (0, 0.37, 0.96):
        case = Case(a, repository, before)
        write(case.path(pack), min(int(size * where), size - share(4)), a.random.randbytes(share(4)))
        case.repaired(f"4 % overwritten from {where:.0%} on")
    case = Case(a, repository, before)
    os.truncate(case.path(pack), size - share(4))
    case.repaired("4 % cut off the tail")
    case = Case(a, repository, before)
    write(case.path(pack), first, bytes(2 * table))
    case.repaired("both contents tables zeroed")
    case = Case(a, repository, before)
    write(case.path(pack), first, bytes(2 * table + 32))
    write(case.path(pack), 0, bytes(64))
    case.repaired("head, both tables and trailer zeroed")
    case = Case(a, repository, before)
    for _ in range(40):
        write(case.path(pack), a.random.randrange(size - 600), a.random.randbytes(a.random.randint(1, 600)))
    case.repaired("40 scattered wounds")
    case = Case(a, repository, before)
    own = next(n for n in case.repository.objects("e/") if n.startswith(f"e/{pack}."))
    length = os.path.getsize(case.path(own))
    write(case.path(own), 0, a.random.randbytes(100))
    write(case.path(own), length // 2, a.random.randbytes(length // 10))
    write(case.path(pack), size // 3, a.random.randbytes(share(3)))
    case.repaired("3 % overwritten, and a tenth of its parity with one of its heads")
    small_objects(a, repository, before)
    interrupted(a, repository, before, pack)
    without_parity(a, repository, pack)
    too_much(a, repository, tree, pack, size)
    lost_for_good(a, repository, tree, pack)
    lost_index(a, repository, tree)
    repository.must("parity", "remove", "--yes")
    a.check("parity remove leaves the repository as it was", digests(repository) == before and not repository.objects("e/"), "")


def small_objects(a, repository, before):
    for prefix in ("s/", "i/", "config/", "keys/", "m/"):
        case = Case(a, repository, before)
        names = case.repository.objects(prefix)
        path = case.path(a.random.choice([n for n in names if n != a.first_slot] if prefix == "keys/" else names))
        if prefix == "m/":
            write(path, os.path.getsize(path) // 2, a.random.randbytes(200))
        else:
            write(path, 0, bytes(os.path.getsize(path)))
        case.repaired(f"an object of {prefix} zeroed" if prefix != "m/" else "200 bytes of a metadata pack overwritten")


def interrupted(a, repository, before, pack):
    """The moment between deleting the damaged pack and putting the mended one."""
    case = Case(a, repository, before)
    os.makedirs(os.path.dirname(os.path.join(case.repository.path, "e", pack)), exist_ok=True)
    shutil.move(case.path(pack), os.path.join(case.repository.path, "e", pack + ".mended"))
    repair = case.repository.call("repair", "packs")
    a.check("a repair that was killed half-way is taken up", repair.code == 0 and digests(case.repository) == before, repair.text[-300:] if repair.code else "")
    a.check("… and leaves no copy behind", not [n for n in case.repository.objects("e/") if n.endswith(".mended")], "")


def without_parity(a, repository, pack):
    """What follows from other parts needs no parity: one table, the trailer, the head."""
    bare = Repository(a, "bare", path=a.path("bare"), initialise=False)
    copy_tree(repository.path, bare.path)
    bare.must("parity", "remove", "--yes")
    before = digests(bare)
    size, first, table = layout(os.path.join(bare.path, pack))
    for what, harm in (("one contents table", lambda path: write(path, first + 5, b"xx")), ("both contents tables", lambda path: write(path, first, bytes(2 * table))),
                       ("the trailer and the second table cut off", lambda path: os.truncate(path, first + table)), ("its head", lambda path: write(path, 0, bytes(64)))):
        case = Case(a, bare, before)
        harm(case.path(pack))
        case.repaired(f"without parity, {what}")


def too_much(a, repository, tree, pack, size):
    case = Case(a, repository, {})
    before = digests(case.repository)
    write(case.path(pack), size // 4, a.random.randbytes(size * 6 // 100))
    damaged = digests(case.repository)
    repair = case.repository.call("repair", "packs", "--dry-run")
    a.check("6 % overwritten: it says that it cannot", repair.code == 14 and "cannot" in repair.text and pack in repair.text, f"exit {repair.code}: {repair.text[-500:]}")
    a.check("6 % overwritten: nothing else changed", digests(case.repository) == damaged and {n for n in before if before[n] != damaged[n]} == {pack}, "")
    target = fresh(a.path("restored"))
    restore = case.repository.call("restore", "latest", "--target", target)
    broken = differing(a, tree, case.repository.restored(target, tree))
    untold = [p for p in broken if p != b"." and os.path.basename(p) not in restore.out + restore.err]
    a.check("6 % overwritten: the rest restores, what is lost is told", restore.code != 0 and broken and not untold, f"exit {restore.code}, {len(broken)} differ")


def lost_for_good(a, repository, tree, pack):
    """Without parity: the rest is kept, a snapshot beside the damaged one has what is left, and the next backup heals both."""
    case = Case(a, repository, {}).repository
    case.must("parity", "remove", "--yes")
    path = os.path.join(case.path, pack)
    os.chmod(path, 0o600)
    write(path, os.path.getsize(path) // 2, a.random.randbytes(100_000))
    others = {n: d for n, d in digests(case).items() if n != pack}
    repair = case.call("repair", "packs")
    after = digests(case)
    a.check("a pack lost for good: what can be read is moved, nothing else changes",
            repair.code == 14 and "can be read" in repair.text and all(after.get(n) == d for n, d in others.items()), repair.text[-400:])
    snapshots = case.call("repair", "snapshots", "--json")
    found = [m for m in snapshots.lines() if "repaired_snapshot" in m]
    lost = {os.fsencode(p["path"]) for m in found for p in m["lost"]}
    target = fresh(a.path("restored"))
    case.restore(found[0]["repaired_snapshot"], target)
    broken = {os.path.basename(p) for p in differing(a, tree, case.restored(target, tree)) if p != b"."}
    a.check("a pack lost for good: a snapshot beside the damaged one restores all but what it names",
            snapshots.code == 14 and len(found) == 1 and lost and {os.path.basename(p) for p in lost} == broken, f"{len(lost)} lost, {len(broken)} differ")
    case.must("backup", tree)
    healed = case.call("check", "--read-data")
    a.check("a pack lost for good: after the next backup check is clean", healed.code == 0, healed.text[-400:])
    pruned = case.call("prune")
    a.check("… and prune removes the damaged pack", pruned.code == 0 and pack not in case.objects("d/"), pruned.text[-300:])
    for snapshot in case.snapshots():
        target = fresh(a.path("restored"))
        restore = case.call("restore", snapshot["id"], "--target", target)
        left = {os.path.basename(p) for p in differing(a, tree, case.restored(target, tree)) if p != b"."}
        wanted = broken if snapshot["id"] == found[0]["repaired_snapshot"] else set()
        a.check(f"… and snapshot {snapshot['short_id']} restores", restore.code == 0 and left == wanted, f"exit {restore.code}, {len(left)} differ")


def lost_index(a, repository, tree):
    case = Case(a, repository, {}).repository
    shutil.rmtree(os.path.join(case.path, "i"))
    shutil.rmtree(os.path.join(case.path, "e"))
    repair = case.call("repair", "index")
    check = case.call("check")
    a.check("the index deleted: repair index makes it again", repair.code == 0 and check.code == 0, (repair.text + check.text)[-400:])
    added = case.backup(tree, "--type", "full")
    a.check("the index deleted: then a full backup finds everything known", added["data_blobs"] == 0, str(added["data_blobs"]))


Acceptance("B4", "parity mends damaged packs to identical bytes").run(body)
