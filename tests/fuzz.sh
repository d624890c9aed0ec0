#!/usr/bin/env bash
# Feeds every parser of bytes mutations of valid objects:  tests/fuzz.sh [MINUTES]   (default 60)
# Prints how many each parser got and how many of them it refused. A fault ends with 1, and says its input and where that is kept.
set -uo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT" || exit 1
MINUTES=${1:-60}
[[ $MINUTES =~ ^[0-9]+$ ]] || { echo "fuzz.sh: MINUTES must be a number" >&2; exit 2; }
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1
dotnet build tests/BackupIQ.Tests -c Release -v q --nologo -nodeReuse:false || exit 1
TESTS="$ROOT/artifacts/bin/BackupIQ.Tests/release/BackupIQ.Tests"
# Classes run side by side, so the time of all targets together is shared out over the cores.
targets=$(grep -rhoE 'Fuzz\.Run\(|=> Decompress\(|Run\("' tests/BackupIQ.Tests/Fuzzing/*Tests.cs | wc -l)
cores=$(nproc); [ "$cores" -gt 4 ] && cores=4
BACKUPIQ_FUZZ_SECONDS=$(awk "BEGIN { print $MINUTES * 60 * $cores / $targets }")
BACKUPIQ_FUZZ_REPORT=$(mktemp); export BACKUPIQ_FUZZ_SECONDS BACKUPIQ_FUZZ_REPORT
trap 'rm -f "$BACKUPIQ_FUZZ_REPORT"' EXIT
echo "$targets targets, $BACKUPIQ_FUZZ_SECONDS s each, on $cores cores"
"$TESTS" -trait kind=fuzz -noLogo -noColor
code=$?
sort -k3 "$BACKUPIQ_FUZZ_REPORT" | awk -F'\t' '{ printf "%14d mutations %14d refused  %s\n", $1, $2, $3; runs += $1; refused += $2 } END { printf "%14d mutations %14d refused  in all\n", runs, refused }'
exit $code
