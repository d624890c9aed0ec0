#!/usr/bin/env bash
# A10: BLAKE3 against the official vectors and the scalar path (tests), and its speed beside b3sum (bench/BackupIQ.Benchmarks).
# --short: the tests alone.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root"
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1
dotnet build tests/BackupIQ.Tests -c Release -v q --nologo -nodeReuse:false >&2
artifacts/bin/BackupIQ.Tests/release/BackupIQ.Tests -noLogo -noColor -namespace BackupIQ.Tests.Repository.Hashing | tee /dev/stderr | grep -Eq 'Total: [1-9]' \
  || { echo "[A10] FAIL  no hashing test ran, or one failed"; exit 1; }
if [ "${1:-}" != --short ]; then
  if ! command -v b3sum >/dev/null; then apt-get install -y -q b3sum >&2 || true; fi
  file=$(mktemp); trap 'rm -f "$file"' EXIT
  head -c 1073741824 /dev/zero >"$file"
  for i in 1 2 3; do
    start=$(date +%s%N); b3sum --num-threads 1 "$file" >/dev/null; end=$(date +%s%N)
    echo "[A10] b3sum --num-threads 1, 1 GiB: $((1073741824 / ((end - start) / 1000) )) MB/s"
  done
  dotnet run --project bench/BackupIQ.Benchmarks -c Release -- micro hashing
fi
echo "[A10] PASS  tests of hashing passed"
