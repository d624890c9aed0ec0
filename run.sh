#!/usr/bin/env bash
# Builds BackupIQ if its sources changed, then runs it:  ./run.sh backup DIR
#   ./run.sh ARGUMENTS…      build if needed, then `backupiq ARGUMENTS…`
#   ./run.sh --build         only build; prints the path of the executable
#   ./run.sh --single-file   publish one self-contained file (no .NET needed where it runs); prints its path
# What it says goes to standard error, so that `./run.sh snapshots --json | jq` works.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 DOTNET_SKIP_FIRST_TIME_EXPERIENCE=1 DOTNET_GENERATE_ASPNET_CERTIFICATE=false
if [ -z "${HOME:-}" ] || [ ! -w "${HOME:-/nonexistent}" ]; then
  export DOTNET_CLI_HOME="$ROOT/artifacts/home"
  mkdir -p "$DOTNET_CLI_HOME"
fi

case "$(uname -m)" in
  x86_64) RID=linux-x64 ;;
  aarch64) RID=linux-arm64 ;;
  *) echo "run.sh: this is a $(uname -m) machine; x86_64 and aarch64 are supported." >&2; exit 2 ;;
esac
OUT="$ROOT/artifacts/run/$RID"
EXE="$OUT/backupiq"
STAMP="$OUT/.built"
LOG="$ROOT/artifacts/run/build.log"
SOURCES=("$ROOT/src" "$ROOT/Directory.Build.props" "$ROOT/Directory.Packages.props" "$ROOT/global.json" "$ROOT/run.sh")

now() { date +%s%N; }
took() { local ms=$(( ($(now) - $1) / 1000000 )); printf '%d.%d s' $((ms / 1000)) $((ms % 1000 / 100)); }
say() { printf '%s\n' "$*" >&2; }

# Prints the dotnet executable to use; fails when there is none.
find_dotnet() {
  local candidate
  for candidate in "$(command -v dotnet || true)" "${DOTNET_ROOT:-/nonexistent}/dotnet" "${HOME:-/nonexistent}/.dotnet/dotnet" \
      /usr/share/dotnet/dotnet /usr/lib/dotnet/dotnet; do
    if [ -n "$candidate" ] && [ -x "$candidate" ] && "$candidate" --list-sdks 2>/dev/null | grep -q '^10\.'; then
      readlink -f "$candidate"
      return 0
    fi
  done
  return 1
}

# Runs apt-get as root, through sudo where that asks nothing.
apt() {
  if [ "$(id -u)" = 0 ]; then DEBIAN_FRONTEND=noninteractive apt-get "$@" >>"$LOG" 2>&1
  elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then sudo -n DEBIAN_FRONTEND=noninteractive apt-get "$@" >>"$LOG" 2>&1
  else return 1; fi
}

have_library() {
  local directory
  for directory in /lib /usr/lib "/lib/$(uname -m)-linux-gnu" "/usr/lib/$(uname -m)-linux-gnu" /lib64 /usr/lib64 /usr/local/lib; do
    [ -e "$directory/$1" ] && return 0
  done
  return 1
}

step_sdk() {
  local start; start=$(now)
  if ! DOTNET=$(find_dotnet); then
    if command -v apt-get >/dev/null; then
      say "[1/4] .NET SDK 10 … not found; asking apt for dotnet-sdk-10.0"
      { apt update && apt install -y --no-install-recommends dotnet-sdk-10.0; } || true
    fi
    if ! DOTNET=$(find_dotnet); then
      say "[1/4] .NET SDK 10 … not found, and the package sources of this machine do not have it."
      say "      Install it in one of these ways, then run this again:"
      say "        · without root:  https://dot.net/v1/dotnet-install.sh   (bash dotnet-install.sh --channel 10.0; it lands in ~/.dotnet, where this script looks)"
      say "        · Debian, root:  add the package source described at https://learn.microsoft.com/dotnet/core/install/linux-debian, then apt-get install dotnet-sdk-10.0"
      say "      Or build the single file on another machine with ./run.sh --single-file and copy it here: it needs no .NET."
      exit 2
    fi
  fi
  DOTNET_ROOT=$(dirname "$DOTNET"); export DOTNET_ROOT
  say "[1/4] .NET SDK 10 … found $(cd "$ROOT" && "$DOTNET" --version) in $DOTNET_ROOT ($(took "$start"))"
}

