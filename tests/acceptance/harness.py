"""What the acceptance scripts share: the executable, a workspace of their own, repositories, and a report of PASS and FAIL.

Python 3.11 and Debian packages only. The executable is BACKUPIQ, else what run.sh builds. The workspace lies under
BACKUPIQ_ACCEPTANCE_DIR (default /var/tmp) and is removed at the end unless --keep is given.
"""
import argparse
import base64
import email.utils
import hmac
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
import xml.etree.ElementTree

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "bench"))
sys.path.insert(0, HERE)

# What is started by a shell in its background ignores Ctrl-C, and so would everything that is started here and is sent one.
signal.signal(signal.SIGINT, signal.default_int_handler)

MIB = 1024 * 1024
EXIT_CODES = {0, 1, 2, 3, 6, 7, 10, 11, 12, 13, 14, 15, 16, 17, 130}


def human(size):
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024 or unit == "GiB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return str(size)


class Result:
    """A finished command: exit code, both outputs, seconds, peak memory of the process in bytes."""

    def __init__(self, args, code, out, err, seconds, peak):
        self.args, self.code, self.out, self.err, self.seconds, self.peak = args, code, out, err, seconds, peak

    @property
    def text(self):
        return (self.out + self.err).decode("utf-8", "replace")

    def json(self):
        return json.loads(self.out)

    def lines(self):
        """The JSON Lines on standard output."""
        return [json.loads(line) for line in self.out.splitlines() if line.strip().startswith(b"{")]

    def summary(self):
        found = [m for m in self.lines() if m.get("message_type") == "summary"]
        if not found:
            raise Failed(f"no summary from {self.args}: exit {self.code}: {self.text[-500:]}")
        return found[-1]


class Failed(Exception):
    """A step that the rest of the script needs went wrong."""


