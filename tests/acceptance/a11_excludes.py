#!/usr/bin/env python3
"""A11: for random sets of patterns and flags that restic has under the same names, the set of entries stored equals restic's."""
import json
import os

from harness import Acceptance, Failed, Repository, compare, need

WORDS = ["a", "b", "ab", "foo", "bar", "Foo", "cache", "src", "build", "x.o", "y.txt", "Y.TXT", "main.c", "a b", "[x]", "star*", ".hidden", "node_modules", "deep"]
EXTENSIONS = ["", ".txt", ".o", ".TXT", ".c", "~"]


def build(a, tree):
    rng = a.random
    folders = [tree]
    os.makedirs(tree)
    for _ in range(60):
        parent = rng.choice(folders)
        if parent.count("/") - tree.count("/") > 5:
            continue
        child = os.path.join(parent, rng.choice(WORDS))
        if not os.path.exists(child):
            os.mkdir(child)
            folders.append(child)
    for folder in folders:
        for _ in range(rng.randint(0, 6)):
            path = os.path.join(folder, rng.choice(WORDS) + rng.choice(EXTENSIONS))
            if not os.path.lexists(path):
                if rng.random() < 0.1:
                    os.symlink(rng.choice(WORDS), path)
                else:
                    with open(path, "wb") as file:
                        file.write(rng.randbytes(rng.choice((0, 1, 500, 1024, 1025, 3000))))
        if folder != tree and rng.random() < 0.1:
            with open(os.path.join(folder, "CACHEDIR.TAG"), "wb") as file:
                file.write(rng.choice((b"Signature: 8a477f597d28d172789f06886806bc55\nmore", b"no signature", b"Signature: 8a477f597d28d172789f06886806bc55")))
        if folder != tree and rng.random() < 0.1:
            with open(os.path.join(folder, ".nobackup"), "wb") as file:
                file.write(rng.choice((b"", b"skip me\n")))


def pattern(rng, tree):
    def part():
        word = rng.choice(WORDS) + rng.choice(EXTENSIONS)
        kind = rng.randrange(8)
        if kind == 0:
            return "*" + word[-2:]
        if kind == 1:
            return word[:1] + "*"
        if kind == 2 and len(word) > 1:
            return "?" + word[1:]
        if kind == 3:
            return "[a-f]*"
        if kind == 4:
            return "*"
        return word.replace("[", "\\[").replace("*", "\\*")
    parts = [part() for _ in range(rng.choice((1, 1, 1, 2, 2, 3)))]
    if rng.random() < 0.25:
        parts.insert(rng.randrange(len(parts) + 1), "**")
    text = "/".join(parts)
    anchor = rng.random()
    if anchor < 0.2:
        text = tree + "/" + text
    elif anchor < 0.25:
        text = "/" + text
    if rng.random() < 0.1:
        text += "/"
    # A lone star leaves nothing; that is no interesting case more than once.
    return text if text.strip("*/") else "foo"


def option_set(a, tree, number):
    rng, options = a.random, []
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        options += ["--exclude", pattern(rng, tree)]
    if rng.random() < 0.3:
        options += ["--iexclude", pattern(rng, tree)]
    if rng.random() < 0.35:
        name = a.path(f"excludes-{number}")
        lines = ["# a comment", ""]
        for _ in range(rng.randint(1, 4)):
            lines.append(("!" if rng.random() < 0.25 else "") + pattern(rng, tree))
        with open(name, "w") as file:
            file.write("\n".join(lines) + "\n")
        options += ["--exclude-file", name]
    if rng.random() < 0.2:
        options += ["--exclude-larger-than", rng.choice(("1k", "1024", "500", "2K", "1M"))]
    if rng.random() < 0.25:
        options += ["--exclude-caches"]
    if rng.random() < 0.25:
        options += ["--exclude-if-present", rng.choice((".nobackup", ".nobackup:skip me", "CACHEDIR.TAG", "main.c"))]
    if rng.random() < 0.1:
        options += ["--one-file-system"]
    return options


def below(paths, tree):
    return {p for p in paths if p == tree or p.startswith(tree + "/")}


def listed(output):
    """Paths of `ls --json`: JSON Lines, or one array, of objects with a path (restic's shape)."""
    text = output.decode()
    try:
        whole = json.loads(text)
        nodes = whole if isinstance(whole, list) else whole.get("nodes", [whole])
    except json.JSONDecodeError:
        nodes = [json.loads(line) for line in text.splitlines() if line.strip()]
    return {n["path"] for n in nodes if "path" in n}


class Restic:
    def __init__(self, a):
        self.a, self.cut = a, ["restic", "--repo", a.path("restic"), "--no-cache", "-q"]
        self.env = a.environment(RESTIC_PASSWORD="x")
        if a.execute([*self.cut, "init"], env=self.env).code:
            raise Failed("restic init failed")

    def paths(self, tree, options):
        backup = self.a.execute([*self.cut, "backup", "--force", *options, tree], env=self.env)
        if backup.code != 0:
            return None, backup.text
        return listed(self.a.execute([*self.cut, "ls", "latest", "--json"], env=self.env).out), ""


def body(a):
    need("restic")
    tree = a.path("tree")
    build(a, tree)
    count = sum(len(d) + len(f) for _, d, f in os.walk(tree))
    restic, repository = Restic(a), None if a.options.restic_only else Repository(a)
    sets = a.options.sets or (25 if a.short else 300)
    equal = refused = 0
    stored, wrong = [], []
    for number in range(sets):
        options = option_set(a, tree, number)
        expected, complaint = restic.paths(tree, options)
        if repository is None:
            stored.append(len(below(expected, tree)) if expected is not None else -1)
            equal += 1
            continue
        ours = repository.call("backup", tree, *options)
        if expected is None:
            # restic refuses a bad pattern, or a snapshot of nothing; so must we.
            refused += 1
            if ours.code == 0:
                wrong.append(f"{options}: restic refuses ({complaint.strip()[-100:]}), we do not")
            else:
                equal += 1
            continue
        if ours.code != 0:
            wrong.append(f"{options}: exit {ours.code}: {ours.text.strip()[-200:]}")
            continue
        got, want = below(listed(repository.must("ls", "latest", "--json").out), tree), below(expected, tree)
        stored.append(len(want))
        if got == want:
            equal += 1
        else:
            wrong.append(f"{options}: too many {sorted(got - want)[:3]}, missing {sorted(want - got)[:3]}")
    a.note(f"{count} entries in the tree; sets store {min(stored)} to {max(stored)} of them, {len(set(stored))} different counts; {refused} sets refused by both")
    a.check(f"{sets} random sets of patterns and flags store what restic stores", equal == sets, f"{equal} of {sets}" + "".join("\n      " + w for w in wrong[:15]))
    a.check("the sets tell apart", len(set(stored)) > sets // 8, f"{len(set(stored))} different results")


def options(parser):
    parser.add_argument("--sets", type=int, help="how many sets (default 300, short 25)")
    parser.add_argument("--restic-only", action="store_true", help="run restic alone, to try this script")


Acceptance("A11", "the same excludes as restic", options).run(body)
