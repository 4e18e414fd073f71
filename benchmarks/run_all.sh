#!/bin/sh
# The CPU measurements of speed, one after the other, and the loops: short, and in full with three
# seeds. For a quiet machine. Other studies of accuracy, which take hours, have their own commands:
# docs/critique-study.md, docs/bundled-judge.md.
#
#   benchmarks/run_all.sh              PYTHON=... names another interpreter
set -eu
cd "$(dirname "$0")/.."
if [ -z "${PYTHON:-}" ]; then PYTHON=python3; [ -x .venv/bin/python ] && PYTHON=.venv/bin/python; fi
logs=$(mktemp -d)
echo "logs: $logs"

run() {
    name=$1
    shift
    echo "== $name: $*"
    start=$(date +%s)
    # vLLM writes much to stderr; the tables come on stdout.
    "$PYTHON" "$@" 2>"$logs/$name.log" || { tail -n 30 "$logs/$name.log"; exit 1; }
    echo "== $name took $(($(date +%s) - start)) s"
}

run parity benchmarks/parity.py
# The slow half: transformers one by one on a third of the judgements, and fewer rounds over HTTP.
run single_pass_medium benchmarks/single_pass.py --one-by-one 8
run over_http_medium benchmarks/over_http.py --rounds 3 --logs "$logs"
run groups benchmarks/groups.py --logs "$logs"
run single_pass_small benchmarks/single_pass.py --size small
run over_http_small benchmarks/over_http.py --size small --logs "$logs"
run metrics_cost benchmarks/metrics_cost.py --logs "$logs"
run metrics_cost_http benchmarks/metrics_cost.py --engine fake --rounds 40 --requests 1280 \
    --output benchmarks/results/metrics_cost_http.json --logs "$logs"
run loop benchmarks/loop.py --pairs 4
run loops benchmarks/loops/short.py --output benchmarks/results/loops_short.json
run loops_study benchmarks/loops/study.py --work "$logs/loops_study"
run plot benchmarks/plot.py
