#!/usr/bin/env bash
# Makes a 64-bit Windows CPython with the developers' lock in it, under Debian's Wine; does nothing when it is there.
#
#     scripts/wine.sh            prints, last, where `wpy` is: wpy ARGS… runs that Python
#     scripts/wine.sh --print    the same, and makes nothing (exit 1 when there is nothing yet)
#
# It has the minor version of .venv's Python, and lies in ${AURORA_WINE:-$XDG_CACHE_HOME/aurora-circus/wine}-HASH: 900 MB
# that every checkout with the same lock shares. Remove them as you like, while none is at work. Nothing in it knows its
# own place (Windows' paths begin at C:), so a copy of the directory is another machine with processes of its own.
#
# Where the parts come from:
#     python3XX.dll, the extension modules and their DLLs: python.org's own, as the wheel of panda3d carries them
#     the standard library: the host's Python of the same minor version
#     python.exe, python3.dll: a few lines of assembly, below
#     the packages: the lock, fetched by the host's pip (it knows the index and the certificates), installed by Windows' pip
#
# Exit: 0; 77 where Wine cannot be had, and then the last line is `SKIPPED: why`; 1 for any other failure.
set -euo pipefail
cd "$(dirname "$0")/.."

# Of panda3d 1.10.16 for Windows on amd64, by the minor version of Python.
panda3d='
3.11 37acfb92655c4226879f95c988e2ef1449a53c54486d6c1ebc00e2772429af82
3.12 f6493e2ecc0d1b7c1556a999556e5278cbc9484fe5fe1e159a1ccc02b870b18f
3.13 0e505261bb58d8402d0099c291f1a3459acfdd38f3e7d666e72aa2e1ea5dc46f
3.14 0978ca7d2953d37ed3ed8d99abd1ee77bbfc75fe6ea47019d0f5f5dad830d853'
python=$PWD/.venv/bin/python
lock=$PWD/requirements-dev.lock

say() { printf 'wine: %s\n' "$*" >&2; }
step() { say "$(printf '%3d s  %s' $SECONDS "$*")"; }
skip() {
    printf 'SKIPPED: %s\n' "$*"
    exit 77
}

[ "$(uname -sm)" = 'Linux x86_64' ] || skip "Windows' Python is run under Wine on Linux on amd64; this is $(uname -sm)"
[ -x "$python" ] || { say 'there is no .venv ("make venv" makes it)'; exit 1; }
minor=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
sha256=$(awk -v minor="$minor" '$1 == minor { print $2 }' <<<"$panda3d")
[ -n "$sha256" ] || skip "the parts of a Windows Python $minor are not known to $0 (PYTHON=python3.11 make venv)"
xy=${minor/./}
hash=$({ echo "$minor"; cat scripts/wine.sh "$lock"; } | sha256sum | cut -c -12)
home=~ # HOME may be unset
dir=$(realpath -m "${AURORA_WINE:-${XDG_CACHE_HOME:-$home/.cache}/aurora-circus/wine}")-$hash

ready() { [ -x "$dir/wpy" ] && command -v wine >/dev/null; }
if ready || [ "${1-}" = --print ]; then
    ready || { say "$dir is not there yet"; exit 1; }
    echo "$dir/wpy"
    exit
fi

# --- Debian's packages ------------------------------------------------------------------------------------------------

packages=(wine wine64 binutils-mingw-w64-x86-64)
missing() { ! command -v wine || ! command -v wineserver || ! command -v x86_64-w64-mingw32-ld; } >/dev/null
install() {
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 "${packages[@]}" </dev/null
}
if missing; then
    command -v apt-get >/dev/null || skip "Wine (${packages[*]}) is not installed, and there is no apt-get to install it with"
    [ "$(id -u)" = 0 ] || skip "Wine (${packages[*]}) is not installed, and only root may install it"
    step "installing ${packages[*]}"
    # Lists that are missing or old show in a failure: to fetch them each time would cost more than it saves.
    if ! said=$(install 2>&1); then
        apt-get update -o Acquire::Retries=3 </dev/null >&2 && fetched=yes || fetched=
        if [ "$fetched" ] && ! apt-cache show "${packages[@]}" >/dev/null 2>&1; then
            skip "this system's package index has no ${packages[*]}"
        fi
        said=$(install 2>&1) || { say "apt-get install failed:" "$said"; exit 1; }
    fi
    ! missing || { say "apt-get installed ${packages[*]}, and still there is no wine, wineserver or ld"; exit 1; }
