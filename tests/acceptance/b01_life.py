#!/usr/bin/env python3
"""B1: a year of a repository with a prune every day: two writers and a collector at once, each killed at random. What is kept restores equal to
what was recorded, everything that is stored opens, and no more stays unused than was asked for.

The days pass by libfaketime: each process believes its day, and this script gives the objects that came on a day the day's time, as a storage would.
With --storage no day passes, for a server would take the time of such a request for wrong: a "day" is a round, and the rule keeps the last rounds of each host."""
import datetime
import hashlib
import os
import random
import stat
import subprocess
import time

from harness import MIB, Acceptance, Failed, Repository, fresh, has_stack_trace, human, kill_group

HOSTS = ("alpha", "beta")
DAY = 86_400
KEEP = {"daily": 20, "weekly": 12, "monthly": 12}
KEEP_SHORT = {"daily": 4, "weekly": 2, "monthly": 1}
KEEP_ON_SERVER = {"last": 12}
UNUSED = 0.05
LIBRARIES = ("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1")


class Host:
    """A machine that is backed up: a tree that changes from day to day, and what it held on each."""

    def __init__(self, a, name, small):
        self.name, self.rng, self.tree = name, random.Random(f"{a.options.seed} {name}"), a.path("trees", name)
        self.digests, self.number = {}, 0
        os.makedirs(self.tree)
        for _ in range(40 if small else 150):
            self.create()
        with open(os.path.join(self.tree, "image"), "wb") as file:
            file.write(self.rng.randbytes((2 if small else 8) * MIB))

    def create(self):
        self.number += 1
        folder = os.path.join(self.tree, f"folder-{self.rng.randrange(12)}")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, f"file-{self.number}"), "wb") as file:
            file.write(self.rng.randbytes(self.rng.choice((300, 4_000, 30_000, 200_000))))

    def files(self):
        return sorted(os.path.join(folder, name) for folder, _, names in os.walk(self.tree) for name in names if name != "image")

    def change(self, now):
        for path in self.rng.sample(self.files(), 8):
            action = self.rng.randrange(4)
            if action == 0:
                os.unlink(path)
                self.create()
            elif action == 1:
                os.rename(path, path + "x")
            else:
                with open(path, "ab" if action == 2 else "wb") as file:
                    file.write(self.rng.randbytes(self.rng.choice((300, 30_000))))
        with open(os.path.join(self.tree, "image"), "r+b") as file:
            file.seek(self.rng.randrange(os.path.getsize(file.name) - 65_536))
            file.write(self.rng.randbytes(65_536))
        for folder, _, names in os.walk(self.tree, topdown=False):
            for name in names:
                path = os.path.join(folder, name)
                if os.lstat(path).st_mtime > now:
                    os.utime(path, (now, now))
            os.utime(folder, (now, now))

    def record(self, day):
        self.digests[day] = digest(self.tree)


def digest(tree):
    """One hash over names, types, modes, times and content of a tree."""
    whole = hashlib.sha256()
    for folder, folders, names in os.walk(tree):
        folders.sort()
        for name in sorted([*names, "."]):
            path = os.path.join(folder, name)
            info = os.lstat(path)
            whole.update(f"{os.path.relpath(path, tree)} {info.st_mode} {info.st_mtime_ns} {info.st_uid}\0".encode())
            if stat.S_ISREG(info.st_mode):
                with open(path, "rb") as file:
                    whole.update(hashlib.sha256(file.read()).digest())
    return whole.hexdigest()


