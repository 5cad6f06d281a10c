#!/bin/sh
# Builds adamp's native step for x86-64 and, by cross-compilation, for ARM with NEON, runs the second in an emulator, and
# compares every bit that both leave. ZIG: a command of zig's compiler (`pip install ziglang`); needs qemu-aarch64.
set -eu
cd "$(dirname "$0")"
ZIG=${ZIG:-"${PYTHON:-python3} -m ziglang cc"}
if [ "$(uname -sm)" != "Linux x86_64" ] || ! command -v qemu-aarch64 >/dev/null; then
    echo "NOT RUN: NEON against AVX2 needs Linux on x86-64 and qemu-aarch64 (Debian's package qemu-user)"
    exit 0
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
flags="-O3 -std=gnu11 -ffp-contract=off -fno-math-errno -fno-trapping-math -fno-strict-aliasing -Wall -Wextra"

compile() { # target, instruction set, flags of that set
    # shellcheck disable=SC2086  # flags are several words
    $ZIG -target "$1" $flags $3 -DADAMP_ISA="$2" -c ../../adamp/csrc/kernels.c -o "$folder/$1-$2.o"
}

compile x86_64-linux-musl generic ""
compile x86_64-linux-musl avx2 "-mavx2 -mfma"
compile x86_64-linux-musl avx512 "-mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mprefer-vector-width=512"
compile aarch64-linux-musl generic ""
for target in x86_64-linux-musl aarch64-linux-musl; do
    # shellcheck disable=SC2086
    $ZIG -target "$target" $flags -static print_bits.c "$folder/$target"-*.o -lm -lpthread -o "$folder/$target"
done
"$folder/x86_64-linux-musl" 1 1 >"$folder/avx2"
for n_threads in 1 2; do
    qemu-aarch64 "$folder/aarch64-linux-musl" 0 "$n_threads" >"$folder/neon"
    diff "$folder/avx2" "$folder/neon"
done
test "$(wc -l <"$folder/neon")" -eq 120
of_kind() { cut -d: -f2 "$folder/neon" | tr ' ' '\n' | grep -c "^$1\$"; } # each kind must occur: grep fails on none
n_none=$(of_kind 0) n_channel=$(of_kind 1) n_layer=$(of_kind 2)
echo "NEON and AVX2 leave the same bits in 120 cases: $n_none steps not projected, $n_channel by channel, $n_layer by layer"
