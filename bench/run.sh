#!/usr/bin/env bash
# Measures backupiq beside restic, borg and tar | zstd on this machine and writes the table of ratios into bench/README.md.
#   bench/run.sh [--remote s3 | --postgres] [--quick] [--runs N] [--corpora source,small,random,half] [--peers-only] [--date YYYY-MM-DD] …   (bench/bench.py --help)
# The peers come from Debian; as root the script installs what is missing. Corpora lie in $BENCH_WORK (default bench/work), some 12 GB.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
missing=()
for pair in restic=restic borg=borgbackup zstd=zstd python3=python3 tar=tar /usr/bin/time=time; do
  command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
done
if [ ${#missing[@]} -gt 0 ]; then
  echo "Installing ${missing[*]} …" >&2
  if [ "$(id -u)" = 0 ]; then
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"; } >&2
  else
    echo "bench/run.sh: needs ${missing[*]}; as root: apt-get install ${missing[*]}" >&2
    exit 2
  fi
fi
case " $* " in
  *" --remote "*)
    # The server is one that the integration tests start.
    missing=()
    for pair in radosgw=radosgw ceph-mon=ceph-mon ceph-osd=ceph-osd ceph=ceph-common rclone=rclone; do
      command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
    done
    if [ ${#missing[@]} -gt 0 ]; then
      echo "bench/run.sh: --remote needs ${missing[*]}: apt-get install --no-install-recommends ${missing[*]}" >&2
      exit 2
    fi
    dotnet build "$here/../tests/BackupIQ.IntegrationTests" -c Release -v q --nologo -nodeReuse:false >&2
    ;;
esac
case " $* " in
  *" --postgres "*)
    if ! command -v pgbackrest >/dev/null || ! ls /usr/lib/postgresql/*/bin/pgbench >/dev/null 2>&1; then
      echo "bench/run.sh: --postgres needs postgresql and pgbackrest: apt-get install --no-install-recommends postgresql-15 pgbackrest" >&2
      exit 2
    fi
    ;;
esac
case " $* " in
  *" --peers-only "* | *" --help "* | *" -h "* | *" --render "*) ;;
  *) if [ -z "${BACKUPIQ:-}" ]; then BACKUPIQ=$("$here/../run.sh" --build); export BACKUPIQ; fi ;;
esac
exec python3 "$here/bench.py" "$@"
