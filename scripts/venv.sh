#!/bin/sh
# Makes .venv hold exactly what LOCK names, and this checkout; does nothing when it does so already.
#
#     sh scripts/venv.sh LOCK        requirements.lock (users) or requirements-dev.lock (developers)
#     PYTHON=python3.12 sh scripts/venv.sh LOCK
#
# The developers' lock holds the users' lock at the same versions: after it, the users' has nothing left to do.
# What .venv was made from is copied to .venv/made-from: contents are compared, not times.
set -eu

lock=$1
python=${PYTHON:-python3}
cd "$(dirname "$0")/.."
made_from=.venv/made-from

say() { echo "venv: $*" >&2; }
new_enough='import sys; sys.exit(sys.version_info < (3, 11))'

for file in "$lock" pyproject.toml; do
    cmp -s "$file" "$made_from/$file" || { stale=yes; break; }
done
# A virtual environment knows its own path: one that was moved or copied runs another checkout's code.
here=$(pwd -P)
if [ -f "$made_from/checkout" ] && [ "$(cat "$made_from/checkout")" != "$here" ]; then
    say "the checkout was moved or copied: making .venv anew"
    rm -rf .venv
    stale=yes
fi
[ "${stale-}" = yes ] || ! .venv/bin/python -c "$new_enough" 2>/dev/null || exit 0

if ! .venv/bin/python -c "import pip; $new_enough" 2>/dev/null; then
    if ! command -v "$python" >/dev/null 2>&1; then
        say "there is no \"$python\" here; Python 3.11 or newer is needed (name another by PYTHON=…)"
        exit 1
    fi
    if ! "$python" -c "$new_enough"; then
        say "\"$python\" is $("$python" -V 2>&1); Python 3.11 or newer is needed (name another by PYTHON=…)"
        exit 1
    fi
    say "making .venv with $("$python" -V)"
    "$python" -m venv --clear .venv
fi

pip() { .venv/bin/python -m pip --quiet --disable-pip-version-check --no-input "$@"; }
say "installing $lock"
rm -rf "$made_from/pyproject.toml" # an installation that breaks off is not taken for a whole one
pip install --require-hashes -r "$lock"
pip install --no-index --no-deps --no-build-isolation -e .

mkdir -p "$made_from"
printf '%s\n' "$here" >"$made_from/checkout"
[ "$lock" = requirements.lock ] || cp requirements.lock "$made_from/"
cp "$lock" pyproject.toml "$made_from/"
