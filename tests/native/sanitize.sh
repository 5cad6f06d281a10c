#!/bin/sh
# Builds adamp's native step with AddressSanitizer and UndefinedBehaviorSanitizer, drives it over shapes, types, layouts,
# guesses and threads, and runs the tests that change tensors behind its back. PYTHON: an interpreter with torch and
# pytest. Needs gcc's or clang's sanitizers.
set -eu
cd "$(dirname "$0")/../.."
XDG_CACHE_HOME="$(mktemp -d)" # the library that is built there is the one that both use
trap 'rm -rf "$XDG_CACHE_HOME"' EXIT
export XDG_CACHE_HOME ASAN_OPTIONS=detect_leaks=0:halt_on_error=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
preload="$(${CC:-gcc} -print-file-name=libasan.so) $(${CC:-gcc} -print-file-name=libubsan.so)"
LD_PRELOAD="$preload" "${PYTHON:-python3}" -m tests.native.drive_sanitized
LD_PRELOAD="$preload" "${PYTHON:-python3}" -m pytest -q -p no:cacheprovider tests/unit/adamp/test_native_*.py \
    tests/unit/adamp/test_denormals.py
