#!/usr/bin/env python3
"""Compares two trees to the last bit of data and metadata: names as bytes, types, modes, owners, mtimes in ns, xattrs (with ACLs and
capabilities, which are xattrs), symlink targets, device numbers, hard link groups, sizes, contents, and where the holes are.

    compare_trees.py [--limit N] [--no-holes] [--no-owner] [--content-only] [--list-paths] A B

Exit code 0: equal. 1: differences, one per line (or their paths, NUL-terminated, with --list-paths). 2: could not compare.
Works through directory descriptors, so that paths beyond PATH_MAX are no matter. Not compared: atime, ctime, inode and link counts
of directories, sizes of directories, and device ids, which no restore can or should bring back.
"""
import argparse
import errno
import os
import resource
import stat
import sys

BLOCK = 1 << 20


class Comparer:
    def __init__(self, options):
        self.options = options
        self.differences = 0
        self.entries = 0
        self.bytes = 0
        self.groups = ({}, {})

    def tell(self, path, text):
        self.differences += 1
        if self.differences > self.options.limit:
            return
        if self.options.list_paths:
            sys.stdout.buffer.write(path + b"\0")
        else:
            print(f"{path!r}: {text}")

    def trees(self, a, b):
        """Walks both trees at once, depth first, with one open descriptor per level."""
        fds = [(os.open(a, os.O_RDONLY | os.O_DIRECTORY), os.open(b, os.O_RDONLY | os.O_DIRECTORY))]
        self.entry(b".", os.fstat(fds[0][0]), os.fstat(fds[0][1]), fds[0], b".")
        stack = [(b"", self.names(fds[0], b""))]
        while stack:
            prefix, names = stack[-1]
            name = next(names, None)
            if name is None:
                stack.pop()
                for fd in fds.pop():
                    os.close(fd)
                continue
            path = prefix + name
            stats = [os.stat(name, dir_fd=fd, follow_symlinks=False) for fd in fds[-1]]
            if not self.entry(path, *stats, fds[-1], name) or not stat.S_ISDIR(stats[0].st_mode):
                continue
            fds.append(tuple(os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd) for fd in fds[-1]))
            stack.append((path + b"/", self.names(fds[-1], path + b"/")))
        self.hard_links()

    def names(self, pair, prefix):
        a, b = ({os.fsencode(n) for n in os.listdir(fd)} for fd in pair)
        for name in sorted(a - b):
            self.tell(prefix + name, "only in the first")
        for name in sorted(b - a):
            self.tell(prefix + name, "only in the second")
        return iter(sorted(a & b))

    def entry(self, path, a, b, pair, name):
        """Compares one entry; False when the types differ."""
        self.entries += 1
        if stat.S_IFMT(a.st_mode) != stat.S_IFMT(b.st_mode):
            self.tell(path, f"type {stat.filemode(a.st_mode)[0]} and {stat.filemode(b.st_mode)[0]}")
            return False
        if not self.options.content_only:
            self.metadata(path, a, b, pair, name)
        if stat.S_ISREG(a.st_mode):
            if a.st_size != b.st_size:
                self.tell(path, f"size {a.st_size} and {b.st_size}")
            else:
                self.content(path, a.st_size, pair, name)
        elif stat.S_ISLNK(a.st_mode):
            targets = [os.readlink(name, dir_fd=fd) for fd in pair]
            if targets[0] != targets[1]:
                self.tell(path, f"symlink target {targets[0]!r} and {targets[1]!r}")
        elif stat.S_ISCHR(a.st_mode) or stat.S_ISBLK(a.st_mode):
            if a.st_rdev != b.st_rdev:
                self.tell(path, f"device {os.major(a.st_rdev)}:{os.minor(a.st_rdev)} and {os.major(b.st_rdev)}:{os.minor(b.st_rdev)}")
        return True

    def metadata(self, path, a, b, pair, name):
        if stat.S_IMODE(a.st_mode) != stat.S_IMODE(b.st_mode):
            self.tell(path, f"mode {stat.S_IMODE(a.st_mode):04o} and {stat.S_IMODE(b.st_mode):04o}")
        if not self.options.no_owner and (a.st_uid, a.st_gid) != (b.st_uid, b.st_gid):
            self.tell(path, f"owner {a.st_uid}:{a.st_gid} and {b.st_uid}:{b.st_gid}")
        if a.st_mtime_ns != b.st_mtime_ns:
            self.tell(path, f"mtime {a.st_mtime_ns} and {b.st_mtime_ns} ns")
        attributes = [self.attributes(fd, name) for fd in pair]
        if attributes[0] != attributes[1]:
            changed = sorted(k for k in attributes[0].keys() | attributes[1].keys() if attributes[0].get(k) != attributes[1].get(k))
            self.tell(path, "xattrs " + ", ".join(f"{k!r}: {attributes[0].get(k)!r:.80} and {attributes[1].get(k)!r:.80}" for k in changed))
        if not stat.S_ISDIR(a.st_mode):
            for groups, entry in zip(self.groups, (a, b)):
                if entry.st_nlink > 1:
                    groups.setdefault((entry.st_dev, entry.st_ino), []).append(path)

    @staticmethod
    def attributes(fd, name):
        # By the descriptor's path: there is no getxattrat, and the whole path may be too long.
        path = b"/proc/self/fd/%d/%s" % (fd, name)
        try:
            names = os.listxattr(path, follow_symlinks=False)
        except OSError as error:
            if error.errno == errno.ENOTSUP:
                return {}
            raise
        return {n: os.getxattr(path, n, follow_symlinks=False) for n in names}

    def content(self, path, size, pair, name):
        if size == 0:
            return
        files = [os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=fd) for fd in pair]
        try:
            maps = [data_ranges(fd, size) for fd in files]
            if not self.options.no_holes and not self.options.content_only and maps[0] != maps[1]:
                self.tell(path, f"holes: data at {brief(maps[0])} and at {brief(maps[1])}")
            for start, end in union(maps[0] + maps[1]):
                while start < end:
                    length = min(BLOCK, end - start)
                    if os.pread(files[0], length, start) != os.pread(files[1], length, start):
                        self.tell(path, f"content differs within {length} bytes at {start}")
                        return
                    start += length
                    self.bytes += length
        finally:
            for fd in files:
                os.close(fd)

    def hard_links(self):
        # A file whose other names lie outside of the tree is alone in it, in both.
        sets = [{frozenset(paths) for paths in groups.values() if len(paths) > 1} for groups in self.groups]
        for group in sorted(sets[0] ^ sets[1], key=min):
            self.tell(min(group), f"hard links: {brief(sorted(group))} are one file only in the {'first' if group in sets[0] else 'second'}")


