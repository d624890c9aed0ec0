#!/usr/bin/env python3
"""Makes the corpora of the benchmarks and acceptance scripts by a seed: the same seed gives the same bytes everywhere.

    corpora.py KIND DIR [--scale S] [--seed N]
    KIND: source | small | random | half | mixed | million | change

source   a source tree from installed packages: the .NET SDK, Python and part of /usr/share (what is there; not by the seed)
small    100,000 files of 0.2 to 16 KB of text that compresses like text
random   one file of 1 GB that does not compress
half     one file of 1 GB in which blocks of text and of random bytes alternate
mixed    20,000 small files and two large ones: what ages by 90 days of small changes
million  1,000,000 files of up to 200 bytes, for the memory test
change   the second generation of a tree: 1 % of its files (or of the blocks of a large file) changed, some new, some gone
"""
import argparse
import os
import random
import shutil
import subprocess
import sys

MIB = 1 << 20
VOCABULARY = 6000


class Text:
    """Words drawn like those of a language: few often, many seldom. Compresses by about a factor of three, as source text does."""

    def __init__(self, rng):
        letters = "etaoinshrdlucmfwypvbgkqjxz"
        self.words = ["".join(rng.choices(letters, weights=range(26, 0, -1), k=rng.randint(1, 11))) for _ in range(VOCABULARY)]
        self.weights = []
        total = 0.0
        for rank in range(VOCABULARY):
            total += 1 / (rank + 3)
            self.weights.append(total)
        # One long text is drawn once and cut at random places: drawing words anew for a gigabyte would take an hour.
        drawn = rng.choices(self.words, cum_weights=self.weights, k=1_500_000)
        self.pool = " ".join(w + ("\n" if i % 11 == 10 else "") for i, w in enumerate(drawn)).encode()

    def piece(self, rng, size):
        """size bytes made of snippets of 40 to 200 bytes each, so that no two pieces share a long run."""
        parts, have, end = [], 0, len(self.pool) - 200
        while have < size:
            length = rng.randint(40, 200)
            start = rng.randrange(end)
            parts.append(self.pool[start:start + length])
            have += length
        return b"".join(parts)[:size]


def source(directory, scale, rng):
    """Real trees: copied, so that the benchmark writes nothing into the system and reads it from one file system."""
    os.makedirs(directory)
    candidates = ["/usr/share/dotnet", "/usr/lib/dotnet", os.path.expanduser("~/.dotnet"), "/usr/lib/python3", "/usr/lib/python3.11", "/usr/lib/python3.13",
                  "/usr/share", "/usr/include", "/usr/lib/x86_64-linux-gnu/perl", "/usr/share/perl"]
    budget = int(1600 * MIB * scale)
    seen = set()
    for path in candidates:
        real = os.path.realpath(path)
        if budget <= 0 or not os.path.isdir(real) or any(real == s or real.startswith(s + "/") for s in seen):
            continue
        budget -= copy_some(real, os.path.join(directory, path.strip("/").replace("/", "-")), budget, seen)
        seen.add(real)


def copy_some(origin, target, budget, skip):
    """Copies a tree in a stable order until the budget is used up; returns the bytes copied."""
    copied = 0
    for folder, folders, files in os.walk(origin):
        folders[:] = sorted(f for f in folders if os.path.join(folder, f) not in skip)
        into = os.path.join(target, os.path.relpath(folder, origin))
        os.makedirs(into, exist_ok=True)
        for name in sorted(files):
            path = os.path.join(folder, name)
            try:
                shutil.copy2(path, os.path.join(into, name), follow_symlinks=False)
                copied += os.lstat(path).st_size
            except OSError as error:
                print(f"corpora.py: left out {path}: {error.strerror}", file=sys.stderr)
            if copied >= budget:
                return copied
    return copied


