"""Benchmark generators: ``python -m experiments.benchmark folder=outputs/benchmark``."""

from __future__ import annotations

from typing import Any

from conf import schema
from experiments.playing import check_tasks, play_suite
from experiments.runs import application, check_run, close_run, env_options, open_run, publish
from experiments.specs import slug
from pretraining.alignment import DrawnAlignment
from steer_env.evaluation.benchmark import Played, benchmark_report
from steer_env.generators import load_generator
from steer_env.metrics import load_judges, load_metric
from steer_env.policies.lists import load_policies
from steer_env.registry import parse_spec
from steer_env.types import Prompter

schema.register()
DRAWN = "drawn"


@application("benchmark")
def main(config: Any) -> None:
    """Steer every generator by every policy, the first one also with each setting to choose, and leave the tables."""
    check_run(config)
    policies = load_policies(config.policies)
    user = policies[0]
    if not isinstance(user, Prompter):
        raise ValueError(f"the first of policies must write prompts, such as text:attribute, not {config.policies[0]}")
    options = {spec: options_of(config, spec) for spec in config.generators}
    for played in options.values():
        check_tasks(config.tasks, **{**played, "choose": config.choose})
    first, size, folder = config.generators[0], (config.tasks, config.tasks_per_batch), open_run(config)
    traces = {
        spec: play_suite(policies, *size, folder / "traces" / slug(spec), **played) for spec, played in options.items()
    }
    settings = {
        name: play_suite([user], *size, folder / "traces" / f"choosing-{name}", **{**options[first], "choose": [name]})
        for name in config.choose
    }
    lead = f"{len(policies)} policies on {config.tasks} tasks of {config.env.suite}, {config.env.rounds + 1} attempts; "
    lead += f"user {config.env.human}, metric {config.env.metric}. Standard errors in parentheses."
    publish(benchmark_report(Played(traces, settings, user.name, config.alignment), lead), folder, wide=True)
    close_run(folder, {"generators": list(traces), "tasks": config.tasks})


def options_of(config: Any, spec: str) -> dict[str, Any]:
    """The environment's options with a generator such as ``tiles`` or ``tiles:steps=1,guidance_scale=2``.

    Raises:
        ValueError: an unknown generator or option, or an alignment that is none of the judges.
    """
    options, (name, own) = env_options(config), parse_spec(spec)
    options["generator"] = {**config.env.generator_options, **own, "name": name}
    if config.alignment == DRAWN:
        generator, metric = load_generator(options["generator"]), load_metric(options["metric"])
        named = load_judges(options["judges"])
        options["judges"] = {**named, DRAWN: DrawnAlignment(metric, generator.image_shape)}
    elif config.alignment and config.alignment not in config.env.judges:
        raise ValueError(f"alignment must be {DRAWN}, one of env.judges, or empty, not {config.alignment!r}")
    return options


if __name__ == "__main__":
    main()
