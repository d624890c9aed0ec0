#!/usr/bin/env python3
"""B8: a snapshot served by WebDAV and mounted by davfs2 and rclone, and one mounted by FUSE: `find -type f | xargs sha256sum` equals the source, a
2 GB file read at random offsets equals, memory stays bounded, an ended process leaves no mount. B8a: Debian's litmus passes where it applies to a
read-only server."""
import http.client
import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time

from harness import MIB, Acceptance, Failed, Repository, compare, has_stack_trace, need

TOKEN = "a token that nobody guesses"
READERS = 4
PEAK = 300_000_000
# What litmus asks of a server's reading: the rest asks it to write.
APPLIES = {"basic": ("options", "put_get", "put_get_utf8_segment"), "props": ("propfind_invalid", "propfind_invalid2", "propfind_d0", "propextended")}


def make_tree(a):
    """A tree of odd names and one large file; returns (root, the large file's size)."""
    root = a.path("tree")
    for folder in ("documents/deep/er/still", "empty", "größe ☃", "a b#c?d&e=f+g;h", "100%", "many"):
        os.makedirs(os.path.join(root, folder))
    raw = os.fsencode(root)
    # davfs2 fails with names beyond 240 bytes: it appends to them in its cache.
    names = [b"plain", b"with space", b"%41 percent", b"caf\xe9 not utf-8", b"\xff\xfe", b"new\nline", b"tab\tand\x01control", "größe ☃ 𝄞".encode(), b"<&'\">",
             b"quote\"back\\slash", b"...", b"~", b"semi;colon:at@", b"n" * 200, b"%25", b"%2F", b"%zz%"]
    for i, name in enumerate(names):
        with open(os.path.join(raw, b"documents/deep/er", name), "wb") as file:
            file.write(a.random.randbytes(a.random.choice((0, 1, 100, 5_000, 70_000))) + b"%d" % i)
        with open(os.path.join(raw, "größe ☃".encode(), name), "wb") as file:
            file.write(b"%d " % i + name)
    for i in range(2_000 if a.short else 5_000):
        with open(os.path.join(root, "many", f"entry {i:05}"), "wb") as file:
            file.write(b"%d\n" % i * (i % 97))
    open(os.path.join(root, "empty file"), "wb").close()
    with open(os.path.join(root, "medium"), "wb") as file:
        file.write(a.random.randbytes(9 * MIB + 12_345))
    with open(os.path.join(root, "holes"), "wb") as file:
        for i in range(20):
            os.pwrite(file.fileno(), a.random.randbytes(5_000), i * 1_000_003)
        os.ftruncate(file.fileno(), 30 * MIB)
    os.link(os.path.join(root, "medium"), os.path.join(root, "documents", "second name"))
    os.symlink("../medium", os.path.join(root, "documents", "link"))
    os.mkfifo(os.path.join(root, "documents", "fifo"))
    size = (128 if a.short else 2_000) * MIB + 321
    with open(os.path.join(root, "large"), "wb") as file:
        while file.tell() < size:
            file.write(a.random.randbytes(min(4 * MIB, size - file.tell())))
    return root, size


def spell(name):
    """A name as docs/browsing.md spells it where only text will do."""
    def escape(match):
        return match.group().replace(b"%", b"%25")
    text = re.sub(rb"%(?=[0-9a-fA-F]{2})", escape, name).decode("utf-8", "surrogateescape")
    return "".join(f"%{ord(c) - 0xdc00:02X}" if 0xdc80 <= ord(c) <= 0xdcff else f"%{ord(c):02X}" if ord(c) < 32 or ord(c) == 127 else c for c in text).encode()


def sums(root, spelled):
    """{path: sha256} of the files below a folder that are shorter than 100 MB, by find and sha256sum; davfs2's own folder is left out."""
    command = "find . -name lost+found -prune -o -type f -size -100M -print0 | xargs -0 sha256sum -z"
    sums = {}
    for line in subprocess.run(command, shell=True, cwd=root, stdout=subprocess.PIPE).stdout.split(b"\0")[:-1]:
        digest, path = line.split(b"  ", 1)
        sums[b"/".join(map(spell, path.split(b"/"))) if spelled else path] = digest
    return sums


def same_files(a, name, wanted, root):
    start = time.monotonic()
    got = sums(root, spelled=False)
    differing = sorted(p for p in set(wanted) | set(got) if wanted.get(p) != got.get(p))
    a.check(name, not differing, f"{len(differing)} differ: {differing[:5]}" if differing else f"{len(got)} files in {time.monotonic() - start:.1f} s")


