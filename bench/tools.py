"""The tools that the benchmarks run, how a command is measured, and a folder to restore into."""
import mmap
import os
import subprocess
import sys
import time


class Tool:
    """One tool: commands for each phase, run in an environment of its own."""

    def __init__(self, name, base):
        self.name, self.base = name, base
        self.repository = os.path.join(base, "repository")
        self.second = os.path.join(base, "second")
        self.password = os.path.join(base, "password")
        self.key = os.path.join(base, "key")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("BACKUPIQ_", "RESTIC_", "BORG_", "XDG_"))}
        self.env.update(HOME=os.path.join(base, "home"), LC_ALL="C.UTF-8")

    def prepare(self):
        subprocess.run(["rm", "-rf", self.base], check=True)
        os.makedirs(os.path.join(self.base, "home"))
        with open(self.password, "w") as file:
            file.write("benchmark\n")
        for command in self.initialise():
            run(command, self.env)

    def initialise(self):
        return []

    def stored(self, phase=""):
        return stored(self.second if phase == "copy" else self.repository)


class Restic(Tool):
    def __init__(self, base):
        super().__init__("restic", base)
        self.cut = self.into(self.repository)

    def initialise(self):
        return [[*self.cut, "init"]]

    def command(self, phase, tree, target):
        if phase in ("first", "unchanged", "changed"):
            return [*self.cut, "backup", tree]
        return {"restore": [*self.cut, "restore", "latest", "--target", target], "check": [*self.cut, "check", "--read-data"],
                "copy": [*self.into(self.second), "copy", "--from-repo", self.repository, "--from-password-file", self.password],
                "prune": [*self.cut, "forget", "--keep-last", "1", "--prune"],
                "thin": [*self.cut, "forget", "--keep-last", "10", "--prune"], "start": [*self.cut, "snapshots"]}[phase]

    def into(self, repository):
        return ["restic", "-q", "-r", repository, "--password-file", self.password, "--cache-dir", os.path.join(self.base, "cache")]

    def initialise_second(self):
        return [[*self.into(self.second), "init"]]


class Borg(Tool):
    def __init__(self, base):
        super().__init__("borg", base)
        self.env.update(BORG_BASE_DIR=os.path.join(base, "home"), BORG_PASSPHRASE="benchmark", BORG_RELOCATED_REPO_ACCESS_IS_OK="yes")

    def initialise(self):
        # The faster of its two modes on processors without SHA instructions.
        return [["borg", "init", "-e", "repokey-blake2", self.repository]]

    def command(self, phase, tree, target):
        if phase in ("first", "unchanged", "changed"):
            return ["borg", "create", "-C", "zstd,3", f"{self.repository}::{phase}", tree]
        return {"restore": ["bash", "-c", f"cd '{target}' && borg extract '{self.repository}::changed'"],
                "check": ["borg", "check", "--verify-data", self.repository],
                "prune": ["bash", "-c", f"borg delete '{self.repository}' first unchanged && borg compact '{self.repository}'"],
                "start": ["borg", "list", self.repository]}[phase]


class Tar(Tool):
    def __init__(self, base):
        super().__init__("tar | zstd", base)
        self.file = os.path.join(base, "archive.tar.zst")

    def command(self, phase, tree, target):
        if phase in ("first", "changed"):
            return ["bash", "-o", "pipefail", "-c", f"tar c -C '{os.path.dirname(tree)}' '{os.path.basename(tree)}' | zstd -3 -T0 -q -f -o '{self.file}'"]
        if phase == "restore":
            return ["bash", "-o", "pipefail", "-c", f"zstd -d -q -c '{self.file}' | tar x -C '{target}'"]
        return None

    def stored(self):
        return os.path.getsize(self.file) if os.path.exists(self.file) else 0


