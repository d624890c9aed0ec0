#!/usr/bin/env bash
# Builds everything (warnings are errors) and runs all tests. The last line is `N passed, N failed, N skipped`.
#   ./test.sh          all tests
#   ./test.sh --fast   without tests/BackupIQ.IntegrationTests (the program in processes of its own)
#   ./test.sh --debug  the Debug build instead of the Release build
# Exit code: 0 when every test passed, 1 when one failed, a test project crashed, the build failed or no test ran.
set -uo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$ROOT" || exit 1
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 DOTNET_SKIP_FIRST_TIME_EXPERIENCE=1
CONFIGURATION=Release
PROJECTS=(BackupIQ.Tests BackupIQ.IntegrationTests)
for argument in "$@"; do
  case "$argument" in
    --fast) PROJECTS=(BackupIQ.Tests) ;;
    --debug) CONFIGURATION=Debug ;;
    *) echo "test.sh: unknown argument '$argument' (--fast, --debug)" >&2; exit 2 ;;
  esac
done

passed=0 failed=0 skipped=0 failures=""
finish() {
  if [ $((passed + failed)) = 0 ]; then echo "No test ran." >&2; failed=1; fi
  # Once more at the end: above it they stand among thousands of lines.
  printf '%s' "$failures"
  echo "$passed passed, $failed failed, $skipped skipped"
  [ "$failed" = 0 ]
  exit
}

if ! dotnet build BackupIQ.slnx -c "$CONFIGURATION" -v q --nologo -nodeReuse:false; then
  echo "The build failed; nothing was tested." >&2
  failed=1
  finish
fi

RESULTS="$ROOT/artifacts/test-results"
rm -rf "$RESULTS"; mkdir -p "$RESULTS"
for project in "${PROJECTS[@]}"; do
  executable="$ROOT/artifacts/bin/$project/${CONFIGURATION,,}/$project"
  # Tests that run programs and servers wait for them much of their time.
  threads=(); [ "$project" = BackupIQ.Tests ] || threads=(-maxThreads 1.5x)
  echo "== $project"
  "$executable" "${threads[@]}" -xml "$RESULTS/$project.xml" -noLogo -noColor
  code=$?
  # The runner's own summary: one <assembly …> element with the counts as attributes. Errors are failures outside a test (fixtures, clean-up).
  counts=$(sed -n 's/.*<assembly \([^>]*\)>.*/\1/p' "$RESULTS/$project.xml" 2>/dev/null | head -n 1)
  count() { sed -n "s/.*[[:space:]]$1=\"\([0-9]*\)\".*/\1/p" <<<" $counts"; }
  p=$(count passed) f=$(count failed) s=$(count skipped) e=$(count errors) n=$(count not-run)
  if [ -z "$counts" ]; then
    # An empty project writes no assembly element; a crashed one does not either, and ends with another code (8 is "no tests").
    if [ "$code" != 0 ] && [ "$code" != 8 ]; then
      echo "$project ended with $code before it reported." >&2
      failures+="$project ended with $code before it reported."$'\n'
      f=1
    fi
  elif [ "$code" != 0 ] && [ "$code" != 8 ] && [ $((${f:-0} + ${e:-0})) = 0 ]; then
    echo "$project reported no failure but ended with $code." >&2
    f=1
  fi
  failures+=$(tr '\n' ' ' 2>/dev/null <"$RESULTS/$project.xml" | grep -o '<test [^>]*result="Fail"[^>]*>.\{0,600\}' |
    sed 's/^<test [^>]*name="\([^"]*\)"[^>]*>/FAILED \1 /; s/<[^>]*CDATA\[//g; s/<[^>]*>//g' | cut -c 1-400)
  [ -z "$failures" ] || [ "${failures: -1}" = $'\n' ] || failures+=$'\n'
  passed=$((passed + ${p:-0})); failed=$((failed + ${f:-0} + ${e:-0})); skipped=$((skipped + ${s:-0} + ${n:-0}))
done
finish
