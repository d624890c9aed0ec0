"""bench.py --postgres: a PostgreSQL server backed up by backupiq and by pgBackRest in turn, on the same data.

A cluster with pgbench's tables, whose log pgBackRest archives meanwhile (it cannot make a backup without); backupiq takes what log a backup needs itself. Each run
has new repositories: a first backup, a thousand transactions, a second backup, a restore of it. pgBackRest runs with block incremental, bundles and zstd, and once
more with whole files, which is its default; it does not encrypt, backupiq does.
"""
import os
import shutil
import subprocess
import time

from tools import BackupIq, Tool, run, stored

MARKERS = ("<!-- postgres results: begin -->", "<!-- postgres results: end -->")
TOOLS = ("backupiq", "pgbackrest", "pgbackrest, whole files")
PHASES = ("pg first", "pg second", "pg restore")
TITLES = {"pg first": "first backup", "pg second": "backup after 1,000 transactions", "pg restore": "restore"}
JOBS = (1, 2, 4, 8, 16)
USER = "postgres"
PROCESSES = 2


def programs():
    folder = "/usr/lib/postgresql"
    return os.path.join(folder, max(os.listdir(folder), key=int), "bin")


def as_server(*command):
    """Servers refuse root, and so does a backup that reads their files as them."""
    return ["runuser", "-u", USER, "--", *command]


