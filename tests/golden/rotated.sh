#!/usr/bin/env bash
# Makes a golden repository of which the keys were really rotated and revoked, by the program itself: rotated.sh BACKUPIQ NAME (README.md says when).
set -euo pipefail
backupiq=$(realpath "$1") folder=$(cd "$(dirname "$0")" && pwd)/$2
[ ! -e "$folder" ] || { echo "$folder is there: a golden repository is never made again" >&2; exit 1; }
work=$(mktemp -d /tmp/backupiq-golden-XXXXXX); trap 'rm -rf "$work"' EXIT
mkdir -p "$folder" "$work/source/folder"
run() { "$backupiq" "$@" --repo "$work/repository" --cache-dir "$work/cache" --no-input --quiet; }
echo "golden password, of the first days" >"$work/password.old"
echo "golden password, rotated" >"$folder/password"
for name in kept revoked; do head -c 64 /dev/urandom >"$folder/$name.key"; done
chmod 600 "$folder"/*.key "$folder/password" "$work/password.old"

run init --password-file "$work/password.old"
for name in kept revoked; do run key add --password-file "$work/password.old" --new-key-file "$folder/$name.key" --label "$name"; done
seq 1 3000 >"$work/source/numbers"; echo first >"$work/source/folder/changed"; ln -s ../numbers "$work/source/folder/link"
(cd "$work/source" && run backup . --password-file "$work/password.old" --host golden)

run key rotate --password-file "$work/password.old" --new-password-file "$folder/password"
run key rotate --new-epoch --yes --password-file "$folder/password"
echo second >"$work/source/folder/changed"; seq 1 2 9000 >"$work/source/odd"
(cd "$work/source" && run backup . --password-file "$folder/password" --host golden)

id=$("$backupiq" key list --repo "$work/repository" --password-file "$folder/password" --cache-dir "$work/cache" --json |
  python3 -c 'import json,sys; keys=json.load(sys.stdin); keys=keys.get("keys", keys) if isinstance(keys, dict) else keys; print([k["id"] for k in keys if k["label"]=="revoked"][0])')
cp "$work/repository/keys/$id" "$folder/revoked.slot"
run key revoke "$id" --yes --key-file "$folder/kept.key"
echo third >"$work/source/folder/changed"
(cd "$work/source" && run backup . --key-file "$folder/kept.key" --host golden)
run key recovery-kit --key-file "$folder/kept.key" --output "$folder/recovery-kit.txt"
rm -rf "$work/repository/tmp"
cp -r "$work/repository" "$folder/repository"
echo "made $folder"
