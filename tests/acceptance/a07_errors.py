#!/usr/bin/env python3
"""A7: errors as a newcomer meets them, and a hostile repository: never a crash, never an unbounded allocation."""
import os
import resource
import shutil
import subprocess
import sys
import time

from harness import EXIT_CODES, MIB, Acceptance, Failed, Repository, copy_tree, fresh, has_stack_trace
import corpora  # found by way of harness

MEMORY_LIMIT = 400 * MIB  # of a command on a small repository, whatever the objects claim


def plain_errors(a, repository, tree):
    wrong = a.path("wrong")
    with open(wrong, "w") as file:
        file.write("not the password\n")

    def expect(name, code, words, *args, env=None, without_color=True):
        result = a.execute(args, env=env)
        text = result.text
        missing = [w for w in words if w.lower() not in text.lower()]
        a.check(name, result.code == code and not missing and not has_stack_trace(text) and len(result.err.splitlines()) < 20,
                f"exit {result.code}{', without ' + repr(missing) if missing else ''}: {text.strip()[:300]!r}")
        return result

    biq = a.executable
    expect("wrong password: 12, points on", 12, ["password"], biq, "snapshots", "--repo", repository.path, "--password-file", wrong, "--no-input")
    expect("no repository: 10, says init", 10, ["init"], biq, "snapshots", "--repo", a.path("nothing-here"), "--password-file", wrong, "--no-input")
    expect("an empty folder is no repository: 10", 10, ["init"], biq, "snapshots", "--repo", fresh(a.path("empty")), "--password-file", wrong, "--no-input")
    expect("a bad flag: 2, suggests the right one", 2, ["--exclude"], biq, "backup", tree, "--exlude", "x", "--repo", repository.path)
    expect("a bad verb: 2, suggests the right one", 2, ["snapshots"], biq, "snapshot", "--repo", repository.path)
    expect("a source that is not there: its name", 15, ["no-such-folder"], *repository.args("backup", a.path("no-such-folder")))
    expect("an unknown snapshot: says how to list", 1, ["snapshots"], *repository.args("restore", "ffffffffffff", "--target", a.path("x")))
    expect("a second init: refused with 7", 7, [], *repository.args("init"))
    expect("a missing password file: 2, its name", 2, ["no-such-file"], biq, "snapshots", "--repo", repository.path, "--password-file", a.path("no-such-file"), "--no-input")
    help_screen = expect("backupiq alone prints a help", 0, ["backup", "restore", "init"], biq)
    lines = help_screen.text.splitlines()
    a.check("the help fits one screen", 0 < len(lines) <= 24 and max(map(len, lines), default=0) <= 100, f"{len(lines)} lines, widest {max(map(len, lines), default=0)}")
    bad = repository.call("snapshots", "--json", "--at", "no time at all")
    a.check("a bad value: 2", bad.code == 2, f"exit {bad.code}: {bad.text[:200]!r}")
    last = [line for line in a.execute([biq, "snapshots", "--json", "--repo", a.path("nothing-here"), "--password-file", wrong, "--no-input"]).err.splitlines() if line.strip()]
    a.check("--json ends a failure with exit_error on standard error", bool(last) and b'"exit_error"' in last[-1] and b'"code"' in last[-1], str(last[-1:]))


def unreadable(a, repository, tree):
    """Without rights: root reads everything, so the backup runs as nobody."""
    if os.geteuid() != 0:
        secret = os.path.join(tree, "secret file")
        with open(secret, "w") as file:
            file.write("x")
        os.chmod(secret, 0)
        result = repository.call("backup", tree)
        os.chmod(secret, 0o600)
    else:
        # The workspace must be reachable, and dotnet's own home writable, for the other user.
        home = a.path("nobody")
        os.makedirs(home)
        source = os.path.join(home, "source")
        os.makedirs(source)
        for name, mode in (("open file", 0o644), ("secret file", 0o000)):
            with open(os.path.join(source, name), "w") as file:
                file.write(name)
            os.chmod(os.path.join(source, name), mode)
        os.makedirs(os.path.join(source, "closed folder"), mode=0o000)
        password = os.path.join(home, "password")
        shutil.copy(a.password_file, password)
        os.chmod(a.work, 0o711)
        subprocess.run(["chown", "-R", "nobody:nogroup", home], check=True)
        os.chmod(os.path.join(source, "secret file"), 0)
        become = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
        common = ["--repo", os.path.join(home, "repository"), "--password-file", password, "--cache-dir", os.path.join(home, "cache"), "--no-input"]
        env = a.environment(HOME=home)
        probe = a.execute(become + [a.executable, "version"], env=env)
        if probe.code != 0:
            a.note(f"the executable cannot be run by another user ({probe.text.strip()[:100]}); put it where nobody may read it to try this")
            return
        a.execute(become + [a.executable, "init", *common], env=env)
        result = a.execute(become + [a.executable, "backup", source, *common], env=env)
    a.check("an unreadable file: 3, with its name", result.code == 3 and "secret file" in result.text and not has_stack_trace(result.text),
            f"exit {result.code}: {result.text.strip()[-300:]!r}")
    if os.geteuid() == 0:
        a.check("an unreadable folder is named too", "closed folder" in result.text)