class BackupIq(Tool):
    def __init__(self, base, executable):
        super().__init__("backupiq", base)
        self.executable = executable
        self.common = self.into(self.repository)

    def into(self, repository):
        return ["--repo", repository, "--cache-dir", os.path.join(self.base, "cache"), "--no-input", "--quiet"]

    def initialise_second(self):
        return [[self.executable, "init", *self.into(self.second), "--password-file", self.password]]

    def initialise(self):
        with open(self.key, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(os.urandom(64))
        with_password = [*self.common, "--password-file", self.password]
        return [[self.executable, "init", *with_password], [self.executable, "key", "add", *with_password, "--new-key-file", self.key]]

    def command(self, phase, tree, target):
        words = {"first": ["backup", tree], "unchanged": ["backup", tree], "changed": ["backup", tree], "restore": ["restore", "latest", "--target", target],
                 "check": ["check", "--read-data"], "prune": ["forget", "--keep-last", "1", "--grace", "0", "--allow-mass", "--prune", "--yes"],
                 "thin": ["forget", "--keep-last", "10", "--grace", "0", "--allow-mass", "--prune", "--yes"],
                 "copy": ["copy", "--from-repo", self.repository, "--from-password-file", self.password], "start": ["snapshots"]}[phase]
        # A password everywhere, as the others have it (its scrypt costs each some 0.5 s); the start is promised for a key file.
        secret = ["--key-file", self.key] if phase == "start" else ["--password-file", self.password]
        return [self.executable, *words, *(self.into(self.second) if phase == "copy" else self.common), *secret]


def run(command, env):
    """Runs a command that must succeed."""
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.decode('utf-8', 'replace').strip()[-400:]}")
    return done


# More than any corpus needs in the page cache twice: once for its files, once for the image below a file system of its own.
WARMED = 4 << 30


def warm_memory():
    """
    Takes free memory once and gives it back. A virtual machine returns memory that lay free to its host, and whoever uses it next waits for every page: the tool
    that goes first would pay for all others.
    """
    with open("/proc/meminfo") as file:
        available = next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    with mmap.mmap(-1, min(WARMED, available // 2), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE):
        pass


def measure(command, env, where):
    """Runs a command; returns its figures, or None when it failed."""
    os.sync()
    warm_memory()
    log = where.rstrip("/") + ".log"
    with open(log, "wb") as out:
        start = time.monotonic()
        # GNU time forks the tool itself: forked from here, the kernel would count this interpreter's memory as the tool's.
        code = subprocess.run(["/usr/bin/time", "-q", "-o", log + ".time", "-f", "%U %S %M", *command], env=env, stdout=out, stderr=out, stdin=subprocess.DEVNULL).returncode
        wall = time.monotonic() - start
    subprocess.run(["sync", "-f", where], check=True)
    synced = time.monotonic() - start
    if code:
        with open(log, "rb") as out:
            print(f"  {command[0]} ended with {code}: {out.read().decode('utf-8', 'replace').strip()[-400:]}", file=sys.stderr)
        return None
    with open(log + ".time") as file:
        user, system, resident = file.read().split()
    return {"wall": round(wall, 3), "on_disk": round(synced, 3), "cpu": round(float(user) + float(system), 3), "memory": int(resident) * 1024}


def stored(path):
    return sum(os.lstat(os.path.join(folder, file)).st_size for folder, _, files in os.walk(path) for file in files)


def warm(tree):
    """Reads every file once, so that no tool pays for the disk."""
    subprocess.run(f"find '{tree}' -type f -print0 | xargs -0 cat > /dev/null", shell=True, check=True)


class Target:
    """
    A folder to restore into, on a file system of its own that is made anew each time: ext4 looks for inodes at length past those that were
    deleted in the last minutes, so whoever restores after another's tree was removed would pay for it. Without root, a plain folder.
    """

    def __init__(self, work):
        self.image, self.path, self.mounted = os.path.join(work, "restored.img"), os.path.join(work, "restored"), False

    def fresh(self):
        self.close()
        os.makedirs(self.path, exist_ok=True)
        if os.geteuid() == 0:
            with open(self.image, "wb") as file:
                file.truncate(16 << 30)
            run(["mkfs.ext4", "-q", "-F", "-N", "2000000", "-E", "lazy_itable_init=0,lazy_journal_init=0", self.image], dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin:/sbin"))
            self.mounted = subprocess.run(["mount", "-o", "loop,noatime", self.image, self.path], stderr=subprocess.DEVNULL).returncode == 0
        return self.path

    def close(self):
        if self.mounted:
            subprocess.run(["umount", self.path], check=True)
            self.mounted = False
        subprocess.run(["rm", "-rf", self.path, self.image], check=True)
