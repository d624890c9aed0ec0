#!/usr/bin/env python3
"""Runs restic, borg, tar | zstd and backupiq in turn over corpora made by a seed, and prints each figure as a ratio beside its target.

Every tool sees the same tree at the same path with a warm page cache, keeps its defaults and a cache of its own, and starts after a sync.
Wall time is the process's; "on disk" adds a syncfs of where it wrote, because some tools end with one and some do not. CPU is user and
system time of the process and its children, memory the largest resident set of one of them, stored size the length of all files written.
"""
import argparse
import json
import os
import platform
import random
import re
import statistics
import subprocess
import sys
import time

import corpora
import postgres
import remote
from tools import BackupIq, Borg, Restic, Tar, Target, measure, run, stored, warm

HERE = os.path.dirname(os.path.abspath(__file__))
MARKERS = ("<!-- results: begin -->", "<!-- results: end -->")
AGE = 90
TITLES = {"first": "first backup", "unchanged": "nothing changed", "changed": "1 % changed", "restore": "restore", "check": "check, all data read",
          "copy": "copy to another repository", "prune": "forget the first, prune", **postgres.TITLES}
TOOLS = ("backupiq", "restic", "borg", "tar | zstd", "rclone", *postgres.TOOLS[1:])
CORPORA = {"source": "source tree", "small": "small files", "random": "one incompressible file", "half": "one half-compressible file",
           "aged": f"repository aged by {AGE} days", "postgres": "PostgreSQL with pgbench's tables"}


