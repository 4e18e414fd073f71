#!/bin/sh
# Everything that has to be shown on a GPU, in one run. See run.py --help.
#
#   benchmarks/gpu/run.sh --output FOLDER           on a machine with a GPU and vllm installed
#   benchmarks/gpu/run.sh --small --output FOLDER   the same code at small size, on a CPU
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
python=${PYTHON:-python3}

# vLLM finds the score slot through an installed entry point, so a checkout on the path is not enough.
if ! "$python" -c 'from importlib.metadata import version; version("mmreward")' 2>/dev/null; then
    "$python" -m pip install --quiet --no-deps --no-build-isolation --editable "$root"
fi
exec "$python" "$here/run.py" "$@"
