"""bench.py --remote s3: backupiq, restic and rclone in turn on the same S3 server of this machine.

The server is the one of the integration tests: Ceph's radosgw over a store in memory, so that no disk is measured but that of the files restored. It runs on
the same cores as the tool, and what a request costs it is part of every figure.
"""
import os
import socket
import subprocess
import sys
import threading
import urllib.parse

from tools import BackupIq, Restic, Tool

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "tests", "acceptance"))
import harness  # noqa: E402

MARKERS = ("<!-- s3 results: begin -->", "<!-- s3 results: end -->")
PHASES = ("first", "restore")
TOOLS = ("backupiq", "restic", "rclone")
PACKS = ("d/", "m/")

# What a command may use unless --memory says otherwise.
BUDGET = 256 << 20


class Server:
    """A server of its own for one run over a corpus: what is deleted on it is freed late, and would fill its memory."""

    def __init__(self, kind, folder):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        # What backupiq's tests need of the environment trips rclone's S3.
        self.base = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "BACKUPIQ_", "RESTIC_", "BORG_", "XDG_"))}
        self.environment_of_server = {}
        self.server = harness.Server(self, kind)
        self.environment_of_server = self.server.environment
        url = urllib.parse.urlsplit(self.server.template)
        self.endpoint, self.bucket = dict(urllib.parse.parse_qsl(url.query))["endpoint"], url.netloc

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def environment(self):
        return dict(self.base, **self.environment_of_server)

    def objects(self, name):
        return self.server.objects(name)

    def stop(self):
        self.server.stop()


class Proxy:
    """Counts the bytes that a server sends: everything of every answer. Slows them, so no time is taken through it."""

    def __init__(self, endpoint):
        address = urllib.parse.urlsplit(endpoint)
        self.server = (address.hostname, address.port)
        self.received = 0
        self.gate = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.server)
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.pump, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self.pump, args=(server, client, True), daemon=True).start()

    def pump(self, source, target, is_answer):
        buffer = bytearray(1 << 18)
        try:
            while count := source.recv_into(buffer):
                target.sendall(memoryview(buffer)[:count])
                if is_answer:
                    with self.gate:
                        self.received += count
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self):
        self.listener.close()


class OnServer:
    """What the tools have in common on a server: their objects are the server's, and a restore begins without a cache, as on another machine."""

    def on(self, server, endpoint=None):
        self.server = server
        self.endpoint = endpoint or server.endpoint
        self.env.update(server.environment_of_server)
        for name in [n for n in self.env if n in ("AWS_CA_BUNDLE", "AWS_PROFILE", "AWS_SHARED_CREDENTIALS_FILE")]:
            del self.env[name]
        return self

    @property
    def prefix(self):
        return self.name

    def stored(self, phase=""):
        return sum(size for _, size in self.server.objects(self.prefix))

    def forget_cache(self):
        subprocess.run(["rm", "-rf", os.path.join(self.base, "cache")], check=True)


class ResticOnServer(OnServer, Restic):
    def into(self, _):
        # The address is known once the server is.
        return ["restic", "-q", "-r", self.address, "--password-file", self.password, "--cache-dir", os.path.join(self.base, "cache")]

    @property
    def address(self):
        return f"s3:{self.endpoint}/{self.server.bucket}/{self.prefix}"

    def __init__(self, base, server, endpoint=None):
        Tool.__init__(self, "restic", base)
        self.on(server, endpoint)
        self.cut = self.into("")


class BackupIqOnServer(OnServer, BackupIq):
    def __init__(self, base, executable, server, endpoint=None):
        Tool.__init__(self, "backupiq", base)
        self.executable = executable
        self.on(server, endpoint)
        self.common = self.into(f"s3://{server.bucket}/{self.prefix}?endpoint={self.endpoint}")

    def packs(self):
        """Stored size of the packs: their frames and, some thousandths, their tables."""
        return sum(size for name, size in self.server.objects(self.prefix) if name.startswith(PACKS))


class Rclone(OnServer, Tool):
    """A copy as it is: no deduplication, no cryptography, one object a file."""

    def __init__(self, base, server, endpoint=None):
        super().__init__("rclone", base)
        self.on(server, endpoint)

    def command(self, phase, tree, target):
        remote = f":s3,provider=Ceph,endpoint='{self.endpoint}',env_auth=true:{self.server.bucket}/{self.prefix}"
        copy = ["rclone", "--config", "/dev/null", "-q", "copy"]
        return {"first": [*copy, tree, remote], "restore": [*copy, remote, target]}[phase]


def tools(base, server, executable, endpoint=None):
    chosen = [ResticOnServer(os.path.join(base, "restic"), server, endpoint), Rclone(os.path.join(base, "rclone"), server, endpoint)]
    return ([BackupIqOnServer(os.path.join(base, "backupiq"), executable, server, endpoint)] if executable else []) + chosen


def rows(table, corpora):
    """(what, value, target, met) as Table.rows gives them."""
    def ratio(what, corpus, phase, figure, peer, limit):
        value = table.ratio(corpus, phase, figure, peer)
        return (what, "–" if value is None else f"{value:.2f}", "" if limit is None else f"≤ {limit:g}", None if value is None or limit is None else value <= limit)

    for corpus, name in corpora:
        yield ratio(f"first backup, {name}: wall / restic", corpus, "first", "wall", "restic", 0.7)
        yield ratio(f"first backup, {name}: wall / rclone copy", corpus, "first", "wall", "rclone", None)
    for corpus, name in corpora:
        yield ratio(f"restore, {name}: wall / restic", corpus, "restore", "wall", "restic", 0.7)
        yield ratio(f"restore, {name}: on disk / restic on disk", corpus, "restore", "on_disk", "restic", 0.7)
        yield ratio(f"restore, {name}: wall / rclone copy", corpus, "restore", "wall", "rclone", None)
    for corpus, name in corpora:
        fetched, packs = table.get(corpus, "backupiq", "restore", "fetched"), table.get(corpus, "backupiq", "restore", "packs")
        value = fetched / packs if fetched and packs else None
        yield (f"restore, {name}: bytes that the server sent / stored size of the packs", "–" if value is None else f"{value:.3f}", "≤ 1.05", None if value is None else value <= 1.05)
    for corpus, name in corpora:
        for phase, title in (("first", "first backup"), ("restore", "restore")):
            memory = table.get(corpus, "backupiq", phase, "memory")
            yield (f"{title}, {name}: memory", "–" if memory is None else f"{memory / 1e6:.0f} MB", f"≤ {BUDGET / 1e6:.0f} MB", None if memory is None else memory <= BUDGET)
