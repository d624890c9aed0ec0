#!/usr/bin/env python3
"""Prints what stands in a folder, a line for each entry, without any code of ours: the expectation beside a golden repository.

    listing.py FOLDER > listing.txt

Fields, separated by tabs: path, type (as find -printf %y has it), mode, uid:gid, mtime in seconds and nanoseconds, size of a file's content or
numbers of a device, SHA-256 of a file's content, target of a link, extended attributes, and the first name (by its bytes) of a file that has
several here. Bytes outside printable ASCII, blanks and backslashes come as \\xNN.
"""
import hashlib
import os
import stat
import sys

TYPES = {stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l", stat.S_IFBLK: "b", stat.S_IFCHR: "c", stat.S_IFIFO: "p", stat.S_IFSOCK: "s"}


def text(name):
    return "".join(chr(b) if 0x21 <= b <= 0x7E and b != 0x5C else f"\\x{b:02x}" for b in name)


def digest(path):
    sha = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            sha.update(block)
    return sha.hexdigest()


def attributes(path):
    try:
        names = sorted(os.fsencode(name) for name in os.listxattr(path, follow_symlinks=False))
    except OSError:
        return ""
    return ",".join(f"{text(name)}={os.getxattr(path, name, follow_symlinks=False).hex()}" for name in names)


def entries(folder, prefix=b""):
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        status = os.lstat(path)
        yield prefix + name, path, status
        if stat.S_ISDIR(status.st_mode):
            yield from entries(path, prefix + name + b"/")


def main():
    first = {}
    for relative, path, status in entries(os.fsencode(sys.argv[1])):
        kind = TYPES[stat.S_IFMT(status.st_mode)]
        identity = (status.st_dev, status.st_ino)
        group = text(first.setdefault(identity, relative)) if status.st_nlink > 1 and kind != "d" else ""
        size = str(status.st_size) if kind == "f" else f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}" if kind in "bc" else ""
        print("\t".join((
            text(relative), kind, f"{stat.S_IMODE(status.st_mode):04o}", f"{status.st_uid}:{status.st_gid}",
            f"{status.st_mtime_ns // 10**9}.{status.st_mtime_ns % 10**9:09d}", size, digest(path) if kind == "f" else "",
            text(os.readlink(path)) if kind == "l" else "", attributes(path), group)))


main()
