#!/usr/bin/env bash
# A8: the table of ratios against restic, borg and tar | zstd. --short: small corpora, one run each, figures only.
# PASS when every target that can be measured is met. More: bench/README.md.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
if [ "${1:-}" = --short ]; then
  shift
  exec "$root/bench/run.sh" --quick --scale 0.05 --no-readme --report-only "$@"
fi
exec "$root/bench/run.sh" "$@"