def data_ranges(fd, size):
    """The ranges of a file that hold data, as SEEK_DATA and SEEK_HOLE tell."""
    ranges, position = [], 0
    while position < size:
        try:
            start = os.lseek(fd, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole to the end
                break
            raise
        end = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        ranges.append((start, end))
        position = end
    return ranges


def union(ranges):
    merged = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def brief(items):
    return f"{items[:4]}{f' and {len(items) - 4} more' if len(items) > 4 else ''}"


def main():
    parser = argparse.ArgumentParser(description="Compares two trees to the last bit of data and metadata.")
    parser.add_argument("--limit", type=int, default=20, help="differences to print (default %(default)s)")
    parser.add_argument("--no-holes", action="store_true", help="do not compare where the holes are")
    parser.add_argument("--no-owner", action="store_true", help="do not compare owner and group (a restore that was not run as root)")
    parser.add_argument("--content-only", action="store_true", help="compare types, names, contents and symlink targets alone")
    parser.add_argument("--list-paths", action="store_true", help="print only the paths that differ, NUL-terminated")
    parser.add_argument("a")
    parser.add_argument("b")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # one descriptor per level and side
    comparer = Comparer(options)
    try:
        comparer.trees(os.fsencode(options.a), os.fsencode(options.b))
    except OSError as error:
        print(f"compare_trees.py: {error}", file=sys.stderr)
        return 2
    if not options.list_paths:
        print(f"{comparer.entries} entries, {comparer.bytes} bytes compared, {comparer.differences} differences")
    return 1 if comparer.differences else 0


if __name__ == "__main__":
    sys.exit(main())