def random_reads(a, name, original, path, size, count):
    """Several readers at once, each at its own random offsets, without read-ahead of the system."""
    wrong, seeds = [], [a.random.randrange(1 << 30) for _ in range(READERS)]

    def read(seed):
        import random
        mine = random.Random(seed)
        with open(original, "rb") as right, open(path, "rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            for _ in range(count // READERS):
                offset, length = mine.randrange(size), mine.choice((1, 100, 4_096, 65_536, 300_000, 1_500_000))
                right.seek(offset)
                want, got = right.read(length), b""
                while len(got) < len(want):
                    more = os.pread(file.fileno(), len(want) - len(got), offset + len(got))
                    if not more:
                        break
                    got += more
                if want != got:
                    wrong.append((offset, length))

    start = time.monotonic()
    parallel(READERS, lambda i: read(seeds[i]))
    a.check(name, not wrong, f"wrong: {wrong[:5]}" if wrong else f"{count} reads in {time.monotonic() - start:.1f} s")


def parallel(count, work):
    failures = []

    def guarded(i):
        try:
            work(i)
        except OSError as failure:
            failures.append(failure)

    threads = [threading.Thread(target=guarded, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise Failed(f"reading failed: {failures[0]}")


class Running:
    """`serve webdav` or `mount` at work; what it says first is waited for."""

    def __init__(self, repository, *args):
        self.log = repository.a.path("running.log")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(repository.args(*args, "--json"), stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL, env=repository.a.environment())
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"{args} did not start: {self.text()}")
        self.said = json.loads(line)

    def text(self):
        with open(self.log, "rb") as log:
            return log.read().decode("utf-8", "replace")

    @property
    def peak(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return int(re.search(r"VmHWM:\s+(\d+)", status.read()).group(1)) * 1024

    def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        return self.process.wait(timeout=20)


def mounted(folder):
    with open("/proc/self/mounts") as mounts:
        return any(line.split()[1] == folder for line in mounts)


class Mounted:
    """Somebody else's mount of a URL, taken away at the end."""

    def __init__(self, a, program, url, folder):
        self.a, self.program, self.folder = a, program, folder
        os.makedirs(folder, exist_ok=True)
        if program == "davfs2":
            # Linux 6.16 and later needs the larger buffer, or folders cannot be listed; davfs2 makes its cache itself.
            conf = a.path("davfs2.conf")
            with open(conf, "w") as file:
                file.write("buf_size 64\n")
            done = subprocess.run(["mount.davfs", "-o", f"ro,conf={conf}", url, folder], input=f"user\n{TOKEN}\n".encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  env=a.environment())
        else:
            environment = rclone_environment(a, url)
            done = subprocess.run(["rclone", "mount", "served:", folder, "--read-only", "--daemon", "--vfs-cache-mode", "off", "--buffer-size", "1M"],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment)
        if done.returncode:
            raise Failed(f"{program} does not mount: {done.stdout.decode()[-500:]}")

    def __enter__(self):
        return self.folder

    def __exit__(self, *_):
        subprocess.run(["umount", self.folder] if self.program == "davfs2" else ["fusermount3", "-u", self.folder], stdout=subprocess.DEVNULL)


def rclone_environment(a, url):
    obscured = subprocess.run(["rclone", "obscure", TOKEN], stdout=subprocess.PIPE, check=True).stdout.decode().strip()
    return a.environment(RCLONE_CONFIG="/dev/null", RCLONE_CONFIG_SERVED_TYPE="webdav", RCLONE_CONFIG_SERVED_URL=url, RCLONE_CONFIG_SERVED_VENDOR="other",
                         RCLONE_CONFIG_SERVED_USER="user", RCLONE_CONFIG_SERVED_PASS=obscured)


def webdav(a, repository, root, size, wanted):
    served = Running(repository, "serve", "webdav", f"latest:{root}", "--listen", "127.0.0.1:0", "--token-file", a.token_file, "--memory", "128M")
    url = served.said["url"]
    curl = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}"]
    codes = [a.execute([*curl, *more, url + "medium"]).out.decode() for more in
             ([], ["-u", "user:wrong"], ["-u", f"user:{TOKEN}"], ["-u", f"user:{TOKEN}", "-T", "/etc/hostname"], ["-u", f"user:{TOKEN}", "-X", "DELETE"])]
    a.check("without the token nothing, with it reading and no writing", codes == ["401", "401", "200", "403", "403"], str(codes))
    if a.can_mount:
        with Mounted(a, "davfs2", url, a.path("davfs2")) as folder:
            same_files(a, "davfs2 mounts it: every file below 100 MB equals its source", wanted, folder)
        with Mounted(a, "rclone", url, a.path("rclone")) as folder:
            if not a.short:
                same_files(a, "rclone mounts it: every file below 100 MB equals its source", wanted, folder)
            random_reads(a, f"rclone's mount: a file of {size / 1e9:.2f} GB at random offsets", os.path.join(root, "large"), os.path.join(folder, "large"), size, 80 if a.short else 800)
    else:
        a.execute(["rclone", "copy", "served:", a.path("copied"), "--transfers", "4"], env=rclone_environment(a, url))
        same_files(a, "rclone copies it: every file below 100 MB equals its source", wanted, a.path("copied"))
    ranges(a, url, os.path.join(root, "large"), size, 100 if a.short else 1_000)
    script, got = a.path("cadaver.script"), a.path("got")
    with open(script, "w") as file:
        file.write(f"ls\ncd documents\nget \"second name\" {got}\n")
    with open(a.path("home", ".netrc"), "w") as netrc:
        netrc.write(f"machine 127.0.0.1 login user password \"{TOKEN}\"\n")
    os.chmod(a.path("home", ".netrc"), 0o600)
    with open(script, "rb") as stdin:
        result = a.execute(["cadaver", url], stdin=stdin, timeout=120)
    a.check("cadaver lists and gets", "succeeded" in result.text and "large" in result.text and same(got, os.path.join(root, "medium")), "" if os.path.exists(got) else result.text[-500:])
    whole = a.path("whole")
    result = a.execute(["curl", "-s", "-f", "-u", f"user:{TOKEN}", "-o", whole, url + "large"])
    a.check("the large file whole", result.code == 0 and same(whole, os.path.join(root, "large")), f"{size / MIB / result.seconds:.0f} MiB/s")
    os.unlink(whole)
    peak = served.peak
    a.check("its memory stays bounded", peak < PEAK, f"peak {peak / 1e6:.0f} MB with --memory 128M")
    code = served.end()
    a.check("SIGTERM ends it", code == 0 and not has_stack_trace(served.text()), f"exit {code}")


def ranges(a, url, original, size, count):
    start, wrong = time.monotonic(), []
    connection = http.client.HTTPConnection(url.split("/")[2], timeout=60)
    with open(original, "rb") as file:
        for _ in range(count):
            offset, length = a.random.randrange(size), a.random.choice((1, 4_096, 300_000, 2_000_000))
            connection.request("GET", "/large", headers={"Authorization": "Bearer " + TOKEN, "Range": f"bytes={offset}-{offset + length - 1}"})
            got = connection.getresponse().read()
            file.seek(offset)
            if got != file.read(length):
                wrong.append((offset, length))
    connection.close()
    a.check(f"HTTP ranges of a file of {size / 1e9:.2f} GB at random offsets", not wrong, f"wrong: {wrong[:5]}" if wrong else f"{count} in {time.monotonic() - start:.1f} s")


def same(first, second):
    return subprocess.run(["cmp", "-s", first, second]).returncode == 0


def fuse(a, repository, root, size, wanted):
    folder = a.path("mounted")
    os.makedirs(folder)
    mount = Running(repository, "mount", folder, f"latest:{root}", "--memory", "128M")
    same_files(a, "mounted by FUSE: every file below 100 MB equals its source", wanted, folder)
    compare(a, "mounted by FUSE: names, types, owners, times, attributes, links equal", root, folder)
    random_reads(a, f"FUSE: a file of {size / 1e9:.2f} GB at random offsets", os.path.join(root, "large"), os.path.join(folder, "large"), size, 200 if a.short else 4_000)
    peak = mount.peak
    a.check("FUSE: memory stays bounded", peak < PEAK, f"peak {peak / 1e6:.0f} MB with --memory 128M")
    code = mount.end(signal.SIGINT)
    a.check("SIGINT unmounts", code == 0 and not mounted(folder), f"exit {code}: {mount.text()[-200:]}" if code else "")
    mount = Running(repository, "mount", folder)
    held = os.open(os.path.join(folder, "latest") + root + "/medium", os.O_RDONLY)
    code = mount.end()
    a.check("SIGTERM unmounts though a file is open", code == 0 and not mounted(folder), f"exit {code}")
    try:
        os.close(held)
    except OSError:
        pass  # The file system that it was on is gone.
    Running(repository, "mount", folder).end(signal.SIGKILL)
    refused = repository.call("mount", folder)
    a.check("after kill -9 the folder is refused with what to do", refused.code != 0 and "umount" in refused.text and not has_stack_trace(refused.text), refused.text.strip()[-300:])
    subprocess.run(["umount", folder], check=True)
    again = Running(repository, "mount", folder)
    subprocess.run(["umount", folder], check=True)
    a.check("after umount it mounts again, and umount ends it", again.process.wait(timeout=20) == 0 and not mounted(folder))


class Gateway(http.server.ThreadingHTTPServer):
    """
    Between litmus and the server. What litmus writes goes into a folder; before it reads again, that folder is backed up and the server shows the
    new snapshot. So every answer to a reading request is our server's, and what litmus reads is what it wrote.
    """

    daemon_threads = True

    def __init__(self, a, repository):
        super().__init__(("127.0.0.1", 0), GatewayRequest)
        self.repository, self.folder, self.changed, self.server, self.gate = repository, a.path("litmus"), True, None, threading.Lock()
        self.token_file, self.forwarded = a.token_file, 0
        os.makedirs(self.folder)

    def current(self):
        with self.gate:
            if self.changed:
                self.repository.backup(self.folder)
                if self.server:
                    self.server.end()
                self.server = Running(self.repository, "serve", "webdav", f"latest:{self.folder}", "--listen", "127.0.0.1:0", "--token-file", self.token_file)
                self.changed = False
            self.forwarded += 1
            return self.server.said["url"].split("/")[2]


class GatewayRequest(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def write_request(self):
        import urllib.parse
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.server.folder + urllib.parse.unquote(urllib.parse.urlsplit(self.path).path).rstrip("/")
        with self.server.gate:
            self.server.changed = True
            if self.command == "DELETE":
                there = os.path.exists(path)
                shutil.rmtree(path, ignore_errors=True) if os.path.isdir(path) else there and os.unlink(path)
                code = 204 if there else 404
            elif os.path.exists(path) and self.command == "MKCOL":
                code = 405
            elif not os.path.isdir(os.path.dirname(path)):
                code = 409
            elif self.command == "MKCOL":
                code = 415 if body else 201
                body or os.mkdir(path)
            else:
                code = 204 if os.path.exists(path) else 201
                with open(path, "wb") as file:
                    file.write(body)
        self.send_response(code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def forward(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        connection = http.client.HTTPConnection(self.server.current(), timeout=30)
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in ("connection", "te", "expect"):
                connection.putheader(name, value)
        connection.endheaders(body or None)
        answer = connection.getresponse()
        content = answer.read()
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", answer.getheader("Content-Length") if self.command == "HEAD" and answer.getheader("Content-Length") else str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
        connection.close()

    do_PUT = do_MKCOL = do_DELETE = write_request
    do_GET = do_HEAD = do_OPTIONS = do_PROPFIND = do_PROPPATCH = do_LOCK = do_UNLOCK = do_COPY = do_MOVE = forward

    def log_message(self, *_):
        pass


def litmus(a, repository):
    gateway = Gateway(a, repository)
    threading.Thread(target=gateway.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{gateway.server_port}/"
    for suite, tests in APPLIES.items():
        result = a.execute(["litmus", "-k", url, "user", TOKEN], env=a.environment(TESTS=suite), timeout=300, cwd=a.work)
        # A warning comes before the verdict: the server claims class 1 alone, for without writing there is nothing to lock.
        verdicts = dict(re.findall(r"(\w+)\.{2,} *(?:WARNING:[^\n]*\n *\.{3,} *)*(pass|FAIL|SKIPPED)", result.text))
        a.note(f"litmus {suite}: {' '.join(f'{test}={verdict}' for test, verdict in verdicts.items())}")
        failed = [test for test in tests if verdicts.get(test) != "pass"]
        a.check(f"litmus {suite}: {', '.join(tests)}", not failed, result.text[-1500:] if failed else "pass")
    a.check("litmus read from the server itself", gateway.forwarded > 5, f"{gateway.forwarded} requests")
    gateway.shutdown()
    gateway.server.end()


def body(a):
    need("curl", "cadaver", "litmus", "rclone", "mount.davfs", "fusermount3")
    a.token_file = a.path("token")
    with open(a.token_file, "w") as file:
        file.write(TOKEN + "\n")
    os.chmod(a.token_file, 0o600)
    root, size = make_tree(a)
    # A key file, because a password takes its time at each start.
    key = a.path("key")
    with open(key, "wb") as file:
        file.write(a.random.randbytes(64))
    os.chmod(key, 0o600)
    a.key = key
    repository = KeyRepository(a)
    repository.backup(root)
    a.note("backed up")
    wanted = sums(root, spelled=True)
    a.can_mount = os.geteuid() == 0 and os.path.exists("/dev/fuse")
    webdav(a, repository, root, size, wanted)
    if a.can_mount:
        fuse(a, repository, root, size, sums(root, spelled=False))
    else:
        a.note("no root or no /dev/fuse here: what is mounted is left out")
    litmus(a, KeyRepository(a, "litmus-repository"))


class KeyRepository(Repository):
    def args(self, *args):
        found = super().args(*args)
        at = found.index("--password-file")
        return [*found[:at], "--key-file", self.a.key, *found[at + 2:]]


Acceptance("B8", "mounted snapshots equal their source; litmus").run(body)