step_libraries() {
  local start missing=() pair library package
  start=$(now)
  for pair in libzstd.so.1=libzstd1 liblz4.so.1=liblz4-1 liblzma.so.5=liblzma5 libbz2.so.1.0=libbz2-1.0 libcrypto.so.3=libssl3; do
    library=${pair%%=*}; package=${pair#*=}
    have_library "$library" || missing+=("$package")
  done
  if [ ${#missing[@]} = 0 ]; then
    say "[2/4] System libraries … zstd, lz4, lzma, bzip2, crypto are here ($(took "$start"))"
  elif apt update && apt install -y --no-install-recommends "${missing[@]}"; then
    say "[2/4] System libraries … installed ${missing[*]} ($(took "$start"))"
  else
    say "[2/4] System libraries … missing: ${missing[*]}"
    say "      Install them as root: apt-get install ${missing[*]}"
    exit 2
  fi
}

# publish OUTPUT EXTRA…: restores and publishes in two steps, so that each is seen with its time.
publish() {
  local output=$1 start; shift
  start=$(now)
  say "[3/4] Packages … (the first time they are fetched)"
  if ! (cd "$ROOT" && "$DOTNET" restore src/BackupIQ.Cli -p:PublishReadyToRun=true -nodeReuse:false "$@" >>"$LOG" 2>&1); then fail_build "restoring the packages"; fi
  say "[3/4] Packages … done ($(took "$start"))"
  start=$(now)
  say "[4/4] Build … (some 30 s the first time)"
  if ! (cd "$ROOT" && "$DOTNET" publish src/BackupIQ.Cli -c Release -r "$RID" --no-restore -nodeReuse:false -v q -p:PublishDocumentationFiles=false "$@" -o "$output" >>"$LOG" 2>&1); then fail_build "building"; fi
  say "[4/4] Build … done ($(took "$start"))"
}

fail_build() {
  say "run.sh: $1 failed. The end of $LOG:"
  tail -n 15 "$LOG" >&2
  exit 1
}

is_fresh() {
  [ -x "$EXE" ] && [ -f "$STAMP" ] && [ -z "$(find "${SOURCES[@]}" -newer "$STAMP" -print -quit)" ]
}

build() {
  mkdir -p "$ROOT/artifacts/run"
  exec 9>"$ROOT/artifacts/run/.lock"
  flock 9
  if is_fresh; then exec 9>&-; return; fi # another run.sh built it meanwhile
  : >"$LOG"
  touch "$ROOT/artifacts/run/.started"
  step_sdk
  step_libraries
  publish "$OUT" -p:SelfContained=false
  # The stamp carries the time of the start: what was edited during the build is built again next time.
  touch -r "$ROOT/artifacts/run/.started" "$STAMP"
  exec 9>&-
}

case "${1:-}" in
  --single-file)
    mkdir -p "$ROOT/artifacts/run"; : >"$LOG"
    step_sdk
    step_libraries
    publish "$ROOT/artifacts/single-file/$RID" -p:SelfContained=true -p:PublishSingleFile=true -p:EnableSingleFileAnalyzer=false -p:DebugType=none
    say "One file, needs no .NET:"
    echo "$ROOT/artifacts/single-file/$RID/backupiq"
    exit 0 ;;
  --build)
    is_fresh || build
    echo "$EXE"
    exit 0 ;;
esac

is_fresh || build
if [ -z "${DOTNET_ROOT:-}" ] && DOTNET=$(command -v dotnet); then
  DOTNET_ROOT=$(dirname "$(readlink -f "$DOTNET")"); export DOTNET_ROOT
elif [ -z "${DOTNET_ROOT:-}" ] && [ -x "${HOME:-/nonexistent}/.dotnet/dotnet" ]; then
  export DOTNET_ROOT="$HOME/.dotnet"
fi
exec "$EXE" "$@"
