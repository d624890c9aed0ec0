#!/usr/bin/env python3
"""Makes a tree with every kind of entry that Linux has, for acceptance point A1.

    build_tree.py [--short] [--seed N] DIR

DIR/deep holds paths beyond PATH_MAX (rsync cannot go there); everything else lies under DIR/tree. As root the tree has devices, other
owners, capabilities and trusted xattrs too; what a file system or a missing right refuses is told on standard error.
"""
import argparse
import errno
import os
import random
import shutil
import socket
import stat
import subprocess
import sys

DAY = 86_400 * 10**9


class Builder:
    def __init__(self, directory, short, seed):
        self.top = os.fsencode(os.path.abspath(directory))
        self.short = short
        self.random = random.Random(seed)
        self.root = os.geteuid() == 0
        self.times = []  # (path, ns): set last, because making entries touches their folders

    def build(self):
        os.makedirs(self.top, exist_ok=True)
        tree = os.path.join(self.top, b"tree")
        os.mkdir(tree)
        os.chdir(tree)
        for make in (self.names, self.modes, self.owners, self.links, self.specials, self.sizes, self.sparse, self.attributes,
                     self.acls, self.capabilities, self.long_names, self.nested, self.crowd, self.mtimes):
            make()
        self.deep()
        os.chdir(tree)
        for path, ns in reversed(self.times):
            os.utime(path, ns=(ns, ns), follow_symlinks=False)
        ns = 1_234_567_890_123_456_789
        os.utime(tree, ns=(ns, ns))
        os.chmod(b"modes/directory-0000", 0)  # last: not even root's helpers like to work under it

    def file(self, path, data=b"", mode=None):
        with open(path, "wb") as f:
            f.write(data)
        if mode is not None:
            os.chmod(path, mode)

    def attempt(self, what, action):
        try:
            action()
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.EPERM, errno.ENOSPC, errno.EINVAL, errno.E2BIG, errno.EOVERFLOW, errno.EFBIG):
                raise
            print(f"build_tree.py: left out {what}: {error.strerror}", file=sys.stderr)

    def names(self):
        os.mkdir(b"names")
        for byte in range(1, 256):
            if byte != ord("/"):
                self.file(b"names/byte-%02x-" % byte + bytes([byte]), b"%d" % byte)
        odd = [b"\xff\xfe\xfd", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", "ä".encode(), "a\u0308".encode(), b"a", b"A", "日本語".encode(),
               "🗄".encode(), b" ", b" lead", b"trail ", b"trail.", b"...", b"..x", b"-rf", b"--help", b"new\nline", b"\n", b"tab\there", b"\x1b[31mred",
               b"quote\"'`", b"$(id)", b"*", b"?", b"[a]", b"\\", b"!", b"#", b"~", b"con", b"nul", b"a:b", b"%2f", b"x" * 255, b"\xe4" * 255,
               "\u202egnp.exe".encode(), "\ufffd".encode()]
        for name in odd:
            self.file(b"names/" + name, name)
        os.mkdir(b"names/dir\n\xff")
        self.file(b"names/dir\n\xff/inner\xfe", b"inner")

    def modes(self):
        os.mkdir(b"modes")
        for mode in (0o0, 0o1, 0o400, 0o444, 0o644, 0o755, 0o777, 0o4755, 0o2755, 0o6755, 0o1644, 0o7777, 0o4000, 0o2644):
            self.file(b"modes/file-%04o" % mode, b"mode", mode)
        for mode in (0o500, 0o700, 0o755, 0o1777, 0o2775, 0o3777, 0o7777, 0o0711):
            os.mkdir(b"modes/directory-%04o" % mode)
            self.file(b"modes/directory-%04o/inner" % mode, b"inner")
            os.chmod(b"modes/directory-%04o" % mode, mode)
        os.mkdir(b"modes/directory-0000")
        if self.root:
            self.file(b"modes/directory-0000/inner", b"hidden")

    def owners(self):
        if not self.root:
            return
        os.mkdir(b"owners")
        for uid, gid in ((0, 0), (1, 1), (65534, 65534), (1000, 1000), (123456, 654321), (2**31 + 5, 2**31 + 6), (2**32 - 2, 2**32 - 2), (33, 4)):
            name = b"owners/%d-%d" % (uid, gid)
            self.file(name, b"owned")
            os.chown(name, uid, gid)
            os.chmod(name, 0o6755)  # after chown, which clears these bits
            os.symlink(b"nowhere", name + b"-link")
            os.chown(name + b"-link", uid, gid, follow_symlinks=False)

    def links(self):
        os.makedirs(b"links/a")
        os.mkdir(b"links/b")
        self.file(b"links/a/first", b"hard" * 1000)
        for i in range(20):
            os.link(b"links/a/first", b"links/b/other-%d" % i)
        self.file(b"links/z", b"")
        os.link(b"links/z", b"links/empty too")
        targets = [b"a/first", b"/etc/passwd", b"nowhere", b".", b"..", b"\xff\xfe not UTF-8", b"new\nline", b"x" * 4000, b"loop-1", b"../../../../../../etc",
                   b"a//first/", b" "]
        for i, target in enumerate(targets):
            os.symlink(target, b"links/symlink-%d" % i)
        os.symlink(b"loop-2", b"links/loop-1")
        os.symlink(b"loop-1", b"links/loop-2")
        os.symlink(b"a", b"links/to-folder")
        os.link(b"links/symlink-5", b"links/b/hard link of a symlink", follow_symlinks=False)
        self.times.append((b"links/symlink-0", -1))
        self.times.append((b"links/symlink-2", 999_999_999))

    def specials(self):
        os.mkdir(b"specials")
        os.mkfifo(b"specials/fifo", 0o640)
        os.link(b"specials/fifo", b"specials/fifo too")
        here = os.getcwdb()
        os.chdir(b"specials")  # a socket's path holds 107 bytes
        with socket.socket(socket.AF_UNIX) as s:
            s.bind("socket")
        os.chdir(here)
        if self.root:
            for kind, major, minor in ((stat.S_IFCHR, 1, 3), (stat.S_IFBLK, 7, 200), (stat.S_IFCHR, 4095, 1048575), (stat.S_IFBLK, 259, 300), (stat.S_IFCHR, 0, 0)):
                name = b"specials/%s-%d-%d" % (b"char" if kind == stat.S_IFCHR else b"block", major, minor)
                self.attempt(name, lambda name=name, kind=kind, major=major, minor=minor: os.mknod(name, kind | 0o600, os.makedev(major, minor)))
        self.times.append((b"specials/fifo", 1_500_000_000_987_654_321))

    def sizes(self):
        """Sizes around what a chunker and a block care for, random, text and zeros."""
        os.mkdir(b"sizes")
        k = 1024
        for size in (1, 2, 63, 64, 65, 4095, 4096, 4097, 64 * k, 256 * k - 1, 256 * k, 256 * k + 1, k * k, k * k + 1, 4 * k * k - 1, 4 * k * k, 4 * k * k + 1):
            self.file(b"sizes/random-%d" % size, self.random.randbytes(size))
        self.file(b"sizes/random-large", self.random.randbytes((8 if self.short else 40) * k * k + 17))
        self.file(b"sizes/written zeros", bytes(9 * k * k + 1))
        self.file(b"sizes/text", b"".join(b"line %d of a text that repeats itself\n" % (i % 5000) for i in range(200_000)))

    def sparse(self):
        os.mkdir(b"sparse")
        k, big = 1024, 64 * 2**30 if self.short else 8 * 2**40

        def make(name, size, data):
            def write():
                with open(b"sparse/" + name, "wb") as f:
                    for offset, content in data:
                        os.pwrite(f.fileno(), content, offset)
                    os.ftruncate(f.fileno(), size)
                    os.fsync(f.fileno())
            self.attempt(name, write)

        block = lambda n: self.random.randbytes(n * k)
        make(b"all hole", 2**30, [])
        make(b"leading hole", 10 * 2**20, [(10 * 2**20 - 4 * k, block(4))])
        make(b"trailing hole", 10 * 2**20, [(0, block(4))])
        make(b"odd end in a hole", 3 * 2**20 + 777, [(0, block(8))])
        make(b"odd end in data", 2**20 + 777, [(2**20, self.random.randbytes(777))])
        make(b"every other 4 KiB", 4 * 2**20, [(i * 8 * k, block(4)) for i in range(512)])
        make(b"every other 64 KiB", 8 * 2**20, [(i * 128 * k, block(64)) for i in range(64)])
        make(b"holes in large data", 40 * 2**20, [(0, block(10 * k)), (20 * 2**20, block(9 * k))])
        make(b"zeros between data", 2**20, [(0, block(64)), (64 * k, bytes(256 * k)), (320 * k, block(64))])
        make(b"huge", big, [(0, block(4)), (big // 2, block(64)), (big - 4 * k, block(4))])
        make(b"one byte at the end", 5 * 2**30 + 1, [(5 * 2**30, b"x")])
        os.link(b"sparse/leading hole", b"sparse/hard link of a sparse file")

        def allocate():
            with open(b"sparse/allocated, never written", "wb") as f:
                os.posix_fallocate(f.fileno(), 0, 2**20)
        self.attempt("fallocate", allocate)

    def attributes(self):
        os.mkdir(b"xattrs")
        self.file(b"xattrs/file", b"x")
        sets = [(b"user.plain", b"value"), (b"user.empty", b""), (b"user.binary", bytes(range(256))), (b"user.\xff not UTF-8", b"\xfe"),
                (b"user.new\nline", b"\n"), (b"user.large", self.random.randbytes(2000))]
        for name, value in sets:
            self.attempt(name, lambda name=name, value=value: os.setxattr(b"xattrs/file", name, value))
        self.attempt("xattr of a folder", lambda: os.setxattr(b"xattrs", b"user.folder", b"folder"))
        self.file(b"xattrs/many", b"")
        for i in range(40):
            self.attempt("many xattrs", lambda i=i: os.setxattr(b"xattrs/many", b"user.n%d" % i, b"%d" % i))
        self.file(b"xattrs/read-only", b"x")
        self.attempt("xattr of a read-only file", lambda: os.setxattr(b"xattrs/read-only", b"user.x", b"y"))
        os.chmod(b"xattrs/read-only", 0o444)
        os.symlink(b"file", b"xattrs/symlink")
        if self.root:
            self.attempt("trusted xattr", lambda: os.setxattr(b"xattrs/file", b"trusted.t", b"root's"))
            self.attempt("xattr of a symlink", lambda: os.setxattr(b"xattrs/symlink", b"trusted.link", b"of the link itself", follow_symlinks=False))
            os.mkfifo(b"xattrs/fifo")
            self.attempt("xattr of a fifo", lambda: os.setxattr(b"xattrs/fifo", b"trusted.fifo", b"f"))

    def acls(self):
        os.makedirs(b"acls/folder/inner")
        self.file(b"acls/file", b"acl", 0o640)
        self.command("setfacl", "-m", "u:65534:rw,u:12345:r,g:4:r,m::r", "acls/file")
        self.command("setfacl", "-m", "u:65534:rwx,d:u:12345:rwx,d:g:4:rx,d:m::rwx,d:o::-", "acls/folder")
        self.file(b"acls/folder/inherits", b"x")

    def capabilities(self):
        if self.root:
            os.mkdir(b"capabilities")
            for name, caps in (("net", "cap_net_raw+ep"), ("bind", "cap_net_bind_service,cap_chown+eip")):
                shutil.copy("/bin/true", f"capabilities/{name}")
                self.command("setcap", caps, f"capabilities/{name}")

    def command(self, *args):
        program = shutil.which(args[0]) or f"/usr/sbin/{args[0]}"
        if not os.path.exists(program):
            print(f"build_tree.py: left out {' '.join(args)}: no {args[0]} here", file=sys.stderr)
            return
        done = subprocess.run([program, *args[1:]], stderr=subprocess.PIPE)
        if done.returncode:
            print(f"build_tree.py: left out {' '.join(args)}: {done.stderr.decode().strip()}", file=sys.stderr)

    def long_names(self):
        """The longest path that a system call takes: 4,095 bytes from here, and rsync still goes there."""
        here = os.getcwdb()
        os.mkdir(b"long")
        os.chdir(b"long")
        for i in range(10):
            os.mkdir(b"%d" % i + b"n" * 250)
            os.chdir(b"%d" % i + b"n" * 250)
        self.file(b"end of a long path", b"end")
        os.chdir(here)

    def nested(self):
        here = os.getcwdb()
        os.mkdir(b"nested")
        os.chdir(b"nested")
        for i in range(600):
            os.mkdir(b"d")
            os.chdir(b"d")
        self.file(b"bottom", b"600 folders down")
        os.chdir(here)

    def crowd(self):
        os.mkdir(b"crowd")
        for i in range(5_000 if self.short else 100_000):
            with open(b"crowd/entry-%06d" % i, "wb") as f:
                f.write(b"%d" % i * (i % 7))
        os.mkdir(b"empty")

    def mtimes(self):
        os.mkdir(b"times")
        for i, ns in enumerate((0, 1, -1, 999_999_999, -999_999_999, -DAY, -DAY - 1, -(2**31) * 10**9, 2**31 * 10**9, 2**32 * 10**9 + 123, 1_700_000_000_000_000_001,
                                1_700_000_000_100_000_000, 15_032_385_000 * 10**9)):
            self.file(b"times/%d" % i, b"time")
            self.times.append((b"times/%d" % i, ns))
        os.mkdir(b"times/old folder")
        self.times.append((b"times/old folder", -1_000_000_000_000_000_001))
        self.times.append((b"times", 1_111_111_111_111_111_111))

    def deep(self):
        """Paths of some 16,000 bytes: four times PATH_MAX."""
        os.chdir(self.top)
        os.mkdir(b"deep")
        os.chdir(b"deep")
        for i in range(80):
            name = b"%03d-" % i + b"d" * 196
            os.mkdir(name)
            os.chdir(name)
            if i % 8 == 0:
                self.file(b"file", b"level %d" % i)
                os.symlink(b"file", b"link")
                os.link(b"file", b"hard")
                self.attempt("deep xattr", lambda: os.setxattr(b"file", b"user.deep", b"%d" % i))
                os.utime(b"file", ns=(i, i * 1_000_000_007))
        os.chdir(self.top)


def main():
    parser = argparse.ArgumentParser(description="Makes a tree with every kind of entry that Linux has.")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("directory")
    options = parser.parse_args()
    os.umask(0o022)
    Builder(options.directory, options.short, options.seed).build()


if __name__ == "__main__":
    main()