def limited(a, args):
    """Runs with address space left open (the runtime reserves much) but the resident peak looked at."""
    return a.execute(args, timeout=120)


def mutations(rng, valid):
    """Random bytes, and valid objects changed at random: flipped bits, cut, extended, spliced, lengths made huge."""
    choice = rng.randrange(7)
    data = bytearray(valid)
    if choice == 0 or not data:
        return rng.randbytes(rng.choice((0, 1, 7, 32, 200, 5000, 70_000)))
    if choice == 1:
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif choice == 2:
        del data[rng.randrange(len(data)):]
    elif choice == 3:
        data += rng.randbytes(rng.randint(1, 500))
    elif choice == 4:
        at = rng.randrange(len(data))
        data[at:at + 8] = b"\xff" * 8
    elif choice == 5:
        at, other = rng.randrange(len(data)), rng.randrange(len(data))
        data[at:at + 64] = data[other:other + 64]
    else:
        data = bytearray(len(data))
    return bytes(data)


def hostile(a, repository, tree):
    names = repository.objects()
    prefixes = sorted({n.split("/")[0] for n in names})
    a.note(f"{len(names)} objects of kinds {', '.join(prefixes)}")
    end = time.monotonic() + (a.options.seconds or (30 if a.short else 180))
    rounds, codes, worst, bad = 0, {}, 0, []
    victim = Repository(a, "hostile", initialise=False)
    while time.monotonic() < end:
        fresh(a.path("x"))
        subprocess.run(["rm", "-rf", victim.path, victim.cache], check=True)
        copy_tree(repository.path, victim.path)
        # All objects of random bytes first; then one kind, or one object, so that what lies behind the first check is reached too.
        what = rounds % 4
        kind = a.random.choice(prefixes)
        chosen = names if what == 0 else [n for n in names if n.startswith(kind + "/") or n == kind] if what == 1 else [a.random.choice(names)]
        for name in chosen:
            path = os.path.join(victim.path, name)
            with open(path, "rb") as file:
                valid = file.read()
            os.chmod(path, 0o600)
            with open(path, "wb") as file:
                file.write(a.random.randbytes(len(valid)) if what == 0 else mutations(a.random, valid))
        for args in (["snapshots"], ["check", "--read-data"], ["ls", "latest"], ["restore", "latest", "--target", a.path("x")], ["stats"]):
            try:
                result = limited(a, victim.args(*args))
            except subprocess.TimeoutExpired:
                bad.append(f"{args[0]} did not end; objects {chosen[:3]}")
                continue
            codes[result.code] = codes.get(result.code, 0) + 1
            worst = max(worst, result.peak)
            if result.code not in EXIT_CODES or has_stack_trace(result.text) or result.peak > MEMORY_LIMIT:
                bad.append(f"{args[0]}: exit {result.code}, peak {result.peak // MIB} MiB, objects {chosen[:3]}: {result.text[-300:]}")
        rounds += 1
    a.check("a hostile repository never crashes a command", not bad, f"{rounds} repositories; exit codes {dict(sorted(codes.items()))}; "
            f"peak {worst // MIB} MiB{'; ' + ' | '.join(bad[:3]) if bad else ''}")
    escaped = os.path.exists(a.path("escaped"))
    a.check("nothing was written outside the target", not escaped)


def body(a):
    tree = corpora.make("small", a.path("tree"), 0.002, a.options.seed)
    corpora.make("random", os.path.join(tree, "large"), 0.005, a.options.seed)
    repository = Repository(a)
    repository.must("backup", tree)
    plain_errors(a, repository, tree)
    unreadable(a, repository, tree)
    hostile(a, repository, tree)


Acceptance("A7", "errors and a hostile repository", lambda p: p.add_argument("--seconds", type=int, help="how long to feed it hostile repositories")).run(body)
