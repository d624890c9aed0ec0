#!/usr/bin/env python3
"""A5: every class of object damaged: check ends with 14 and names pack, files and snapshots; what is undamaged still restores, the rest is
reported. A damaged slot or configuration is made good by another; with none left 12, and the recovery kit opens everything."""
import os
import shutil

from harness import EXIT_CODES, Acceptance, Failed, Repository, compare, copy_tree, differing, fresh, has_stack_trace
import corpora  # found by way of harness

# Names under the repository's folder, as docs/format.md gives them.
DATA, METADATA, INDEX, SNAPSHOT, KEYS, CONFIGURATION = "d/", "m/", "i/", "s/", "keys/", "config/"


def flip(position):
    def damage(path):
        size = os.path.getsize(path)
        with open(path, "r+b") as file:
            at = min(size - 1, int(size * position))
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 0x10]))
    return damage


def truncate(path):
    os.truncate(path, os.path.getsize(path) * 2 // 3)


DAMAGES = {"a flipped byte at the start": flip(0.0), "a flipped byte in the middle": flip(0.5), "a flipped byte at the end": flip(1.0),
           "truncation": truncate, "deletion": os.unlink}


def damaged_copy(a, repository, names, damage):
    """A copy of the repository in which the objects named are damaged; a new cache, so that nothing hides it."""
    place = a.path("damaged")
    shutil.rmtree(place, ignore_errors=True)
    shutil.rmtree(a.path("cache-damaged"), ignore_errors=True)
    copy_tree(repository.path, place)
    copy = Repository(a, "damaged", initialise=False)
    for name in names:
        path = os.path.join(copy.path, name)
        os.chmod(path, 0o600)
        os.chmod(os.path.dirname(path), 0o700)
        damage(path)
    return copy


def restores_what_it_can(a, name, copy, tree, must_be_whole=False):
    target = fresh(a.path("restored"))
    restore = copy.call("restore", "latest", "--target", target)
    back = copy.restored(target, tree)
    broken = differing(a, tree, back) if os.path.isdir(back) else {b"."}
    told = restore.out + restore.err
    silent = [p for p in broken if p != b"." and os.path.basename(p) not in told]
    if must_be_whole:
        ok = not broken
    else:
        # Whatever is not told of must be right; and something told of ends with an exit code other than 0.
        ok = not silent and (not broken or restore.code != 0)
    return a.check(f"{name}: what is undamaged restores, the rest is reported", ok and not has_stack_trace(restore.text),
                   f"exit {restore.code}, {len(broken)} paths differ, {len(silent)} of them untold {silent[:3]}{': ' + restore.text[-400:] if not ok else ''}")


def packs(a, repository, tree, snapshot):
    for prefix, what in ((DATA, "data pack"), (METADATA, "metadata pack")):
        names = repository.objects(prefix)
        if not names:
            raise Failed(f"no {what} under {prefix}")
        for kind, damage in DAMAGES.items():
            victim = a.random.choice(names)
            copy = damaged_copy(a, repository, [victim], damage)
            # Levels 0 to 3 find what is missing or short; a flipped byte needs the bytes read.
            check = copy.call("check", "--read-data")
            a.check(f"{what}, {kind}: check ends with 14", check.code == 14 and not has_stack_trace(check.text), f"exit {check.code}")
            pack = os.path.basename(victim)
            text = check.text
            a.check(f"{what}, {kind}: check names the pack", pack[:8] in text, "" if pack[:8] in text else text[-600:])
            named = True
            if prefix == DATA:
                # A pack's head and trailer can be damaged without any file: then none may be named, and all of them must come back.
                named = any(n in text for n in ("own.bin", "file-", "big.bin"))
                tells = not named or snapshot["short_id"][:8] in text
                a.check(f"{what}, {kind}: check names the files with their snapshot, or none is lost", tells, text[-600:] if not tells else "files" if named else "none lost")
            restores_what_it_can(a, f"{what}, {kind}", copy, tree, must_be_whole=not named)


def derived(a, repository, tree):
    for kind, damage in DAMAGES.items():
        victim = a.random.choice(repository.objects(INDEX))
        copy = damaged_copy(a, repository, [victim], damage)
        check = copy.call("check")
        a.check(f"index, {kind}: check ends with 14", check.code == 14 and not has_stack_trace(check.text), f"exit {check.code}: {check.text[-300:]}")
        restores_what_it_can(a, f"index, {kind}", copy, tree)
    snapshots = repository.objects(SNAPSHOT)
    for kind, damage in DAMAGES.items():
        victim = a.random.choice(snapshots)
        copy = damaged_copy(a, repository, [victim], damage)
        check = copy.call("check")
        short = os.path.basename(victim)[:8]
        if damage is os.unlink:
            # A snapshot that is gone leaves no trace that it should be there, as after forget: the others must be whole.
            a.check(f"snapshot, {kind}: no crash", check.code in (0, 14) and not has_stack_trace(check.text), f"exit {check.code}")
        else:
            a.check(f"snapshot, {kind}: check ends with 14 and names it", check.code == 14 and short in check.text, f"exit {check.code}: {check.text[-300:]}")
        left = [s for s in snapshots if s != victim]
        if left:
            target = fresh(a.path("restored"))
            restore = copy.call("restore", os.path.basename(left[0]), "--target", target)
            equal = restore.code == 0 and not differing(a, tree, copy.restored(target, tree))
            a.check(f"snapshot, {kind}: the other snapshot restores equal", equal, restore.text[-300:] if not equal else "")


def secrets(a, repository, tree):
    second = a.path("second-password")
    with open(second, "w") as file:
        file.write("another password\n")
    kit = a.path("kit.txt")
    repository.must("key", "add", "--new-password-file", second)
    made = repository.call("key", "recovery-kit", "--output", kit)
    a.check("a recovery kit is written", made.code == 0 and os.path.exists(kit), made.text[-300:])
    slots = repository.objects(KEYS)
    a.check("there are several key slots", len(slots) >= 2, str(len(slots)))
    for kind, damage in DAMAGES.items():
        opened = 0
        for slot in slots:
            copy = damaged_copy(a, repository, [slot], damage)
            codes = []
            for password in (a.password_file, second):
                copy.password_file = password
                codes.append(copy.call("snapshots").code)
            check = copy.call("check") if codes[1] == 0 else None
            opened += any(code in (0, 14) for code in codes)
            if check is not None and damage is not os.unlink:
                a.check(f"key slot, {kind}: check through the other slot ends with 14", check.code == 14, f"exit {check.code}: {check.text[-200:]}")
        a.check(f"key slot, {kind}: another slot opens it", opened == len(slots), f"{opened} of {len(slots)}")
        copy = damaged_copy(a, repository, slots, damage)
        none = copy.call("snapshots")
        a.check(f"every key slot, {kind}: 12, pointing to the recovery kit", none.code == 12 and "recovery" in none.text.lower(), f"exit {none.code}: {none.text[-300:]}")
        with_kit(a, f"every key slot, {kind}", copy, kit, tree)
    configurations = repository.objects(CONFIGURATION)
    a.check("the configuration stands under two names", len(configurations) >= 2, str(configurations))
    for kind, damage in DAMAGES.items():
        copy = damaged_copy(a, repository, configurations[:1], damage)
        check = copy.call("check")
        a.check(f"configuration, {kind}: the second copy opens it, check ends with 14", check.code == 14, f"exit {check.code}: {check.text[-300:]}")
        restores_what_it_can(a, f"configuration, {kind}", copy, tree, must_be_whole=True)
    copy = damaged_copy(a, repository, slots + configurations, os.unlink)
    with_kit(a, "keys/ and configuration gone", copy, kit, tree)


def with_kit(a, name, copy, kit, tree):
    target = fresh(a.path("restored"))
    args = [a.executable, "restore", "latest", "--target", target, "--repo", copy.path, "--cache-dir", copy.cache, "--recovery-kit", kit, "--no-input"]
    restore = a.execute(args)
    # 14 is right as well: everything came back, and the damage is told.
    back = copy.restored(target, tree)
    equal = restore.code in (0, 14) and os.path.isdir(back) and not differing(a, tree, back)
    a.check(f"{name}: the recovery kit restores everything", equal, f"exit {restore.code}: {restore.text[-300:] if not equal else ''}")


def everything_else(a, repository, tree):
    """Each object of the repository in turn, whatever it is: never a crash, never silently wrong."""
    known = (DATA, METADATA, INDEX, SNAPSHOT, KEYS, CONFIGURATION)
    rest = [n for n in repository.objects() if not n.startswith(known)]
    for name in rest[:3] if a.short else rest[:30]:
        copy = damaged_copy(a, repository, [name], a.random.choice(list(DAMAGES.values())))
        check = copy.call("check")
        a.check(f"{name}: check ends properly", check.code in EXIT_CODES and not has_stack_trace(check.text), f"exit {check.code}")
        restores_what_it_can(a, name, copy, tree)


def body(a):
    tree = a.path("tree")
    corpora.make("small", os.path.join(tree, "small"), 0.005 if a.short else 0.02, a.options.seed)
    corpora.make("random", os.path.join(tree, "own"), 0.05, a.options.seed)
    os.rename(os.path.join(tree, "own", "random.bin"), os.path.join(tree, "own", "own.bin"))
    repository = Repository(a)
    repository.must("backup", tree)
    repository.must("backup", tree, "--type", "full")
    if a.short:
        for name in ("a flipped byte at the start", "a flipped byte at the end"):
            del DAMAGES[name]
    latest = max(repository.snapshots(), key=lambda s: s["time"])
    packs(a, repository, tree, latest)
    derived(a, repository, tree)
    everything_else(a, repository, tree)
    secrets(a, repository, tree)


Acceptance("A5", "every class of damage").run(body)