class Bench:
    def __init__(self, options):
        self.options = options
        self.work = os.path.abspath(os.environ.get("BENCH_WORK") or os.path.join(HERE, "work"))
        self.file = os.path.join(HERE, "results", f"{options.name or options.date or 'latest'}.json")
        self.results = {"date": options.date, "machine": machine(), "versions": {}, "scale": options.scale, "runs": options.runs, "note": options.note, "corpora": {},
                        "measurements": []}
        if options.resume and os.path.exists(self.file):
            with open(self.file) as file:
                earlier = json.load(file)
            again = options.corpora.split(",")
            self.results["corpora"] = {kind: size for kind, size in earlier["corpora"].items() if kind not in again}
            self.results["measurements"] = [m for m in earlier["measurements"] if m["corpus"] not in again]
        if options.remote:
            self.results["remote"] = options.remote
        if options.postgres:
            self.results["postgres"] = True

    def tools(self):
        base = os.path.join(self.work, "tools")
        chosen = [Restic(os.path.join(base, "restic")), Borg(os.path.join(base, "borg")), Tar(os.path.join(base, "tar"))]
        if not self.options.peers_only:
            chosen.append(BackupIq(os.path.join(base, "backupiq"), os.environ["BACKUPIQ"]))
        return chosen

    def record(self, corpus, tool, phase, figures, **more):
        if figures is None:
            return
        self.results["measurements"].append({"corpus": corpus, "tool": tool.name, "phase": phase, **figures, **more})
        print(f"  {corpus:7} {tool.name:10} {phase:10} {figures['wall']:8.2f} s ({figures['on_disk']:.2f} on disk)  CPU {figures['cpu']:7.2f} s  "
              f"{figures['memory'] / 1e6:6.0f} MB" + (f"  stored {more['stored'] / 1e6:.1f} MB" if "stored" in more else ""), flush=True)
        self.save()

    def corpus(self, kind):
        pristine = corpora.make(kind, os.path.join(self.work, "pristine", kind), self.options.scale, self.options.seed)
        tree = os.path.join(self.work, "current", kind)
        subprocess.run(["rm", "-rf", tree], check=True)
        os.makedirs(os.path.dirname(tree), exist_ok=True)
        subprocess.run(["cp", "-a", pristine, tree], check=True)
        entries = int(subprocess.run(["bash", "-c", f"find '{tree}' | wc -l"], stdout=subprocess.PIPE, check=True).stdout)
        self.results["corpora"][kind] = {"entries": entries, "bytes": stored(tree)}
        print(f"{kind}: {entries} entries, {self.results['corpora'][kind]['bytes'] / 1e6:.0f} MB", flush=True)
        if self.options.remote:
            self.on_server(kind, tree)
        else:
            self.on_disk(kind, tree)
        subprocess.run(["rm", "-rf", tree], check=True)

    def on_server(self, kind, tree):
        """First backup and restore on a server of its own, each tool with a name there. rclone, which is only compared with, runs once."""
        base, target = os.path.join(self.work, "tools"), Target(self.work)
        executable = None if self.options.peers_only else os.environ["BACKUPIQ"]
        for number in range(self.options.runs):
            time.sleep(3)
            server = remote.Server(self.options.remote, os.path.join(self.work, "server"))
            try:
                tools = [tool for tool in remote.tools(base, server, executable) if tool.name != "rclone" or (number == 0 and not self.options.no_rclone)]
                turn = tools[number % len(tools):] + tools[:number % len(tools)]
                for tool in turn:
                    tool.prepare()
                    warm(tree)
                    self.record(kind, tool, "first", measure(tool.command("first", tree, target.path), tool.env, tool.base), stored=tool.stored())
                for tool in turn:
                    tool.forget_cache()
                    self.record(kind, tool, "restore", measure(tool.command("restore", tree, target.fresh()), tool.env, target.path), stored=tool.stored())
                    target.close()
                if number == self.options.runs - 1:
                    self.count_fetched(kind, tree, server, turn, target)
            finally:
                server.stop()
                subprocess.run(["rm", "-rf", base, os.path.join(self.work, "server")], check=True)

    def count_fetched(self, kind, tree, server, tools, target):
        """One more restore of each, through a proxy that counts what the server sends."""
        for tool in tools:
            proxy = remote.Proxy(server.endpoint)
            try:
                tool.forget_cache()
                through = next(t for t in remote.tools(os.path.join(self.work, "tools"), server, os.environ.get("BACKUPIQ"), proxy.endpoint) if t.name == tool.name)
                run(through.command("restore", tree, target.fresh()), through.env)
            finally:
                proxy.close()
                target.close()
            figures = [m for m in self.results["measurements"] if (m["corpus"], m["tool"], m["phase"]) == (kind, tool.name, "restore")][-1]
            figures["fetched"] = proxy.received
            if tool.name == "backupiq":
                figures["packs"] = tool.packs()
            print(f"  {kind:7} {tool.name:10} restore    fetched {proxy.received / 1e6:.1f} MB", flush=True)
            self.save()

    def on_disk(self, kind, tree):
        target = Target(self.work)
        tools = self.tools()
        for number in range(self.options.runs):
            # A tree that changed this very moment is read again by any careful tool; let it rest.
            time.sleep(3)
            turn = tools[number % len(tools):] + tools[:number % len(tools)]
            for tool in turn:
                tool.prepare()
                warm(tree)
                for phase in ("first", "unchanged"):
                    command = tool.command(phase, tree, target.path)
                    if command:
                        figures = measure(command, tool.env, tool.base)
                        self.record(kind, tool, phase, figures, stored=tool.stored())
            corpora.change(tree, 1, random.Random(self.options.seed + number))
            time.sleep(3)
            for tool in turn:
                warm(tree)
                for phase in ("changed", "restore", "check", "prune"):
                    command = tool.command(phase, tree, target.fresh() if phase == "restore" else target.path)
                    if command:
                        figures = measure(command, tool.env, target.path if phase == "restore" else tool.base)
                        self.record(kind, tool, phase, figures, stored=tool.stored())
                target.close()
                if kind == "source" and number == self.options.runs - 1:
                    self.start(tool)
            subprocess.run(["rm", "-rf", *(t.base for t in tools)], check=True)

    def aged(self):
        """A repository that was backed up into for 90 days of small changes: check, copy, forget all but ten and prune, of restic and ours."""
        tree = os.path.join(self.work, "current", "aged")
        tools = [tool for tool in self.tools() if tool.name in ("restic", "backupiq")]
        subprocess.run(["rm", "-rf", tree], check=True)
        os.makedirs(os.path.dirname(tree), exist_ok=True)
        subprocess.run(["cp", "-a", corpora.make("mixed", os.path.join(self.work, "pristine", "mixed"), self.options.scale, self.options.seed), tree], check=True)
        for tool in tools:
            tool.prepare()
        for day in range(AGE + 1):
            if day:
                corpora.change(tree, 1, random.Random(self.options.seed + day))
            for tool in tools:
                run(tool.command("changed", tree, ""), tool.env)
        entries = int(subprocess.run(["bash", "-c", f"find '{tree}' | wc -l"], stdout=subprocess.PIPE, check=True).stdout)
        self.results["corpora"]["aged"] = {"entries": entries, "bytes": stored(tree)}
        for tool in tools:
            os.rename(tool.repository, tool.repository + ".aged")
            print(f"aged: {tool.name} has {stored(tool.repository + '.aged') / 1e6:.1f} MB", flush=True)
        for number in range(self.options.runs):
            for tool in tools[number % len(tools):] + tools[:number % len(tools)]:
                subprocess.run(["cp", "-a", tool.repository + ".aged", tool.repository], check=True)
                for command in tool.initialise_second():
                    run(command, tool.env)
                warm(tool.repository)
                for phase, command in (("check", "check"), ("copy", "copy"), ("prune", "thin")):
                    self.record("aged", tool, phase, measure(tool.command(command, tree, ""), tool.env, tool.base), stored=tool.stored(phase))
                subprocess.run(["rm", "-rf", tool.repository, tool.second], check=True)
        subprocess.run(["rm", "-rf", tree, *(tool.base for tool in tools)], check=True)

    def start(self, tool):
        command, times = tool.command("start", "", ""), []
        if command is None:
            return
        for _ in range(12):
            start = time.monotonic()
            if subprocess.run(command, env=tool.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL).returncode:
                return
            times.append(time.monotonic() - start)
        self.record("source", tool, "start", {"wall": round(statistics.median(times), 4), "on_disk": 0, "cpu": 0, "memory": 0})

    def versions(self):
        for name, command in (("restic", ["restic", "version"]), ("borg", ["borg", "--version"]), ("zstd", ["zstd", "--version"]), ("tar", ["tar", "--version"]),
                              *([("rclone", ["rclone", "version"]), ("radosgw", ["radosgw", "--version"])] if self.options.remote else []),
                              *([("postgres", [os.path.join(postgres.programs(), "postgres"), "--version"]), ("pgbackrest", ["pgbackrest", "version"])] if self.options.postgres else []),
                              *([] if self.options.peers_only else [("backupiq", [os.environ["BACKUPIQ"], "version"])])):
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            lines = done.stdout.decode().strip().splitlines()
            self.results["versions"][name] = lines[0].strip("* ") if lines else "unknown"

    def run(self):
        os.makedirs(self.work, exist_ok=True)
        self.versions()
        if self.options.postgres:
            postgres.measure_all(self, Target(self.work), measure)
            return self.results
        for kind in self.options.corpora.split(","):
            self.aged() if kind == "aged" else self.corpus(kind)
        return self.results

    def save(self):
        os.makedirs(os.path.join(HERE, "results"), exist_ok=True)
        with open(self.file + ".new", "w") as file:
            json.dump(self.results, file, indent=1)
            file.write("\n")
        os.replace(self.file + ".new", self.file)


