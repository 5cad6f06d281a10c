#!/bin/sh
# Builds adamp's native step with AddressSanitizer and UndefinedBehaviorSanitizer and drives it over shapes, types,
# layouts, guesses and threads. PYTHON: an interpreter with torch. Needs gcc's or clang's sanitizers.
set -eu
cd "$(dirname "$0")/../.."
export ASAN_OPTIONS=detect_leaks=0:halt_on_error=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
LD_PRELOAD="$(${CC:-gcc} -print-file-name=libasan.so) $(${CC:-gcc} -print-file-name=libubsan.so)" \
    "${PYTHON:-python3}" -m tests.native.drive_sanitized