class Life:
    def __init__(self, a):
        self.a = a
        self.travels = a.server is None
        self.library = next((path for path in LIBRARIES if os.path.exists(path)), None)
        if self.travels and self.library is None:
            raise Failed("needs libfaketime (Debian: faketime)")
        self.began = time.time()
        self.first_day = self.began - 3 * 365 * DAY
        self.hosts = [Host(a, name, a.short) for name in HOSTS]
        self.repository = Repository(a)
        self.kills = self.hits = self.collections = self.finished = 0
        self.held = {}
        self.touch(0)

    def now(self, day):
        return self.first_day + day * DAY if self.travels else time.time()

    def forget(self):
        rules = [word for rule, count in KEEP.items() for word in (f"--keep-{rule}", str(count))]
        return ["forget", *rules, "--grace", "2d" if self.travels else "0", "--yes"]

    def start(self, day, log, *args):
        clock = dict(LD_PRELOAD=self.library, FAKETIME=f"{int(self.now(day) - self.began):+d}", FAKETIME_DONT_FAKE_MONOTONIC="1", NO_FAKE_STAT="1") if self.travels else {}
        environment = self.a.environment(TZ="UTC", **clock)
        with open(self.a.path(log), "wb") as out:
            return subprocess.Popen(self.repository.args(*args), stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=environment, start_new_session=True)

    def said(self, log):
        with open(self.a.path(log), "rb") as file:
            return file.read().decode("utf-8", "replace")

    def must(self, day, *args, codes=(0,)):
        process = self.start(day, "alone.log", *args)
        if process.wait() not in codes:
            raise Failed(f"day {day}: `backupiq {' '.join(args)}` ended with {process.returncode}: {self.said('alone.log')[-1500:]}")
        return self.said("alone.log")

    def touch(self, day):
        """What came today has today's time, as its storage would say."""
        if not self.travels:
            return
        for folder, _, names in os.walk(self.repository.path):
            for name in names:
                path = os.path.join(folder, name)
                if os.lstat(path).st_mtime > self.began - DAY:
                    os.utime(path, (self.now(day) + 3600, self.now(day) + 3600))

    def day(self, day, writers):
        """Both writers and the collector at once; a writer that was killed runs again until its snapshot is there."""
        jobs = []
        for host in self.hosts if writers else ():
            host.change(self.now(day) - (3600 if self.travels else 0))
            host.record(day)
            jobs.append([f"backup {host.name}", ["backup", host.tree, "--host", host.name, "--tag", f"day-{day}", "--checkpoint-interval", "1s"], 4])
        jobs.append(["forget", self.forget(), 1])
        jobs.append(["prune", ["prune", "--max-unused", f"{UNUSED:.0%}"], 1])
        running = {}
        waiting = list(jobs)
        while waiting or running:
            for job in list(waiting):
                # A prune follows its forget.
                if job[0] != "prune" or not any(name == "forget" for name in [*running, *(j[0] for j in waiting if j is not job)]):
                    waiting.remove(job)
                    self.kills += (killed := job[2] > 0 and self.a.random.random() < (0.35 if job[2] > 1 else 0.3))
                    until = time.monotonic() + self.a.random.uniform(0.05, 1.2) if killed else None
                    running[job[0]] = (job, self.start(day, job[0] + ".log", *job[1]), until)
            for name, (job, process, until) in list(running.items()):
                code = process.poll()
                if code is None and until is not None and time.monotonic() >= until:
                    kill_group(process)
                    self.hits += 1
                    del running[name]
                    if name.startswith("backup"):
                        job[2] -= 1
                        job[2] = max(job[2], 0)
                        waiting.append(job)
                elif code is not None:
                    del running[name]
                    self.finished += 1
                    self.collections += name == "prune"
                    text = self.said(name + ".log")
                    if code not in (0,) or has_stack_trace(text):
                        raise Failed(f"day {day}: {name} ended with {code}: {text[-1500:]}")
            time.sleep(0.01)
        self.touch(day)

    def snapshots(self):
        return [s for s in self.repository.snapshots() if not s.get("partial")]


def day_of(snapshot):
    return next(int(tag[4:]) for tag in snapshot["tags"] if tag.startswith("day-"))


def kept_days(days):
    """Which days the rules keep, by a way of their own: the last day of each of the newest days, weeks and months that have one."""
    if "last" in KEEP:
        return set(sorted(days)[-KEEP["last"]:])
    kept = set()
    for period, key in (("daily", lambda d: d), ("weekly", lambda d: d.isocalendar()[:2]), ("monthly", lambda d: (d.year, d.month))):
        last = {}
        for day, date in sorted(days.items()):
            last[key(date)] = day
        kept |= set(sorted(last.values())[-KEEP[period]:])
    return kept