def machine():
    """What the figures depend on, without the machine's name."""
    with open("/proc/cpuinfo") as file:
        info = file.read()
    model = re.search(r"model name\s*: (.*)", info)
    flags = re.search(r"flags\s*: (.*)", info)
    present = set(flags[1].split()) if flags else set()
    with open("/proc/meminfo") as file:
        memory = int(re.search(r"MemTotal:\s*(\d+)", file.read())[1]) // 1024
    release = platform.freedesktop_os_release() if hasattr(platform, "freedesktop_os_release") else {}
    return {"processor": model[1] if model else platform.machine(), "cores": os.cpu_count(), "memory_mib": memory,
            "instructions": [f for f in ("aes", "vaes", "avx2", "avx512f", "sha_ni") if f in present],
            "system": release.get("PRETTY_NAME", platform.system()), "file_system": subprocess.run(["stat", "-f", "-c", "%T", HERE], stdout=subprocess.PIPE).stdout.decode().strip()}


class Table:
    """Medians and the ratios that the targets speak of."""

    def __init__(self, results):
        self.results, self.medians = results, {}
        groups = {}
        for m in results["measurements"]:
            for figure in ("wall", "on_disk", "cpu", "memory", "stored", "fetched", "packs"):
                if figure in m:
                    groups.setdefault((m["corpus"], m["tool"], m["phase"], figure), []).append(m[figure])
        for key, values in groups.items():
            self.medians[key] = statistics.median(values)

    def get(self, corpus, tool, phase, figure="wall"):
        return self.medians.get((corpus, tool, phase, figure))

    def ratio(self, corpus, phase, figure, peer):
        ours, theirs = self.get(corpus, "backupiq", phase, figure), self.get(corpus, peer, phase, figure)
        return ours / theirs if ours is not None and theirs else None

    def rows(self):
        """(what, value as text, target as text, met or None when not measured)"""
        if self.results.get("remote"):
            yield from remote.rows(self, [(corpus, CORPORA[corpus]) for corpus in self.results["corpora"]])
            return
        if self.results.get("postgres"):
            yield from postgres.rows(self)
            return

        def ratio(what, corpus, phase, figure, peer, limit):
            value = self.ratio(corpus, phase, figure, peer)
            return (what, "–" if value is None else f"{value:.2f}", f"≤ {limit:g}", None if value is None else value <= limit)

        for corpus in ("source", "small"):
            name = CORPORA[corpus]
            for figure in ("wall", "cpu"):
                yield ratio(f"first backup, {name}: {figure} / restic", corpus, "first", figure, "restic", 0.5)
                yield ratio(f"first backup, {name}: {figure} / borg", corpus, "first", figure, "borg", 0.6)
            yield ratio(f"first backup, {name}: wall / tar \\| zstd", corpus, "first", "wall", "tar | zstd", 1.3)
            yield ratio(f"first backup, {name}: on disk / tar \\| zstd on disk", corpus, "first", "on_disk", "tar | zstd", 1.3)
        yield ratio("first backup, one incompressible file: wall / restic", "random", "first", "wall", "restic", 0.35)
        for corpus in ("source", "small"):
            yield ratio(f"nothing changed, {CORPORA[corpus]}: wall / restic", corpus, "unchanged", "wall", "restic", 0.2)
            wall, entries = self.get(corpus, "backupiq", "unchanged"), self.results["corpora"].get(corpus, {}).get("entries")
            speed = entries / wall if wall and entries else None
            yield (f"nothing changed, {CORPORA[corpus]}: entries/s", "–" if speed is None else f"{speed:,.0f}", "≥ 50,000", None if speed is None else speed >= 50_000)
        for corpus in ("source", "small"):
            yield ratio(f"restore, {CORPORA[corpus]}: wall / restic", corpus, "restore", "wall", "restic", 0.4)
            yield ratio(f"restore, {CORPORA[corpus]}: on disk / restic on disk", corpus, "restore", "on_disk", "restic", 0.4)
            yield ratio(f"restore, {CORPORA[corpus]}: wall / zstd -d \\| tar x", corpus, "restore", "wall", "tar | zstd", 1.7)
            yield ratio(f"restore, {CORPORA[corpus]}: on disk / zstd -d \\| tar x on disk", corpus, "restore", "on_disk", "tar | zstd", 1.7)
        yield ratio("stored size, source tree / restic", "source", "first", "stored", "restic", 0.85)
        yield ratio("stored size, source tree / borg", "source", "first", "stored", "borg", 0.85)
        for corpus in ("small", "random", "half"):
            yield ratio(f"stored size, {CORPORA[corpus]} / restic", corpus, "first", "stored", "restic", 1.0)
        for corpus in ("source", "small", "random", "half"):
            yield ratio(f"peak memory of the first backup, {CORPORA[corpus]} / restic", corpus, "first", "memory", "restic", 1.0)
        start = self.get("source", "backupiq", "start")
        yield ("start (`snapshots`, key file)", "–" if start is None else f"{start:.3f} s", "≤ 0.15 s", None if start is None else start <= 0.15)
        for phase in ("check", "prune"):
            yield ratio(f"{TITLES[phase]}, source tree: wall / restic", "source", phase, "wall", "restic", 1.0)
        for phase in ("check", "copy", "prune"):
            name = "forget all but ten, prune" if phase == "prune" else TITLES[phase]
            yield ratio(f"aged repository, {name}: wall / restic", "aged", phase, "wall", "restic", 1.0)
            yield ratio(f"aged repository, {name}: memory / restic", "aged", phase, "memory", "restic", 1.0)
        yield ratio("aged repository, what is left after the prune / restic", "aged", "prune", "stored", "restic", 1.0)

    def markdown(self):
        r, m = self.results, self.results["machine"]
        lines = [f"Measured {r['date'] or 'on a date not given'} on {m['processor']}, {m['cores']} cores ({', '.join(m['instructions'])}), {m['memory_mib'] // 1024} GiB, "
                 f"{m['system']}, {m['file_system']}; medians of {r['runs']}" + (f"; corpora at {r['scale']:g} of their size" if r["scale"] != 1 else "") +
                 (f". {r['note']}" if r.get("note") else "") + ".", "Versions: " + "; ".join(f"{k} {v}" if k not in v.lower() else v for k, v in r["versions"].items()) + ".", "",
                 "| what | measured | to reach | |", "|---|---|---|---|"]
        for what, value, target, met in self.rows():
            lines.append(f"| {what} | {value} | {target} | {'' if met is None else 'met' if met else '**missed**'} |")
        for corpus, size in r["corpora"].items():
            lines += ["", f"**{CORPORA.get(corpus, corpus).capitalize()}**: {size['entries']:,} entries, {size['bytes'] / 1e6:,.0f} MB", "",
                      "| | tool | wall s | on disk s | CPU s | memory MB | stored MB |", "|---|---|---|---|---|---|---|"]
            for phase in TITLES:
                for tool in TOOLS:
                    wall = self.get(corpus, tool, phase)
                    if wall is not None:
                        size_stored = self.get(corpus, tool, phase, "stored")
                        lines.append(f"| {TITLES[phase]} | {tool.replace('|', chr(92) + '|')} | {wall:.2f} | {self.get(corpus, tool, phase, 'on_disk'):.2f} | {self.get(corpus, tool, phase, 'cpu'):.2f} | "
                                     f"{self.get(corpus, tool, phase, 'memory') / 1e6:.0f} | {size_stored / 1e6:.1f} |")
            for tool in ("backupiq", "restic", "borg"):
                start = self.get(corpus, tool, "start")
                if start is not None:
                    lines.append(f"| start | {tool} | {start:.3f} | | | | |")
        return "\n".join(lines)

    def missed(self):
        return [what for what, _, _, met in self.rows() if met is False]


