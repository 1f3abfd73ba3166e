#!/usr/bin/env bash
# The commands behind the figures in README.md, in order: several hours on 2 cores. What is finished isn't run again.
set -euo pipefail
python=${PYTHON:-.venv/bin/python}
out=${OUT:-outputs/readme}

run() {  # NAME EXPERIMENT [OVERRIDE ...]
  [ -f "$out/$1/result.json" ] || "$python" -m "experiments.$2" folder="$out/$1" "${@:3}"
}

# Which constant and which schedule to hold the learned policies against: chosen on validation tasks.
run search evaluate env.suite=tiles-val-v1 tasks=400 strips=0 baseline='constant 1.0' \
  'policies=[constant:0.5,constant:0.7,constant:0.8,constant:0.9,constant:1.0,schedule:1.0-0.8-0.6-0.4,schedule:1.0-0.9-0.8-0.7,schedule:1.0-1.0-0.8-0.6,schedule:1.0-0.9-0.7-0.5,schedule:0.9-0.7-0.5-0.3]'

# Three trainings of each agent.
"$python" -m experiments.train --multirun folder="$out/sweep" agent=thompson,planning,ppo,dqn seed=1,2,3 episodes=4000 \
  threads=1 launcher=joblib launcher.jobs=2

# Policies, and users who write prompts instead, on the same test tasks.
run table evaluate tasks=1000 \
  "policies=[random-bucket,random-session,constant:0.7,schedule:1.0-1.0-0.8-0.6,published,text:attribute,text:blind,text:feedback,$out/sweep/*thompson*]"
# How much of the improvement of users who write prompts is luck.
run blind evaluate tasks=1000 env.rounds=20 'policies=[text:blind]' baseline='text blind' strips=0
run lottery lottery evaluation="$out/table" blind_evaluation="$out/blind"

# Fewer random seeds.
run seeds producibility

# The leaderboard, with the best that all the trainings' episodes together can teach.
run best best_known "trainings=[$out/sweep/*]"
run leaderboard leaderboard tasks=500 robust_human=softmax:temperature=0.05 claim=true \
  "policies=[random-bucket,random-session,constant:0.7,schedule:1.0-1.0-0.8-0.6,published,$out/best,$out/sweep/*]"

# The Bayesian mechanism beside the mixture: for a greedy user and a noisy one, and inferring by another metric.
run mechanisms mechanisms \
  'mechanisms=["mixture","bayesian","bayesian:pool=192,temperature=0.03","bayesian:pool=96,metric=pixel-correlation"]'

# Four versions of the embedded model, in the paper's tables.
run benchmark benchmark

# How many episodes the agents need.
run efficiency efficiency tasks=150 'checkpoints=[32,64,128,256,512]'

"$python" -m experiments.bench