fi

# --- One at a time, from nothing ------------------------------------------------------------------------------------

mkdir -p "$(dirname "$dir")"
exec 9>"$dir.lock"
flock 9
! ready || exec "$0" --print # somebody else made it while we waited

part=$dir.part
export WINEPREFIX=$part/prefix WINEDEBUG=-all WINEDLLOVERRIDES='mscoree,mshtml='
unset DISPLAY WAYLAND_DISPLAY # it must not ask anybody anything

# What runs under Wine must not hold our lock, nor our output if it stays behind.
under_wine() {
    local said
    said=$(timeout 600 "$@" 9>&- </dev/null 2>&1) || { say "failed ($?): $*" "$said"; return 1; }
    [ -z "$said" ] || printf '%s\n' "$said"
}
stop_wine() {
    [ ! -d "$WINEPREFIX" ] || { wineserver -k; wineserver -w; } 9>&- >/dev/null 2>&1 || true
}
trap 'stop_wine; rm -rf "$part"' EXIT
stop_wine # one that was killed may have left some running
rm -rf "$part"
mkdir -p "$part/parts" "$part/wheels"

step "fetching Windows' python$xy.dll"
pip() { "$python" -m pip --quiet --disable-pip-version-check --no-input "$@"; }
for_windows=(--no-deps --require-hashes --only-binary=:all: --platform win_amd64 --python-version "$minor" --implementation cp)
echo "panda3d==1.10.16 --hash=sha256:$sha256" >"$part/parts/requirements"
pip download "${for_windows[@]}" -d "$part/parts" -r "$part/parts/requirements" >&2
"$python" - "$part"/parts/*.whl "$part/parts" <<'EOF_PYTHON'
import re
import sys
import zipfile

wheel, into = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    # Without what Wine itself has (api-ms-*), and without Tk.
    parts = [name for name in archive.namelist() if re.match(r"deploy_libs/(?!api-ms-|_tkinter|t\w+86t)", name)]
    archive.extractall(into, parts)
EOF_PYTHON
libs=$part/parts/deploy_libs

step "fetching the packages of $(basename "$lock") for Windows"
# pip judges a marker by the system it runs on, whatever --platform says: keep what Windows needs, and drop the markers.
"$python" - "$lock" >"$part/parts/requirements" <<'EOF_PYTHON'
import re
import sys
from pathlib import Path

from packaging.markers import Marker

windows = {"os_name": "nt", "sys_platform": "win32", "platform_system": "Windows"}
for block in re.split(r"\n(?=[a-z])", Path(sys.argv[1]).read_text(encoding="utf-8")):
    head, _, rest = block.partition("\n")
    pin, _, marker = head.removesuffix(" \\").partition(" ; ")
    if not head.startswith("#") and (not marker or Marker(marker).evaluate(windows)):
        print(f"{pin} \\\n{rest}")
EOF_PYTHON
pip download "${for_windows[@]}" -d "$part/wheels" -r "$part/parts/requirements" >&2

step 'making python.exe and python3.dll'
cat >"$part/parts/exe.s" <<'EOF_ASSEMBLY'
    # ExitProcess(Py_Main(argc, argv))
    .intel_syntax noprefix
    .globl start
start:
    sub rsp, 56
    call GetCommandLineW
    mov rcx, rax
    lea rdx, [rsp + 40]
    call CommandLineToArgvW
    mov ecx, dword ptr [rsp + 40]
    mov rdx, rax
    call Py_Main
    mov ecx, eax
    call ExitProcess
    int3
EOF_ASSEMBLY
# The stable ABI: wheels tagged abi3 ask python3.dll, which passes each name on to python3XX.dll.
printf '.globl DllMain\nDllMain:\n mov $1, %%eax\n ret\n' >"$part/parts/dll.s"
{
    printf 'LIBRARY python3.dll\nEXPORTS\n'
    x86_64-w64-mingw32-objdump -p "$libs/python$xy.dll" | awk -v dll="python$xy" '
        /\[Ordinal\/Name Pointer\] Table/ { names = 1; next }
        names && /^$/ { names = 0 }
        names && $NF ~ /^_?Py/ { print "  " $NF " = " dll "." $NF }'
} >"$part/parts/python3.def"
wine_dlls=$(dirname "$(find -L /usr/lib* /opt -path '*x86_64-windows/kernel32.dll' -print -quit 2>/dev/null)")
for each in exe dll; do x86_64-w64-mingw32-as -o "$part/parts/$each.o" "$part/parts/$each.s"; done
x86_64-w64-mingw32-ld -s -e start --subsystem console -o "$part/parts/python.exe" \
    "$part/parts/exe.o" "$libs/python$xy.dll" "$wine_dlls/kernel32.dll" "$wine_dlls/shell32.dll"
x86_64-w64-mingw32-ld -s -shared -e DllMain -o "$part/parts/python3.dll" "$part/parts/dll.o" "$part/parts/python3.def"

step "making Wine's drive C:"
under_wine wine wineboot --init >/dev/null
under_wine wine winecfg -v win10 >/dev/null
under_wine wine reg add 'HKCU\Software\Wine\Drivers' /v Graphics /d null /f >/dev/null # no screen: no windows
stop_wine # it writes its registry when it ends
# Wine links "Documents" and its like to the home directory: what a test does there must not be done here.
find "$WINEPREFIX/drive_c/users" -type l -exec sh -c 'rm "$1" && mkdir "$1"' - {} \;

step "putting Python $minor together"
there=$WINEPREFIX/drive_c/Python$xy
mkdir -p "$there/DLLs" "$there/Lib/site-packages"
cp "$part"/parts/python{.exe,3.dll} "$libs/python$xy.dll" "$libs"/[Vv][Cc][Rr][Uu][Nn][Tt][Ii][Mm][Ee]140*.dll "$there/"
find "$libs" \( -name '*.pyd' -o -name 'lib*.dll' -o -name 'sqlite3.dll' -o -name 'zlib*.dll' \) -exec cp {} "$there/DLLs/" \;
rm -f "$there/DLLs/_wmi.pyd" # 3.12 asks WMI for the platform, which ends Wine 8; without it Python asks elsewhere
tar -c -C "$("$python" -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" --exclude=__pycache__ --exclude='*.so' \
    --exclude=./{EXTERNALLY-MANAGED,site-packages,dist-packages,lib-dynload,'config-3*',test,idlelib,tkinter,turtledemo} . \
    | tar -x -C "$there/Lib"

cat >"$part/wpy" <<EOF_WPY
#!/usr/bin/env bash
# Windows' Python $minor under Wine. Nothing of this side's Python, pip, tests or fleets leaks in.
for name in \$(compgen -e); do
    case \$name in
        PYTHON* | PIP_* | AURORA_* | CIRCUS* | VIRTUAL_ENV* | COVERAGE* | PYTEST_* | TMPDIR | MAKE* | MFLAGS | DISPLAY | WAYLAND_*)
            unset "\$name" ;;
    esac
done
export WINEPREFIX="\$(dirname "\$(readlink -f "\$0")")/prefix" WINEDEBUG="\${WINEDEBUG:--all}" WINEDLLOVERRIDES='mscoree,mshtml='
export LC_ALL=C.UTF-8 # in plain C, Wine makes no file whose name is not ASCII; Windows' code page is 1252 either way
# Under Wine, Python cannot start on a regular file as a stream: it gets pipes. Pipes that we are given it gets as they
# are: then this process is wine's own, and ends with Python even where a process left behind holds the pipe.
if [ -p /dev/stdout ] && [ -p /dev/stderr ]; then
    exec wine 'C:\\Python$xy\\python.exe' "\$@" </dev/null
fi
wine 'C:\\Python$xy\\python.exe' "\$@" </dev/null 2>&1 | cat
exit "\${PIPESTATUS[0]}"
EOF_WPY
chmod +x "$part/wpy"
under_wine "$part/wpy" -c 'import ctypes, lzma, sqlite3, ssl, platform; print("wine:", *platform.uname())' >&2

step "installing $(basename "$lock") by Windows' pip"
"$python" -m zipfile -e "$part"/wheels/pip-*.whl "$there/Lib/site-packages" # Windows' pip never replaces a pip that runs
(
    cd "$part/wheels"
    cp "$lock" .
    under_wine "$part/wpy" -m pip --quiet --no-cache-dir install --no-index --find-links . \
        --no-warn-script-location --require-hashes -r "$(basename "$lock")" >&2
)
under_wine "$part/wpy" -m pip check >&2

stop_wine
rm -rf "$part/parts" "$part/wheels"
mv "$part" "$dir"
trap - EXIT
step "done: $(du -sh "$dir")"
echo "$dir/wpy"