def into_readme(text, markers):
    path = os.path.join(HERE, "README.md")
    with open(path) as file:
        page = file.read()
    begin, end = (page.index(m) for m in markers)
    with open(path, "w") as file:
        file.write(page[:begin + len(markers[0])] + "\n" + text + "\n" + page[end:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="runs of each; medians are shown (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="one run of each")
    parser.add_argument("--corpora", help=f"which of {','.join(CORPORA)} (default: all; on a server all but the aged one)")
    parser.add_argument("--scale", type=float, help="size of the corpora (default 1; on a server 0.25)")
    parser.add_argument("--remote", choices=("s3",), help="on a server of this machine instead of a disk: first backup and restore, beside restic and rclone")
    parser.add_argument("--postgres", action="store_true", help="a PostgreSQL server instead of files, beside pgBackRest (pgbench at scale 20: 340 MB)")
    parser.add_argument("--no-rclone", action="store_true", help="on a server: without rclone copy, which takes minutes over many small files")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--date", default="", help="the date to print with the figures")
    parser.add_argument("--note", default="", help="a sentence to print with the figures")
    parser.add_argument("--name", default="", help="name of the file under bench/results (default: the date)")
    parser.add_argument("--resume", action="store_true", help="keep what bench/results already has of other corpora")
    parser.add_argument("--peers-only", action="store_true", help="without backupiq")
    parser.add_argument("--no-readme", action="store_true", help="print the table, leave bench/README.md alone")
    parser.add_argument("--report-only", action="store_true", help="exit with 0 even when a target is missed")
    parser.add_argument("--render", metavar="JSON", help="make the table anew from earlier results and measure nothing")
    options = parser.parse_args()
    options.runs = 1 if options.quick else options.runs
    options.scale = options.scale or (0.25 if options.remote else 1.0)
    options.corpora = options.corpora or ",".join(kind for kind in CORPORA if kind != "postgres" and (not options.remote or kind != "aged"))
    if options.render:
        with open(options.render) as file:
            results = json.load(file)
    else:
        results = Bench(options).run()
    table = Table(results)
    text = table.markdown()
    if not options.no_readme:
        into_readme(text, remote.MARKERS if results.get("remote") else postgres.MARKERS if results.get("postgres") else MARKERS)
    print("\n" + text)
    missed = table.missed()
    if missed:
        print(f"\n{len(missed)} targets missed.", file=sys.stderr)
    return 1 if missed and not options.report_only else 0


if __name__ == "__main__":
    sys.exit(main())
