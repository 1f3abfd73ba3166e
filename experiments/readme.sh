#!/usr/bin/env bash
# The commands behind the figures in README.md, in order: about 40 minutes on 2 cores. What is finished isn't run again.
set -euo pipefail
python=${PYTHON:-.venv/bin/python}
out=${OUT:-outputs/readme}

run() {  # NAME EXPERIMENT [OVERRIDE ...]
  [ -f "$out/$1/result.json" ] || "$python" -m "experiments.$2" folder="$out/$1" "${@:3}"
}

# Which constant and which schedule to hold the learned policies against: chosen on validation tasks.
run search evaluate env.suite=tiles-val-v1 tasks=400 strips=0 baseline='constant 1.0' \
  'policies=[constant:0.5,constant:0.7,constant:0.8,constant:0.9,constant:1.0,schedule:1.0-0.8-0.6-0.4,schedule:1.0-0.9-0.8-0.7,schedule:1.0-1.0-0.8-0.6,schedule:1.0-0.9-0.7-0.5,schedule:0.9-0.7-0.5-0.3]'

# Three trainings; then every policy, and users who write prompts instead, on the same test tasks.
for seed in 0 1 2; do
  run "learned-$seed" train seed=$seed episodes=6000
done
run table evaluate tasks=1000 'baseline=random bucket' \
  "policies=[random-bucket,random-session,$CONSTANTS,$SCHEDULES,published,text:attribute,text:blind,text:feedback,$out/learned-0,$out/learned-1,$out/learned-2]"

# The Bayesian mechanism, for the greedy user and for a noisy one.
for distribution in mixture bayesian; do
  run "greedy-$distribution" evaluate tasks=500 strips=2 env.distribution=$distribution "${best[@]}"
  run "softmax-$distribution" evaluate tasks=500 strips=2 env.distribution=$distribution "${best[@]}" \
    env.human=softmax +env.human_options.temperature=0.05
done