def small(directory, scale, rng):
    text = Text(rng)
    count = int(100_000 * scale)
    for i in range(count):
        folder = os.path.join(directory, f"{i // 5000:03d}", f"{i // 100 % 50:02d}")
        if i % 100 == 0:
            os.makedirs(folder, exist_ok=True)
        # Sizes spread evenly over the logarithm: most files are small, as in real trees.
        size = int(200 * (80 ** rng.random()))
        with open(os.path.join(folder, f"file-{i:06d}.txt"), "wb") as file:
            file.write(text.piece(rng, size))


def random_file(directory, scale, rng):
    os.makedirs(directory)
    with open(os.path.join(directory, "random.bin"), "wb") as file:
        for _ in range(int(1024 * scale)):
            file.write(rng.randbytes(MIB))


def half(directory, scale, rng):
    os.makedirs(directory)
    text = Text(rng)
    with open(os.path.join(directory, "half.bin"), "wb") as file:
        for _ in range(int(1024 * scale)):
            file.write(rng.randbytes(MIB // 2))
            file.write(text.piece(rng, MIB // 2))


def mixed(directory, scale, rng):
    small(os.path.join(directory, "small"), 0.2 * scale, rng)
    random_file(os.path.join(directory, "random"), 0.2 * scale, rng)
    half(os.path.join(directory, "half"), 0.2 * scale, rng)


def million(directory, scale, rng):
    """Plain speed matters here: short contents that differ, 1,000 files to a folder."""
    count = int(1_000_000 * scale)
    filler = rng.randbytes(4096)
    for i in range(count):
        if i % 1000 == 0:
            folder = os.path.join(directory, f"{i // 100_000:02d}", f"{i // 1000 % 100:02d}")
            os.makedirs(folder, exist_ok=True)
        fd = os.open(os.path.join(folder, f"f{i:07d}"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        start = rng.randrange(3900)
        os.write(fd, b"%d\n" % i + filler[start:start + i % 180])
        os.close(fd)


def change(directory, scale, rng):
    """Changes a tree in place into its second generation."""
    files = sorted(os.path.join(folder, name) for folder, _, names in os.walk(directory) for name in names
                   if not os.path.islink(os.path.join(folder, name)))
    if not files:
        raise SystemExit("corpora.py: nothing to change in " + directory)
    large = [f for f in files if os.path.getsize(f) >= 64 * MIB]
    for path in large:
        size = os.path.getsize(path)
        with open(path, "r+b") as file:
            for _ in range(max(1, size // 100 // (64 * 1024))):  # 1 % in places of 64 KiB
                file.seek(rng.randrange(size - 64 * 1024))
                file.write(rng.randbytes(64 * 1024))
    rest = [f for f in files if f not in set(large)]
    for path in rng.sample(rest, len(rest) // 100):
        os.chmod(path, 0o644)
        with open(path, "ab") as file:
            file.write(b"changed %d\n" % rng.getrandbits(64))
    for path in rng.sample(rest, len(rest) // 1000):
        os.rename(path, path + ".renamed")
    if rest:
        fresh = os.path.join(directory, "new in the second generation")
        os.makedirs(fresh, exist_ok=True)
        for i in range(max(1, len(rest) // 1000)):
            with open(os.path.join(fresh, f"new-{i}"), "wb") as file:
                file.write(rng.randbytes(rng.randint(100, 20_000)))


KINDS = {"source": source, "small": small, "random": random_file, "half": half, "mixed": mixed, "million": million, "change": change}


def make(kind, directory, scale=1.0, seed=1):
    """Makes the corpus unless a finished one with the same parameters is there; returns its directory."""
    if kind == "change":
        change(directory, scale, random.Random(seed))
        return directory
    stamp = directory.rstrip("/") + f".{kind}-{scale}-{seed}.done"
    if not os.path.exists(stamp):
        subprocess.run(["rm", "-rf", directory], check=True)
        os.makedirs(os.path.dirname(os.path.abspath(directory)), exist_ok=True)
        KINDS[kind](directory, scale, random.Random(seed))
        open(stamp, "w").close()
    return directory


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("directory")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    make(options.kind, os.path.abspath(options.directory), options.scale, options.seed)


if __name__ == "__main__":
    main()
