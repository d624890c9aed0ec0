#!/usr/bin/env bash
# Runs acceptance points in turn and sums up: all.sh [--short] [a01 b10 …]. Logs lie under artifacts/acceptance/.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
short=() points=()
for argument in "$@"; do
  case "$argument" in --short) short=(--short) ;; [ab][0-9][0-9]) points+=("$argument") ;; *) echo "all.sh: unknown argument '$argument'" >&2; exit 2 ;; esac
done
[ ${#points[@]} -gt 0 ] || points=(a01 a02 a03 a04 a05 a06 a07 a09 a10 a11 a12 b01 b04 b05 b06 b08 b10 a08)
mkdir -p "$root/artifacts/acceptance"
if [ -z "${BACKUPIQ:-}" ]; then BACKUPIQ=$("$root/run.sh" --build) || exit 1; fi
export BACKUPIQ
passed=0 failed=0
for point in "${points[@]}"; do
  script=$(echo "$here/$point"_*)
  log="$root/artifacts/acceptance/$point.log"
  start=$SECONDS
  "$script" "${short[@]}" 2>&1 | tee "$log"
  if [ "${PIPESTATUS[0]}" = 0 ]; then passed=$((passed + 1)); verdict=PASS; else failed=$((failed + 1)); verdict=FAIL; fi
  echo "== $verdict $point ($((SECONDS - start)) s)"
done
echo "acceptance: $passed passed, $failed failed"
[ "$failed" = 0 ]