def body(a):
    if a.server:
        KEEP.clear()
        KEEP.update(KEEP_ON_SERVER)
    elif a.short:
        KEEP.update(KEEP_SHORT)
    life = Life(a)
    minutes = a.options.minutes if a.options.minutes is not None else 0.0 if a.short else 5.0 if a.server else 30.0
    length, busy = (24, 14) if a.short else (40, 30) if a.server else (365, 104)
    with_writers = set(a.random.sample(range(1, length), busy - 1)) | {length}
    day = 0
    while day < length or time.time() - life.began < minutes * 60:
        day += 1
        writes = day in with_writers or (day > length and a.random.random() < busy / length)
        life.day(day, writes)
        if len(life.held) < 2 and writes:
            host = life.hosts[len(life.held)].name
            snapshot = next(s for s in life.snapshots() if s["hostname"] == host)
            life.must(day, "hold", snapshot["id"], "--reason", "the acceptance point")
            life.touch(day)
            life.held[host] = day_of(snapshot)
        if day % 25 == 0:
            a.note(f"day {day}: {len(life.snapshots())} snapshots kept, {human(life.repository.size())} stored, {life.hits} kills so far")
    taken = sum(len(host.digests) for host in life.hosts)
    a.note(f"{day} days in {(time.time() - life.began) / 60:.1f} minutes: {taken} times a host was backed up, {life.collections} prunes to their end, "
           f"{life.hits} processes killed at work, {life.finished} came to their end")
    a.check("as many snapshots as promised were taken", taken >= (28 if a.short else 60 if a.server else 200), f"{taken}")

    life.must(day, *life.forget())
    life.touch(day)
    life.must(day + 3, "prune", "--max-unused", f"{UNUSED:.0%}")
    life.touch(day + 3)
    named = {os.path.basename(name)[:32] for name in life.repository.objects("i/")}
    idle = {os.path.basename(name)[:32] for name in life.repository.objects("l/")} - named
    if life.travels:  # what killed processes leave goes after a day of silence
        a.check("of sessions that are over and name nothing, none is left but this prune's", len(idle) <= 1, f"{len(idle)}, and {len(named)} that vouch for an index segment")
    listed = life.snapshots()
    for host in life.hosts:
        kept = {day_of(s) for s in listed if s["hostname"] == host.name}
        dates = {d: datetime.datetime.fromtimestamp(life.now(d), datetime.timezone.utc).date() for d in host.digests}
        wanted = kept_days(dates) | {life.held[host.name]}
        a.check(f"{host.name}: what the rules and the hold keep is there, and nothing else", kept == wanted, f"{len(kept)} days" if kept == wanted else f"kept {sorted(kept)}, wanted {sorted(wanted)}")
    check = life.repository.call("check", "--read-data")
    a.check("check --read-data is clean", check.code == 0 and not has_stack_trace(check.text), check.text[-1000:] if check.code else "")
    wrong = []
    for snapshot in listed:
        host = next(h for h in life.hosts if h.name == snapshot["hostname"])
        recorded = host.digests[day_of(snapshot)]
        target = fresh(a.path("restored"))
        life.repository.restore(snapshot["id"], target)
        if digest(life.repository.restored(target, host.tree)) != recorded:
            wrong.append(snapshot["id"])
    a.check(f"all {len(listed)} kept snapshots restore equal to what was recorded", listed and not wrong, ", ".join(wrong))
    plan = next(line for line in life.repository.must("prune", "--dry-run", "--max-unused", "0", "--json").lines() if line.get("message_type") == "plan")
    share = plan["unused_before"] / max(1, plan["bytes_total"])
    a.check("no more stays unused than was asked for", share <= UNUSED, f"{share:.1%} of {human(plan['bytes_total'])}")


Acceptance("B1", "a year of backups, prunes and kills",
           lambda p: p.add_argument("--minutes", type=float, help="for how long at least (default 30, on a server 5, short 0)")).run(body)
