#!/usr/bin/env python3
"""A12: the first minute of a new user: a fresh clone, an empty home, an empty package folder; ./run.sh backup DIR, timed."""
import os
import shutil
import subprocess

from harness import ROOT, Acceptance, Failed, compare


def body(a):
    clone, home, packages = a.path("clone"), a.path("fresh-home"), a.path("packages")
    os.makedirs(home)
    os.makedirs(packages)
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", ROOT, clone], check=True)
    env = a.environment(HOME=home, NUGET_PACKAGES=packages)
    # Where this machine gets its packages from is the machine's business, not the home's.
    own = os.path.expanduser("~/.nuget/NuGet/NuGet.Config")
    if os.path.exists(own):
        os.makedirs(os.path.join(home, ".nuget", "NuGet"))
        shutil.copy(own, os.path.join(home, ".nuget", "NuGet", "NuGet.Config"))
    source = next((p for p in (["/usr/lib/python3"] if a.short else ["/usr/share", "/usr/lib/python3"]) if os.path.isdir(p)), "/etc")
    run = os.path.join(clone, "run.sh")

    first = a.execute([run, "backup", source], env=env, timeout=1800)
    print("-" * 100 + "\n" + first.text.strip() + "\n" + "-" * 100, flush=True)
    if not a.check("./run.sh backup DIR works at the first try", first.code == 0, f"exit {first.code} after {first.seconds:.1f} s"):
        raise Failed("the rest needs it")
    for step in ("[1/4]", "[2/4]", "[3/4]", "[4/4]"):
        a.check(f"it tells step {step}", step in first.text)
    lower = first.text.lower()
    a.check("it says where repository, key and kit lie, and that this is one disk", all(w in lower for w in ("repository", "key", "kit", "disk")))
    default = os.path.join(home, ".local", "share", "backupiq", "repository")
    a.check("the default repository is there", os.path.isdir(default), default)
    if os.path.isdir(default):
        a.check("it is the owner's alone (0700)", os.stat(default).st_mode & 0o777 == 0o700, oct(os.stat(default).st_mode & 0o777))

    second = a.execute([run, "backup", source], env=env)
    a.check("the second run starts at once, without building", second.code == 0 and "[1/4]" not in second.text, f"{second.seconds:.2f} s")
    target = a.path("restored")
    restore = a.execute([run, "restore", "latest", "--target", target], env=env)
    a.check("./run.sh restore latest --target works", restore.code == 0, restore.text[-500:] if restore.code else f"{restore.seconds:.1f} s")
    compare(a, "what came back is equal", source, os.path.join(target, source.lstrip("/")), *([] if os.geteuid() == 0 else ["--no-owner"]))
    status = subprocess.run(["git", "-C", clone, "status", "--short"], stdout=subprocess.PIPE, check=True).stdout.decode()
    a.check("building left the clone clean", not status, status[:300])
    help_screen = a.execute([run], env=env)
    print(help_screen.text, flush=True)
    a.check("backupiq alone prints a help of one screen", 0 < len(help_screen.text.splitlines()) <= 24, f"{len(help_screen.text.splitlines())} lines")


Acceptance("A12", "the first minute").run(body)