class Server:
    """A storage that is no folder, for --storage: a server of the integration tests (StorageHost), which stops when its file is gone."""

    def __init__(self, a, kind):
        self.a, self.kind, self.file = a, kind, a.path(f"storage-{kind}.json")
        program = os.path.join(ROOT, "artifacts/bin/BackupIQ.IntegrationTests/release/BackupIQ.IntegrationTests")
        if not os.access(program, os.X_OK):
            raise Failed(f"{program} is not there: build it with `dotnet build tests/BackupIQ.IntegrationTests -c Release`")
        environment = dict(os.environ, BACKUPIQ_HOST=kind, BACKUPIQ_HOST_FILE=self.file, BACKUPIQ_REQUIRE_SERVERS="1")
        with open(a.path("storage.log"), "wb") as log:
            self.process = subprocess.Popen([program, "-explicit", "only", "-class", "BackupIQ.IntegrationTests.Storage.StorageHost", "-noLogo", "-noColor"],
                                            stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment)
        while not os.path.exists(self.file):
            if self.process.poll() is not None:
                with open(a.path("storage.log"), errors="replace") as log:
                    raise Failed(f"the server for {kind} did not start: {log.read()[-1500:]}")
            time.sleep(0.1)
        with open(self.file) as file:
            place = json.load(file)
        self.environment, self.folder, self.template, self.disk = place["Environment"], place["Folder"], place["Url"], place["Disk"]

    def do(self, command):
        """Tells the server to `pause`, `continue`, be `kill`ed or `start` again (StorageHost has them all), and waits until that is done."""
        with open(self.file + ".new", "w") as file:
            file.write(command)
        os.rename(self.file + ".new", self.file + ".do")
        while os.path.exists(self.file + ".do"):
            if self.process.poll() is not None:
                with open(self.a.path("storage.log"), errors="replace") as log:
                    raise Failed(f"the server did not {command}: {log.read()[-1500:]}")
            time.sleep(0.02)

    def url(self, name):
        return self.template.replace("REPOSITORY", name)

    def objects(self, name):
        """(name, size) of each object of a repository, by the server's own files where it keeps some, else by rclone, which is not ours."""
        if self.folder:
            return objects_in(os.path.join(self.folder, name))
        url = urllib.parse.urlsplit(self.template)
        options = dict(urllib.parse.parse_qsl(url.query))
        if url.scheme == "azblob":
            return azure_objects(options["endpoint"], options["account"], self.environment["AZURE_STORAGE_KEY"], url.netloc, name + "/")
        return [(item["Path"], item["Size"]) for item in json.loads(self.rclone("lsjson", name, "-R", "--files-only", "--no-mimetype", "--no-modtime"))]

    def rclone(self, verb, name, *flags):
        """What rclone says of a repository on S3."""
        url = urllib.parse.urlsplit(self.template)
        endpoint = dict(urllib.parse.parse_qsl(url.query))["endpoint"]
        environment = self.a.environment()
        environment.pop("AWS_CA_BUNDLE", None)  # with it rclone's S3 fails
        ran = subprocess.run(["rclone", "--config", "/dev/null", verb, *flags, f":s3,provider=Ceph,endpoint='{endpoint}',env_auth=true:{url.netloc}/{name}"],
                             env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if ran.returncode:
            raise Failed(f"rclone does not {verb} {self.template}: {ran.stderr.decode(errors='replace')[-500:]}")
        return ran.stdout

    def clear(self, name):
        """Removes a repository, not by our own hands."""
        if self.folder:
            subprocess.run(["rm", "-rf", os.path.join(self.folder, name)], check=True)
        elif self.kind == "azure":
            url = urllib.parse.urlsplit(self.template)
            options = dict(urllib.parse.parse_qsl(url.query))
            for key, _ in self.objects(name):
                azure_request(options["endpoint"], options["account"], self.environment["AZURE_STORAGE_KEY"], "DELETE", f"{url.netloc}/{name}/{key}", {})
        else:
            self.rclone("delete", name)

    def stop(self):
        try:
            os.unlink(self.file)
            self.process.wait(timeout=30)
        except (FileNotFoundError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()


def azure_request(endpoint, account, key, method, path, query):
    """Asks the Blob service by its REST interface, signed with the account's key (Shared Key); returns its answer."""
    headers = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": "2021-12-02"}
    path = f"{urllib.parse.urlsplit(endpoint).path}/{path}"
    signed = method + "\n" * 12 + "".join(f"{k}:{v}\n" for k, v in headers.items()) + f"/{account}{path}" + "".join(f"\n{k}:{v}" for k, v in sorted(query.items()))
    mac = base64.b64encode(hmac.digest(base64.b64decode(key), signed.encode(), "sha256")).decode()
    place = urllib.parse.urlsplit(endpoint)
    request = urllib.request.Request(f"{place.scheme}://{place.netloc}{path}?{urllib.parse.urlencode(query)}", method=method,
                                     headers={**headers, "Authorization": f"SharedKey {account}:{mac}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read()


def azure_objects(endpoint, account, key, container, prefix):
    """(name, size) of each blob under a prefix (List Blobs)."""
    found, marker = [], ""
    while True:
        query = {"comp": "list", "marker": marker, "prefix": prefix, "restype": "container"}
        page = xml.etree.ElementTree.fromstring(azure_request(endpoint, account, key, "GET", container, query))
        found += [(blob.findtext("Name")[len(prefix):], int(blob.findtext("Properties/Content-Length"))) for blob in page.iter("Blob")]
        marker = page.findtext("NextMarker") or ""
        if not marker:
            return found


def objects_in(root):
    """(name, size) of each file below a folder; what vanishes meanwhile is left out."""
    found = []
    for folder, _, files in os.walk(root):
        for file in files:
            try:
                found.append((os.path.relpath(os.path.join(folder, file), root), os.lstat(os.path.join(folder, file)).st_size))
            except FileNotFoundError:
                pass
    return found


class Acceptance:
    """One acceptance point: parses the common options, keeps the score, cleans up, ends the process with 0 or 1. Durable: its server is killed, and keeps what it had."""

    def __init__(self, point, what, add_options=None):
        parser = argparse.ArgumentParser(description=f"{point}: {what}")
        parser.add_argument("--short", action="store_true", help="smaller and fewer, for CI")
        parser.add_argument("--keep", action="store_true", help="leave the workspace behind")
        parser.add_argument("--seed", type=int, default=20261122, help="seed of everything random (default %(default)s)")
        parser.add_argument("--work", help="the workspace's parent folder")
        parser.add_argument("--storage", choices=("local", "s3", "azure", "webdav", "sftp"), default="local", help="where the repositories lie (default %(default)s)")
        if add_options:
            add_options(parser)
        self.options = parser.parse_args()
        self.short = self.options.short
        self.point, self.what = point, what
        self.random = random.Random(self.options.seed)
        self.failures, self.passes = 0, 0
        self.started = time.monotonic()
        parent = self.options.work or os.environ.get("BACKUPIQ_ACCEPTANCE_DIR") or "/var/tmp"
        os.makedirs(parent, exist_ok=True)
        self.work = tempfile.mkdtemp(prefix=f"backupiq-{point.lower()}-", dir=parent)
        self.home = self.path("home")
        os.makedirs(self.home)
        self.password_file = self.path("password")
        with open(self.password_file, "w") as file:
            file.write("correct horse battery staple\n")
        self._executable = None
        self.server = None

    # Workspace -----------------------------------------------------------------------------------------------------------------

    def path(self, *names):
        return os.path.join(self.work, *names)

    @property
    def executable(self):
        if self._executable is None:
            self._executable = os.environ.get("BACKUPIQ")
            if not self._executable:
                built = subprocess.run([os.path.join(ROOT, "run.sh"), "--build"], stdout=subprocess.PIPE, check=True)
                self._executable = built.stdout.decode().strip().splitlines()[-1]
            if not os.access(self._executable, os.X_OK):
                raise Failed(f"{self._executable} is not an executable; build it with ./run.sh --build or set BACKUPIQ")
        return self._executable

    def environment(self, **extra):
        """An environment in which nothing of the user's own configuration or cache takes part."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("BACKUPIQ_", "RESTIC_", "BORG_", "XDG_"))}
        clean.update(HOME=self.home, LC_ALL="C.UTF-8", NO_COLOR="1")
        clean.update(self.server.environment if self.server else {})
        clean.update({k: v for k, v in extra.items() if v is not None})
        return clean

    # Reporting -----------------------------------------------------------------------------------------------------------------

    def say(self, text):
        print(f"[{self.point} {time.monotonic() - self.started:6.1f} s] {text}", flush=True)

    def check(self, name, ok, detail=""):
        self.passes += bool(ok)
        self.failures += not ok
        self.say(f"{'PASS' if ok else 'FAIL'}  {name}{': ' if detail else ''}{detail}")
        return ok

    def note(self, text):
        self.say(f"      {text}")

    def run(self, body):
        """Runs body(self), prints the verdict and ends the process."""
        storage = "" if self.options.storage == "local" else f", on {self.options.storage}"
        self.say(f"{self.what}{storage}{' (short)' if self.short else ''}; seed {self.options.seed}; workspace {self.work}")
        try:
            if storage:
                self.server = Server(self, self.options.storage)
            body(self)
        except Failed as failure:
            self.check("the run", False, str(failure))
        except subprocess.TimeoutExpired as late:
            self.check("the run", False, f"no end after {late.timeout} s: {late.cmd}")
        finally:
            if self.server:
                self.server.stop()
            if self.options.keep:
                self.note(f"kept {self.work}")
            else:
                # rm copes with paths beyond PATH_MAX; what is immutable or mounted stays and is told.
                subprocess.run(["chmod", "-R", "u+rwX", self.work], stderr=subprocess.DEVNULL)
                subprocess.run(["rm", "-rf", "--one-file-system", self.work])
        ok = self.failures == 0 and self.passes > 0
        self.say(f"{'PASS' if ok else 'FAIL'}  {self.point}: {self.passes} passed, {self.failures} failed")
        sys.exit(0 if ok else 1)

    # Processes -----------------------------------------------------------------------------------------------------------------

    def execute(self, args, env=None, timeout=3600, stdin=None, cwd=None):
        """Runs a command to its end; returns its Result with the peak memory of that process alone."""
        out_path, err_path = tempfile.mktemp(dir=self.work), tempfile.mktemp(dir=self.work)
        start = time.monotonic()
        with open(out_path, "wb") as out, open(err_path, "wb") as err:
            process = subprocess.Popen(args, stdout=out, stderr=err, stdin=stdin or subprocess.DEVNULL, env=env or self.environment(), cwd=cwd)
            code, peak = wait(process, timeout)
        seconds = time.monotonic() - start
        with open(out_path, "rb") as out, open(err_path, "rb") as err:
            result = Result(args, code, out.read(), err.read(), seconds, peak)
        os.unlink(out_path)
        os.unlink(err_path)
        return result


def wait(process, timeout):
    """Waits for a process; returns (exit code, peak resident bytes). Kills and raises after timeout."""
    deadline = time.monotonic() + timeout
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode, usage.ru_maxrss * 1024
        if time.monotonic() > deadline:
            process.kill()
            os.wait4(process.pid, 0)
            raise subprocess.TimeoutExpired(process.args, timeout)
        time.sleep(0.005)


class Repository:
    """A repository under test and the ways to call backupiq on it."""

    def __init__(self, acceptance, name="repository", path=None, initialise=True):
        self.a, self.name = acceptance, name
        self.server = None if path else acceptance.server
        self.path = path or (self.server.url(name) if self.server else acceptance.path(name))
        self.cache = acceptance.path(f"cache-{name}")
        self.password_file = acceptance.password_file
        if initialise:
            self.must("init")

    def args(self, *args):
        args = list(args)
        common = ["--repo", self.path, "--cache-dir", self.cache, "--password-file", self.password_file, "--no-input"]
        # What follows `--` belongs to a command that backupiq starts.
        cut = args.index("--") if "--" in args else len(args)
        return [self.a.executable, *args[:cut], *common, *args[cut:]]

    def call(self, *args, **options):
        return self.a.execute(self.args(*args), **options)

    def must(self, *args, codes=(0,), **options):
        result = self.call(*args, **options)
        if result.code not in codes:
            raise Failed(f"`backupiq {' '.join(map(printable, args))}` ended with {result.code}, not {codes}: {result.text[-1500:]}")
        return result

    def start(self, *args, log="started.log"):
        """Starts a command in its own process group, so that it can be killed with its children. What it says is added to a log."""
        with open(self.a.path(log), "ab") as log:
            return subprocess.Popen(self.args(*args), stdout=subprocess.DEVNULL, stderr=log, stdin=subprocess.DEVNULL,
                                    env=self.a.environment(), start_new_session=True)

    def backup(self, *paths_and_options, codes=(0,)):
        return self.must("backup", *paths_and_options, "--json", codes=codes).summary()

    def snapshots(self):
        return self.must("snapshots", "--json").json()

    def size(self, with_temporary=True):
        """Bytes of the objects in the repository, by their length."""
        return sum(size for name, size in self.listed() if with_temporary or not temporary(name))

    def objects(self, prefix=""):
        """Names of objects relative to the repository; those of its temporary folder are left out."""
        return sorted(name for name, _ in self.listed() if name.startswith(prefix) and not temporary(name))

    def listed(self):
        return self.server.objects(self.name) if self.server else objects_in(self.path)

    def clear(self):
        """Gives the room back."""
        if self.server:
            self.server.clear(self.name)
        else:
            fresh(self.path)

    def restore(self, snapshot, target, *options, codes=(0,)):
        return self.must("restore", snapshot, "--target", target, *options, codes=codes)

    def restored(self, target, source):
        """Where a restore of a whole snapshot to target put source: absolute paths are made again under the target."""
        return os.path.join(target, os.path.abspath(source).lstrip("/"))


def temporary(name):
    return name.split("/")[0] in ("tmp", ".tmp")


def kill_group(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def printable(argument):
    return argument if isinstance(argument, str) else os.fsdecode(argument)


def compare(acceptance, name, source, target, *options):
    """Compares two trees with compare_trees.py; True when they are equal."""
    result = acceptance.execute([sys.executable, os.path.join(HERE, "compare_trees.py"), *options, source, target])
    return acceptance.check(name, result.code == 0, result.text.strip()[-2000:])


def differing(acceptance, source, target):
    """The paths (bytes) in which two trees differ in content or are missing from the target."""
    result = acceptance.execute([sys.executable, os.path.join(HERE, "compare_trees.py"), "--list-paths", "--limit", "1000000", "--content-only", source, target])
    if result.code not in (0, 1):
        raise Failed(f"compare_trees.py ended with {result.code}: {result.text[-1000:]}")
    return {p for p in result.out.split(b"\0") if p}


def has_stack_trace(text):
    return "Unhandled exception" in text or "\n   at BackupIQ." in text or "\n   at System." in text


def copy_tree(source, target):
    """A copy with everything, made by cp, sharing nothing with the original."""
    subprocess.run(["cp", "-a", "--reflink=never", source, target], check=True)


def fresh(path):
    subprocess.run(["rm", "-rf", path], check=True)
    os.makedirs(path)
    return path


def need(*programs):
    missing = [p for p in programs if not (shutil.which(p) or os.path.exists(f"/usr/sbin/{p}"))]
    if missing:
        raise Failed(f"needs {', '.join(missing)} (Debian packages: rsync, attr, acl, libcap2-bin, restic)")
