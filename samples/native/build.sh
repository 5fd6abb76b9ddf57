#!/usr/bin/env bash
# Builds every driver of this folder, reproducibly.
#
#   build.sh               into bin/, with BUILD.txt: the toolchain, and the size and SHA-256 of each image
#   build.sh DIRECTORY     the same into DIRECTORY
#   build.sh --toolchain   prints what the bytes of the images depend on besides the sources, and builds nothing
#
# Needs the mingw-w64 cross compiler (Debian: gcc-mingw-w64-x86-64) with, next to it, its headers and import libraries, and for drivers with
# __try or control flow guard, which gcc does not have, clang and lld (Debian: clang-19, lld-19).
set -euo pipefail
export LC_ALL=C

cc=x86_64-w64-mingw32-gcc
clang=clang-19
cd "$(dirname "${BASH_SOURCE[0]}")"

toolchain() {
    echo "compiler: $($cc --version | head -n 1)"
    echo "linker: $($cc -Wl,--version 2>/dev/null | head -n 1)"
    echo "clang: $($clang --version 2>/dev/null | head -n 1)"
    echo "headers: mingw-w64 $(echo __MINGW64_VERSION_STR | $cc -include _mingw.h -E -P - | tail -n 1 | tr -d '" ')"
}

if [[ "${1-}" == --toolchain ]]; then
    toolchain
    exit
fi

out=${1-bin}
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

libraries=$(dirname "$($cc -print-file-name=libntoskrnl.a)")

# Windows 8 is the first system with NonPagedPoolNx. Pool tags are multi-character constants.
compile=(
    -std=gnu11 -O2 -ffreestanding -fbuiltin -fasynchronous-unwind-tables -fno-strict-aliasing -fno-ident -mno-stack-arg-probe
    -Wall -Wextra -Werror -Wno-multichar
    -isystem "$libraries/../include/ddk"
    -D_AMD64_ -D_WIN64 -DNTDDI_VERSION=0x06020000 -D_WIN32_WINNT=0x0602
)

# clang: exceptions of plain loads and stores count too. mingw-w64 makes FORCEINLINE functions external, and clang inlines nothing in __try.
compile_seh=(
    --target=x86_64-w64-mingw32 -fms-extensions -Xclang -fasync-exceptions
    '-Wno-#warnings' -Wno-unused-function '-DFORCEINLINE=static __inline__ __attribute__((__always_inline__,__unused__))'
)

# Code as for the Microsoft compiler: security cookies, guarded calls. The headers of mingw-w64 are for its own target only, so the target is
# changed between the two halves of the compiler.
compile_msvc_front=(--target=x86_64-w64-mingw32 -fstack-protector-strong -mguard=cf -emit-llvm)
compile_msvc_back=(--target=x86_64-pc-windows-msvc -O2 -Wno-override-module)

# --strip-debug keeps the COFF symbol table: reports name the routines of a driver from it.
link=(
    -nostdlib -nostartfiles -shared -Wl,--subsystem,native:6.2 -Wl,--entry,DriverEntry
    -Wl,--image-base,0x140000000 -Wl,--dynamicbase -Wl,--nxcompat -Wl,--exclude-all-symbols
    -Wl,--file-alignment,0x200 -Wl,--section-alignment,0x1000 -Wl,--no-insert-timestamp -Wl,--strip-debug
)

link_seh=(
    --target=x86_64-w64-mingw32 -fuse-ld=lld -nostdlib -shared -Wl,--subsystem,native:6.2 -Wl,--entry,DriverEntry
    -Wl,--image-base,0x140000000 -Wl,--exclude-all-symbols -Wl,--no-insert-timestamp -Wl,--strip-debug "-L$libraries"
)

link_msvc=(-Wl,--entry,GsDriverEntry -Wl,--guard-cf -Wl,--undefined,_load_config_used)

# build SOURCE NAME [OPTION...]: one image.
build() {
    local source=$1 name=$2
    shift 2

    if grep -q '"msvc.h"' "$source"; then
        $clang "${compile[@]}" "${compile_seh[@]}" "${compile_msvc_front[@]}" "$@" -c "$source" -o "$work/$name.bc"
        $clang "${compile_msvc_back[@]}" -c "$work/$name.bc" -o "$work/$name.o"
        $clang "${link_seh[@]}" "${link_msvc[@]}" -o "$out/$name.sys" "$work/$name.o" -lntoskrnl -lhal
        chmod -x "$out/$name.sys"
        return
    fi

    if grep -q '__try' "$source"; then
        $clang "${compile[@]}" "${compile_seh[@]}" "$@" -c "$source" -o "$work/$name.o"
        $clang "${link_seh[@]}" -o "$out/$name.sys" "$work/$name.o" -lntoskrnl -lhal
        chmod -x "$out/$name.sys"
        return
    fi

    $cc "${compile[@]}" "$@" -c "$source" -o "$work/$name.o"

    # NAME.def: exports of the kernel which the import library of mingw-w64 lacks.
    local imports=()
    if [[ -f $name.def ]]; then
        (cd "$work" && x86_64-w64-mingw32-dlltool -m i386:x86-64 --temp-prefix "$name" -d "$OLDPWD/$name.def" -l "$name.a")
        imports=("$work/$name.a")
    fi

    $cc "${link[@]}" -o "$out/$name.sys" "$work/$name.o" "${imports[@]}" -lntoskrnl -lhal
    chmod -x "$out/$name.sys"
}

for source in *.c; do
    name=${source%.c}
    build "$source" "$name"

    # The same driver without its bug.
    if grep -q 'def FIXED' "$source"; then
        build "$source" "fixed-${name#broken-}" -DFIXED
    fi
done

(
    toolchain
    cd "$out"
    for image in *.sys; do
        echo "$image  $(stat -c %s "$image")  $(sha256sum < "$image" | cut -d ' ' -f 1)"
    done
) > "$work/BUILD.txt"
mv "$work/BUILD.txt" "$out/BUILD.txt"
