#!/usr/bin/env python3
"""A3: kill -9 at random moments of a backup, with changes going on, harms nothing; what was stored is reused."""
import os
import random
import threading
import time

from harness import MIB, Acceptance, Repository, compare, fresh, has_stack_trace, human, kill_group
import corpora  # found by way of harness


class Mutator(threading.Thread):
    """Changes files under a folder all the time: rewrites, appends, renames, deletes, makes new ones."""

    def __init__(self, folder, seed):
        super().__init__(daemon=True)
        self.folder, self.rng, self.stopped, self.changes = folder, random.Random(seed), threading.Event(), 0

    def run(self):
        while not self.stopped.wait(0.002):
            name = os.path.join(self.folder, f"f{self.rng.randrange(400)}")
            action = self.rng.randrange(5)
            self.changes += 1
            if action == 0 and os.path.exists(name):
                os.unlink(name)
            elif action == 1 and os.path.exists(name):
                os.rename(name, os.path.join(self.folder, f"f{self.rng.randrange(400)}"))
            else:
                with open(name, "ab" if action == 2 else "wb") as file:
                    file.write(self.rng.randbytes(self.rng.choice((10, 5_000, 300_000))))

    def stop(self):
        self.stopped.set()
        self.join()


def kills_with_changes(a):
    kills = a.options.kills or (5 if a.short else 30)
    scale = 0.15 if a.short else 1.5
    tree = a.path("tree")
    corpora.make("random", os.path.join(tree, "large"), scale, a.options.seed)
    corpora.make("small", os.path.join(tree, "small"), scale / 2, a.options.seed)
    changing = fresh(os.path.join(tree, "changing"))
    baseline = Repository(a, "baseline")
    whole = baseline.must("backup", tree)
    full_size = baseline.size()
    baseline.clear()
    a.note(f"an uninterrupted backup takes {whole.seconds:.1f} s and {human(full_size)}")

    repository = Repository(a)
    mutator = Mutator(changing, a.options.seed)
    mutator.start()
    clean = whole_snapshots = hit = 0
    # Most of a run finds its content stored already, so it is soon done; how soon changes with what else the machine does.
    longest = whole.seconds / 2
    complaints = []
    try:
        for n in range(kills):
            if n % 3 == 0:  # what the kills so far have stored would leave nothing to interrupt
                with open(os.path.join(tree, f"more-{n}"), "wb") as file:
                    file.write(a.random.randbytes(int(60 * MIB * scale)))
            before = {s["id"] for s in repository.snapshots()}
            process = repository.start("backup", tree, "--checkpoint-interval", "1s")
            time.sleep(a.random.uniform(0.02, longest))
            is_hit = process.poll() is None
            hit += is_hit
            longest = min(longest * 1.15, whole.seconds) if is_hit else max(longest * 0.6, 0.3)
            kill_group(process)
            check = repository.call("check")
            clean += check.code == 0
            if check.code:
                complaints.append(f"kill {n}: check {check.code}: {check.text[-300:]}")
            new = [s for s in repository.snapshots() if s["id"] not in before]
            good = len(new) <= 1 and all(repository.call("ls", s["id"]).code == 0 for s in new)
            whole_snapshots += good
            if not good:
                complaints.append(f"kill {n}: {len(new)} new snapshots listed, or one that does not list")
    finally:
        mutator.stop()
    a.note(f"{hit} of {kills} kills hit a running backup; {mutator.changes} changes went on meanwhile")
    a.check(f"check is clean after each of {kills} kills", clean == kills, "; ".join(complaints)[:1500])
    a.check("no half snapshot is ever listed", whole_snapshots == kills)
    a.check("at least half of the kills hit a running backup", hit * 2 >= kills, f"{hit} of {kills}")

    stored = repository.size(with_temporary=False)
    last = repository.must("backup", tree, "--json", codes=(0,))
    summary = last.summary()
    reused = f"it stored {human(summary['data_added_packed'])} of {human(summary['total_bytes_processed'])} in {last.seconds:.1f} s"
    # Of runs that end before their first checkpoint much is stored that nothing names, and so nothing can be reused.
    if whole.seconds >= 4 and stored >= full_size / 2:
        a.check("the next backup reuses what was stored", summary["data_added_packed"] < full_size / 2, reused)
    else:
        a.note(f"the last backup: {reused}; {human(stored)} were stored by runs this short, which have few checkpoints; the second half measures what is reused")
    repository.restore("latest", a.path("restored"))
    compare(a, "the last snapshot restores equal", tree, repository.restored(a.path("restored"), tree))
    check = repository.call("check", "--read-data")
    a.check("check --read-data is clean at the end", check.code == 0 and not has_stack_trace(check.text), check.text[-500:] if check.code else "")
    repository.clear()


def stored_again(a):
    """On a tree that rests: what an interrupted run and its successor store together, beyond what one run needs."""
    tree = a.path("resting")
    corpora.make("random", os.path.join(tree, "large"), 0.2 if a.short else 1.5, a.options.seed + 7)
    corpora.make("small", os.path.join(tree, "small"), 0.1 if a.short else 0.5, a.options.seed + 7)
    clean = Repository(a, "clean")
    empty = clean.size()
    duration = clean.must("backup", tree, "--checkpoint-interval", "1s").seconds
    needed = clean.size() - empty
    clean.clear()
    worst = 0
    rounds = 2 if a.short else 10
    for n in range(rounds):
        repository = Repository(a, f"interrupted-{n}")
        empty = repository.size()
        process = repository.start("backup", tree, "--checkpoint-interval", "1s")
        time.sleep(duration * a.random.uniform(0.2, 0.95))
        running = process.poll() is None
        kill_group(process)
        stored = repository.size(with_temporary=False) - empty
        summary = repository.backup(tree, "--checkpoint-interval", "1s")
        total = repository.size(with_temporary=False) - empty
        again = total - needed
        worst = max(worst, again)
        a.note(f"round {n}: {'killed' if running else 'had ended'} with {human(stored)} stored; the next run stored {human(summary['data_added_packed'])}; "
               f"both {human(total)}, one run needs {human(needed)}: {human(again)} again")
        repository.clear()
    a.check("with --checkpoint-interval 1s at most 64 MiB are stored again", worst <= 64 * MIB, f"worst of {rounds} rounds {human(worst)}")


def body(a):
    kills_with_changes(a)
    stored_again(a)


Acceptance("A3", "kill -9 at random moments", lambda p: p.add_argument("--kills", type=int, help="how many kills (default 30, short 5)")).run(body)
