#!/usr/bin/env bash
# Runs acceptance points in turn and sums up: all.sh [--short] [--storage s3|azure|webdav|sftp] [a01 b10 …]. Logs lie under artifacts/acceptance/.
# c04 needs --storage, and is only run when it is named.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
options=() points=()
while [ $# -gt 0 ]; do
  argument=$1; shift
  case "$argument" in --short) options+=(--short) ;; --storage) options+=(--storage "${1:?}"); shift ;; [abc][0-9][0-9]) points+=("$argument") ;; *) echo "all.sh: unknown argument '$argument'" >&2; exit 2 ;; esac
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
  "$script" "${options[@]}" 2>&1 | tee "$log"
  if [ "${PIPESTATUS[0]}" = 0 ]; then passed=$((passed + 1)); verdict=PASS; else failed=$((failed + 1)); verdict=FAIL; fi
  echo "== $verdict $point ($((SECONDS - start)) s)"
done
echo "acceptance: $passed passed, $failed failed"
[ "$failed" = 0 ]
