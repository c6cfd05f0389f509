#!/usr/bin/env bash
# Builds and runs the native tests under AddressSanitizer and UndefinedBehaviorSanitizer. live_test
# needs root, and makes its own network namespace, which goes away with it; RINGPATH_NO_ROOT=1 lets
# it be left out.
set -euo pipefail
cd "$(dirname "$0")/.."

cmake -S . -B build/native-test -DCMAKE_BUILD_TYPE=Debug >/dev/null
cmake --build build/native-test --parallel 2
build/native-test/unit_test
build/native-test/live_test
