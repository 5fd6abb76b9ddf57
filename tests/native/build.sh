#!/usr/bin/env bash
# Builds the drivers of this folder into bin/, or into the directory that is given, as samples/native/build.sh does, and with the same
# compilers: clang for what has __try. BUILD.txt is its toolchain, and the size and SHA-256 of each image. `build.sh --toolchain` prints the
# former.
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

compile=(
    -std=gnu11 -O2 -ffreestanding -fbuiltin -fasynchronous-unwind-tables -fno-strict-aliasing -fno-ident -mno-stack-arg-probe
    -Wall -Wextra -Werror -Wno-multichar -isystem "$libraries/../include/ddk"
    -D_AMD64_ -D_WIN64 -DNTDDI_VERSION=0x06020000 -D_WIN32_WINNT=0x0602
)
compile_seh=(
    --target=x86_64-w64-mingw32 -fms-extensions -Xclang -fasync-exceptions
    '-Wno-#warnings' -Wno-unused-function '-DFORCEINLINE=static __inline__ __attribute__((__always_inline__,__unused__))'
)
link_seh=(
    --target=x86_64-w64-mingw32 -fuse-ld=lld -nostdlib -shared -Wl,--subsystem,native:6.2 -Wl,--entry,DriverEntry
    -Wl,--image-base,0x140000000 -Wl,--exclude-all-symbols -Wl,--no-insert-timestamp -Wl,--strip-debug "-L$libraries"
)

for source in *.c; do
    name=${source%.c}
    if grep -q '__try' "$source"; then
        $clang "${compile[@]}" "${compile_seh[@]}" -c "$source" -o "$work/$name.o"
        $clang "${link_seh[@]}" -o "$out/$name.sys" "$work/$name.o" -lntoskrnl -lhal
        chmod -x "$out/$name.sys"
        continue
    fi
    $cc "${compile[@]}" -fno-ipa-icf -c "$source" -o "$work/$name.o"
    $cc -nostdlib -nostartfiles -shared -Wl,--subsystem,native:6.2 -Wl,--entry,DriverEntry \
        -Wl,--image-base,0x140000000 -Wl,--dynamicbase -Wl,--nxcompat -Wl,--exclude-all-symbols \
        -Wl,--file-alignment,0x200 -Wl,--section-alignment,0x1000 -Wl,--no-insert-timestamp -Wl,--strip-debug \
        -o "$out/$name.sys" "$work/$name.o" -lntoskrnl -lhal
    chmod -x "$out/$name.sys"
done

(
    toolchain
    cd "$out"
    for image in *.sys; do
        echo "$image  $(stat -c %s "$image")  $(sha256sum < "$image" | cut -d ' ' -f 1)"
    done
) > "$work/BUILD.txt"
mv "$work/BUILD.txt" "$out/BUILD.txt"
