#!/usr/bin/env bash
# The commands behind the figures in README.md, in order: about an hour on 2 cores. Each goes on where it was stopped.
set -euo pipefail
python=${PYTHON:-.venv/bin/python}
out=${OUT:-outputs/readme}

# Which constant and which schedule to hold the learned policy against: chosen on validation tasks.
[ -f "$out/search/result.json" ] || $python -m experiments.evaluate folder="$out/search" env.suite=tiles-val-v1 \
  tasks=600 tasks_per_batch=8 strips=0 baseline='constant 1.0' 'policies=[constant:0.6,constant:0.7,constant:0.8,constant:0.9,constant:1.0,schedule:1.0-0.8-0.6-0.4,schedule:1.0-0.9-0.8-0.7,schedule:1.0-1.0-0.8-0.6,schedule:1.0-0.9-0.7-0.5,schedule:0.9-0.7-0.5-0.3]'

# Three trainings, and all policies on the same test tasks.
for seed in 0 1 2; do
  [ -f "$out/learned-$seed/result.json" ] || $python -m experiments.train folder="$out/learned-$seed" seed=$seed episodes=10000
done
[ -f "$out/table/result.json" ] || $python -m experiments.evaluate folder="$out/table" tasks=1000 tasks_per_batch=8 \
  "policies=[random-bucket,random-session,constant:0.5,constant:BEST,schedule:BEST,published,$out/learned-0,$out/learned-1,$out/learned-2]"

# The Bayesian mechanism on the same tasks, for the greedy user and for a noisy one.
for human in greedy softmax; do
  options=(); [ $human = greedy ] || options=(+env.human_options.temperature=0.05)
  for distribution in mixture bayesian; do
    run="$out/$human-$distribution"
    [ -f "$run/result.json" ] || $python -m experiments.evaluate folder="$run" tasks=1000 strips=2 \
      env.human=$human "${options[@]}" env.distribution=$distribution \
      'policies=[schedule:BEST]' baseline='schedule BEST'
  done
done
$python -m experiments.compare folder="$out/mechanisms" overwrite=true baseline='schedule BEST, mixture, greedy' \
  "evaluations=[$out/greedy-mixture,$out/greedy-bayesian,$out/softmax-mixture,$out/softmax-bayesian]"