class Cluster:
    """A server on a socket of its own with pgbench's tables."""

    def __init__(self, folder, scale):
        self.folder, self.data, self.socket = folder, os.path.join(folder, "data"), os.path.join(folder, "s")
        subprocess.run(["rm", "-rf", folder], check=True)
        subprocess.run(["install", "-d", "-o", USER, "-g", USER, folder, self.socket], check=True)
        self.call("initdb", "-D", self.data, "-U", USER, "-A", "trust", "--no-instructions", "-E", "UTF8", "--locale=C", "--data-checksums")
        with open(os.path.join(self.data, "postgresql.auto.conf"), "a") as file:
            file.write(f"listen_addresses = ''\nunix_socket_directories = '{self.socket}'\nwal_level = replica\narchive_mode = on\narchive_command = 'true'\n"
                       "shared_buffers = 128MB\nmax_wal_size = 4GB\nautovacuum = off\n")
        self.call("pg_ctl", "-D", self.data, "-w", "-s", "-l", os.path.join(folder, "log"), "start")
        self.call("pgbench", "-h", self.socket, "-i", "-q", "-s", str(scale), "postgres")
        self.sql("VACUUM ANALYZE", "CHECKPOINT")

    def call(self, program, *arguments):
        return run(as_server(os.path.join(programs(), program), *arguments), dict(os.environ, PGPORT="5432")).stdout.decode()

    def sql(self, *statements):
        return self.call("psql", "-h", self.socket, "-XAtq", "-v", "ON_ERROR_STOP=1", *(word for one in statements for word in ("-c", one)), "postgres")

    def archive_by(self, command):
        self.sql(f"ALTER SYSTEM SET archive_command = '{command}'", "SELECT pg_reload_conf()")
        time.sleep(1)

    def work(self, transactions):
        self.call("pgbench", "-h", self.socket, "-n", "-c", "1", "-t", str(transactions), "postgres")
        self.sql("CHECKPOINT")

    def size(self):
        return sum(os.lstat(os.path.join(at, file)).st_size for at, _, files in os.walk(self.data) for file in files if not at.startswith(os.path.join(self.data, "pg_wal")))

    def stop(self):
        subprocess.run(as_server(os.path.join(programs(), "pg_ctl"), "-D", self.data, "-m", "immediate", "-s", "-w", "stop"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class OfServer(Tool):
    """What belongs to the user that the server runs as."""

    def prepare(self):
        subprocess.run(["rm", "-rf", self.base], check=True)
        subprocess.run(["install", "-d", "-o", USER, "-g", USER, self.base, os.path.join(self.base, "home")], check=True)


class BackupIqPostgres(OfServer, BackupIq):
    def __init__(self, base, executable, cluster):
        Tool.__init__(self, "backupiq", base)
        # Where the server's user can run it.
        folder = os.path.join(cluster.folder, "program")
        if not os.path.isdir(folder):
            shutil.copytree(os.path.dirname(executable), folder)
            subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
        self.executable, self.cluster = os.path.join(folder, os.path.basename(executable)), cluster
        self.common = [*self.into(self.repository), "--key-file", self.key]
        # runuser sets HOME to that user's own.
        self.env["XDG_CONFIG_HOME"] = os.path.join(base, "config")

    def prepare(self):
        super().prepare()
        subprocess.run(["install", "-d", "-o", USER, "-g", USER, self.env["XDG_CONFIG_HOME"]], check=True)
        with open(self.key, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(os.urandom(64))
        shutil.chown(self.key, USER, USER)
        run(as_server(self.executable, "init", *self.common), self.env)
        run(as_server(self.executable, "pg", "init-server", "main", "--dsn", f"host={self.cluster.socket} user={USER} dbname=postgres", "--pgdata", self.cluster.data), self.env)

    def steps(self, target):
        backup = as_server(self.executable, "pg", "backup", "main", *self.common)
        return {"pg first": backup, "pg second": backup, "pg restore": as_server(self.executable, "pg", "restore", "main", "--to", os.path.join(target, "data"), *self.common)}

    def jobs(self, jobs):
        return as_server(self.executable, "pg", "backup", "main", "--type", "full", "--jobs", str(jobs), *self.common)


class PgBackRest(OfServer):
    def __init__(self, base, cluster, blocks):
        super().__init__(TOOLS[1] if blocks else TOOLS[2], base)
        self.cluster, self.blocks = cluster, blocks
        self.words = ["pgbackrest", f"--config={base}/pgbackrest.conf", "--stanza=main", *(["--beta"] if blocks else [])]

    def prepare(self):
        super().prepare()
        with open(os.path.join(self.base, "pgbackrest.conf"), "w") as file:
            file.write(f"[global]\nrepo1-path={self.repository}\nrepo1-bundle={'y' if self.blocks else 'n'}\nrepo1-block={'y' if self.blocks else 'n'}\nrepo1-retention-full=9\n"
                       f"compress-type=zst\nprocess-max={PROCESSES}\nstart-fast=y\nlog-path={self.base}\nlock-path={self.base}/lock\nspool-path={self.base}/spool\nlog-level-console=warn\n"
                       f"log-level-file=off\n[main]\npg1-path={self.cluster.data}\npg1-socket-path={self.cluster.socket}\npg1-user={USER}\n")
        run(as_server(*self.words, "stanza-create"), self.env)

    def begin(self):
        """From here on the server's log goes into this repository."""
        self.cluster.archive_by(" ".join([*self.words, "archive-push", '"%p"']))

    def steps(self, target):
        return {"pg first": as_server(*self.words, "--type=full", "backup"), "pg second": as_server(*self.words, "--type=incr", "backup"),
                "pg restore": as_server(*self.words, f"--pg1-path={target}/data", "restore")}

    def stored(self, phase=""):
        return stored(os.path.join(self.repository, "backup"))


def tools(base, executable, cluster):
    ours = [BackupIqPostgres(os.path.join(base, "backupiq"), executable, cluster)] if executable else []
    return [*ours, PgBackRest(os.path.join(base, "pgbackrest"), cluster, True), PgBackRest(os.path.join(base, "pgbackrest-files"), cluster, False)]


def measure_all(bench, target, measure):
    """Every run with repositories of its own; who is measured first changes from run to run."""
    options, base = bench.options, os.path.join(bench.work, "tools")
    executable = None if options.peers_only else os.environ["BACKUPIQ"]
    cluster = Cluster(os.path.join(bench.work, "cluster"), max(1, round(20 * options.scale)))
    try:
        bench.results["corpora"]["postgres"] = {"entries": int(cluster.sql("SELECT count(*) FROM pg_class").strip()), "bytes": cluster.size()}
        for number in range(options.runs):
            every = tools(base, executable, cluster)
            turn = every[number % len(every):] + every[:number % len(every)]
            for tool in turn:
                tool.prepare()
            before = {}
            for phase in ("pg first", "pg second"):
                for tool in turn:
                    if isinstance(tool, PgBackRest):
                        tool.begin()
                    before[phase, tool.name] = tool.stored()
                    figures = measure(tool.steps(target.path)[phase], tool.env, tool.base)
                    bench.record("postgres", tool, phase, figures, stored=tool.stored() - before[phase, tool.name])
                if phase == "pg first":
                    cluster.work(1000)
            for tool in turn:
                folder = target.fresh()
                subprocess.run(["install", "-d", "-o", USER, "-g", USER, "-m", "700", os.path.join(folder, "data")], check=True)
                bench.record("postgres", tool, "pg restore", measure(tool.steps(folder)["pg restore"], tool.env, folder), stored=0)
                target.close()
        if executable:
            for jobs in JOBS:
                # Into a new repository each, so that each stores everything.
                tool = BackupIqPostgres(os.path.join(base, "backupiq"), executable, cluster)
                tool.prepare()
                bench.record("postgres", tool, f"pg jobs {jobs}", measure(tool.jobs(jobs), tool.env, tool.base), stored=tool.stored())
    finally:
        cluster.stop()
        subprocess.run(["rm", "-rf", base, cluster.folder], check=True)


def rows(table):
    """(what, value, target, met) as Table.rows gives them."""
    def ratio(what, phase, figure, peer, limit):
        value = table.ratio("postgres", phase, figure, peer)
        return (what, "–" if value is None else f"{value:.2f}", "" if limit is None else f"≤ {limit:g}", None if value is None or limit is None else value <= limit)

    for phase in PHASES:
        yield ratio(f"{TITLES[phase]}: wall / pgBackRest", phase, "wall", "pgbackrest", 1)
        yield ratio(f"{TITLES[phase]}: on disk / pgBackRest on disk", phase, "on_disk", "pgbackrest", 1)
        yield ratio(f"{TITLES[phase]}: wall / pgBackRest with whole files", phase, "wall", "pgbackrest, whole files", None)
    yield ratio("stored by the second backup / pgBackRest", "pg second", "stored", "pgbackrest", 0.5)
    yield ratio("stored by the second backup / pgBackRest with whole files", "pg second", "stored", "pgbackrest, whole files", None)
    yield ratio("stored by the first backup / pgBackRest", "pg first", "stored", "pgbackrest", None)
    one = table.get("postgres", "backupiq", "pg jobs 1")
    for jobs in JOBS[1:]:
        many = table.get("postgres", "backupiq", f"pg jobs {jobs}")
        yield (f"backup with --jobs {jobs}: speed-up", f"{one / many:.2f}" if one and many else "–", "", None)
