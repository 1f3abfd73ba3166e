"""Each command, as a user runs it, on the embedded model at the smallest size."""

import json
import re
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hydra import compose, initialize_config_module

from experiments import (
    bench,
    best_known,
    compare,
    decompose,
    evaluate,
    lottery,
    producibility,
    scaling,
    throughput,
    train,
)
from experiments.random_weights import operations
from steer_env.policies import load_policy
from steer_env.traces import read_traces, traces_to_frame

COMMANDS = [
    import_module(f"experiments.{path.stem}")
    for path in sorted(Path(train.__file__).parent.glob("*.py"))
    if "\n@application(" in path.read_text()
]


SHORT = ("env.rounds=2", "env.proposals=1")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "learned"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train", f"folder={folder}", "episodes=16", "batch=8"])
        train.main()
    return folder


def test_training_leaves_policy_result_traces_and_plots(trained: Path) -> None:
    policy = load_policy(trained / "policy")
    assert policy.name == "learned"
    assert policy.card.training is not None
    assert (policy.card.training.suite, policy.card.training.episodes) == ("tiles-train-v1", 16)
    assert policy.card.training.settings["prior_variance"] == 1.0
    result = json.loads((trained / "result.json").read_text())
    assert result["episodes"] == 16
    assert result["scales"] == load_policy(trained / "policy").scales.tolist()
    assert len(read_traces(trained / "traces")) == 16
    for name in ("config.yaml", "checkpoint.json", "training.png", "values.png"):
        assert (trained / name).stat().st_size > 0


@pytest.mark.parametrize("agent", ["thompson-eq9", "planning", "ppo", "a2c", "dqn"])
def test_every_agent_trains_and_its_learning_is_reported(
    agent: str, tmp_path: Path, command: Callable[..., None]
) -> None:
    run, table = tmp_path / "run", tmp_path / "table"
    command(train.main, f"agent={agent}", f"folder={run}", "episodes=32", "batch=8", "seed=2")
    assert load_policy(run / "policy").training_seed == 2
    command(evaluate.main, f"folder={table}", f"policies=[random-bucket,{run}]", "tasks=2", "strips=0")
    assert list((table / "figures").glob("what-was-learned*.png"))


def test_a_finished_run_is_never_overwritten_without_being_told_to(trained: Path, command: Callable[..., None]) -> None:
    before = (trained / "result.json").read_bytes()
    with pytest.raises(FileExistsError, match="holds a finished run: choose another folder, or overwrite=true"):
        command(train.main, f"folder={trained}", "episodes=16", "batch=8")
    assert (trained / "result.json").read_bytes() == before


def test_an_unfinished_run_of_another_configuration_is_refused(tmp_path: Path, command: Callable[..., None]) -> None:
    command(train.main, f"folder={tmp_path}", "episodes=8", "batch=8")
    (tmp_path / "result.json").unlink()
    with pytest.raises(FileExistsError, match="unfinished run with other seed"):
        command(train.main, f"folder={tmp_path}", "episodes=8", "batch=8", "seed=1")
    command(train.main, f"folder={tmp_path}", "episodes=8", "batch=8", "seed=1", "overwrite=true")
    assert load_policy(tmp_path / "policy").training_seed == 1


def test_a_run_may_go_on_with_a_bank_of_goals_elsewhere(tmp_path: Path, command: Callable[..., None]) -> None:
    options = (f"folder={tmp_path / 'run'}", "episodes=8", "batch=4", "env.rounds=1")
    command(train.main, *options, f"env.goal_bank={tmp_path / 'one'}")
    assert len(list((tmp_path / "one").glob("*/*.safetensors"))) == 2 * 8
    (tmp_path / "run" / "result.json").unlink()
    with pytest.raises(FileExistsError, match="unfinished run with other env"):
        command(train.main, *options)
    command(train.main, *options, f"env.goal_bank={tmp_path / 'two'}")
    assert (tmp_path / "run" / "result.json").exists()


def test_overwriting_deletes_a_runs_own_files_alone(tmp_path: Path, command: Callable[..., None]) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for episodes in (16, 8):
        command(train.main, f"folder={tmp_path}", f"episodes={episodes}", "batch=8", "overwrite=true")
    assert len(read_traces(tmp_path / "traces")) == 8
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_evaluation_leaves_a_report_and_goes_on_where_it_stopped(
    trained: Path, tmp_path: Path, command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    options = [f"folder={tmp_path}", f"policies=[random-bucket,{trained}]", "tasks=6", "tasks_per_batch=2", "strips=1"]
    command(evaluate.main, *options)
    assert "random bucket" in capsys.readouterr().out
    report = (tmp_path / "report.html").read_text()
    assert report.count("data:image/png;base64,") == 5
    markdown = (tmp_path / "report.md").read_text()
    assert "| learned | 6 |" in markdown
    first, *rest = sorted((tmp_path / "traces").iterdir())
    untouched = first.stat().st_mtime_ns
    for path in (*rest, tmp_path / "result.json"):
        path.unlink()
    command(evaluate.main, *options)
    assert first.stat().st_mtime_ns == untouched
    assert (tmp_path / "report.md").read_text() == markdown


def test_episodes_are_drawn_where_judges_have_options(tmp_path: Path, command: Callable[..., None]) -> None:
    options = ("tasks=2", "strips=1", "policies=[random-bucket]", "+env.judge_options.pixel-correlation={}", *SHORT)
    command(evaluate.main, f"folder={tmp_path}", *options)
    assert (tmp_path / "figures" / "episodes.png").stat().st_size > 0


def test_table_1_comes_from_one_command(trained: Path, tmp_path: Path, command: Callable[..., None]) -> None:
    players = f"policies=[{trained},random-session,text:blind,text:feedback,text:attribute]"
    options = [f"folder={tmp_path / 'one'}", players, "baseline=text attribute", "tasks=4", "tasks_per_batch=3"]
    command(evaluate.main, *options, "strips=1")
    report = (tmp_path / "one" / "report.md").read_text()
    for name in ("text attribute", "text blind", "text feedback", "random scale per session", "learned"):
        assert f"| {name} | 4 |" in report
    assert "## Paired differences from “text attribute”" in report
    assert (tmp_path / "one" / "figures" / "episodes.png").stat().st_size > 0
    (tmp_path / "one" / "result.json").unlink()
    (tmp_path / "one" / "traces" / "00000003.parquet").unlink()
    command(evaluate.main, *options, "strips=1")
    assert (tmp_path / "one" / "report.md").read_text() == report
    other = ["policies=[random-session]", "baseline=random scale per session", "env.distribution=antithetic"]
    command(evaluate.main, f"folder={tmp_path / 'two'}", *other, "tasks=4", "strips=0")
    both = f"evaluations=[{tmp_path / 'one'},{tmp_path / 'two'}]"
    command(compare.main, f"folder={tmp_path / 'both'}", both, "baseline=text attribute")
    compared = (tmp_path / "both" / "report.md").read_text()
    assert "| random scale per session, antithetic | 4 |" in compared
    assert "| text blind | 4 |" in compared


def test_evaluations_of_different_mechanisms_are_compared_task_by_task(
    tmp_path: Path, command: Callable[..., None]
) -> None:
    options = ["policies=[constant:1.0]", "baseline=constant 1.0", "tasks=4", "strips=0"]
    for name in ("mixture", "antithetic"):
        command(evaluate.main, f"folder={tmp_path / name}", f"env.distribution={name}", *options)
    both = f"evaluations=[{tmp_path / 'mixture'},{tmp_path / 'antithetic'}]"
    command(compare.main, f"folder={tmp_path / 'both'}", both, "baseline='constant 1.0, mixture'")
    assert "| constant 1.0, antithetic | 4 |" in (tmp_path / "both" / "report.md").read_text()
    command(evaluate.main, f"folder={tmp_path / 'val'}", "env.suite=tiles-val-v1", *options)
    other = f"evaluations=[{tmp_path / 'mixture'},{tmp_path / 'val'}]"
    with pytest.raises(ValueError, match="with different suite can't be taken together: tiles-test-v1, tiles-val-v1"):
        command(compare.main, f"folder={tmp_path / 'no'}", other)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("env.suite=tiles-test-v9", "unknown suite 'tiles-test-v9'"),
        ("policies=[text:atribute]", "unknown prompter 'atribute'; did you mean 'attribute'"),
        ("policies=[random-bucket,no/such/run]", "holds no policy: train one there first"),
        ("baseline=published", "the baseline 'published' isn't among the policies evaluated: random bucket"),
        ("tasks=1", "tasks must be 2 to 2000, the size of tiles-test-v1, got 1"),
        ("tasks=2001", "got 2001"),
    ],
)
def test_errors_come_before_any_work(tmp_path: Path, command: Callable[..., None], override: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        command(evaluate.main, f"folder={tmp_path / 'new'}", override)
    assert not (tmp_path / "new").exists()


def test_the_best_known_policy_is_raced_for(tmp_path: Path, command: Callable[..., None]) -> None:
    for seed in (0, 1):
        told = ("episodes=16", "batch=8", f"seed={seed}", *SHORT)
        command(train.main, f"folder={tmp_path / 'sweep' / str(seed)}", *told)
    given = (f"folder={tmp_path / 'best'}", f"trainings=['{tmp_path}/sweep/*']", "tasks=3", *SHORT)
    with pytest.raises(ValueError, match="is no bandit"):
        command(best_known.main, *given, "agents=[ppo]")
    with pytest.raises(ValueError, match="tasks must be 2 to"):
        command(best_known.main, *given, "tasks=1")
    command(best_known.main, *given, "agents=[planning,'planning:pooling=false']", "policies=['constant:0.4']")
    frame = traces_to_frame(read_traces(tmp_path / "best" / "traces"))
    means = frame.groupby("policy")["improvement"].mean()
    assert set(means.index) == {"constant 0.4", "planning", "planning:pooling=false"}
    found = load_policy(tmp_path / "best" / "policy")
    assert found.name == "best of 2 trainings"
    assert found.card.training is not None
    assert found.card.training.episodes == 32
    assert found.card.training.settings["found by"] == means.idxmax()
    assert found.card.training.settings["trainings"] == 2
    command(train.main, f"folder={tmp_path / 'sweep' / 'other'}", "episodes=8", "batch=8", "env.human=hesitant", *SHORT)
    with pytest.raises(ValueError, match="with different human can't be taken together: greedy, hesitant"):
        command(best_known.main, *given, "overwrite=true")


def test_the_share_of_luck_comes_from_two_evaluations(tmp_path: Path, command: Callable[..., None]) -> None:
    steered, drawn, lucky = (tmp_path / name for name in ("steered", "drawn", "lucky"))
    command(evaluate.main, f"folder={steered}", "policies=['text:attribute']", "baseline='text attribute'", "tasks=4")
    command(
        evaluate.main, f"folder={drawn}", "policies=['text:blind']", "baseline='text blind'", "tasks=4", "env.rounds=7"
    )
    given = (f"folder={lucky}", f"evaluation={steered}", f"blind_evaluation={drawn}")
    with pytest.raises(ValueError, match="was played with 7 attempts"):
        command(lottery.main, *given)
    with pytest.raises(ValueError, match="has no policy 'me'; it has: text attribute"):
        command(lottery.main, *given, "user=me")
    assert not lucky.exists()
    command(lottery.main, *given, "attempts=[4,7]")
    assert "share of the user's improvement" in (lucky / "report.md").read_text()
    assert list((lucky / "figures").glob("*.png"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "agent.prior_varianse=2",
            "unknown option of train 'prior_varianse'; did you mean 'prior_variance'? There are: ",
        ),
        ("+epochs=3", "unknown option of train 'epochs'; .*There are: folder, episodes, batch"),
        ("env.suit=x", "did you mean 'suite'"),
    ],
)
def test_a_typo_is_an_error_that_lists_what_exists(command: Callable[..., None], override: str, message: str) -> None:
    with pytest.raises(SystemExit, match=message.replace("?", "[?]")):
        command(train.main, "folder=x", override)


@pytest.mark.parametrize("name", ["published", "'a|b'"])
def test_a_training_has_a_name_that_its_policy_may_have(
    tmp_path: Path, command: Callable[..., None], name: str
) -> None:
    with pytest.raises(ValueError, match=r"like a built-in one|name must be 1 to 80 plain characters"):
        command(train.main, f"folder={tmp_path / 'new'}", f"agent.name={name}")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("experiment", COMMANDS)
def test_help_explains_every_option(
    experiment: ModuleType, command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        command(experiment.main, "--help")
    found = capsys.readouterr().out
    options = re.findall(r"^(\w+):", found[found.index("== Config ==") :], flags=re.MULTILINE)
    explained = found[: found.index("== Config ==")]
    assert options
    for option in options:
        assert re.search(rf"\b{option}\b", explained), f"{option} isn't explained"


def test_fewer_seeds_are_steered_and_searched(
    tmp_path: Path, command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    small = (f"folder={tmp_path}", "seeds=[1,0]", "tasks=4", "goals=3", "variations=2", "tries=3", "env.rounds=1")
    command(producibility.main, *small)
    assert "goals of another generator, drawn tiles" in capsys.readouterr().out
    assert (tmp_path / "figures" / "fewer-seeds-figure-7.png").stat().st_size > 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert [len(result["produced"][n]) for n in ("1", "0")] == [3, 3]
    mechanisms = [read_traces(tmp_path / "traces" / f"{n}-seeds")[0].mechanism for n in (1, 0)]
    assert mechanisms == ["text seeds=1", "text"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["user=random-bucket"], "user must be someone who writes prompts, such as text:attribute, not random-bucket"),
        (["seeds=[1,1]"], r"seeds must be different numbers from 1, or 0 for all, got \[1, 1\]"),
        (["tries=0"], "tries must be at least 1, got 0"),
    ],
)
def test_a_search_that_cant_be_is_refused(
    tmp_path: Path, command: Callable[..., None], options: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        command(producibility.main, f"folder={tmp_path / 'new'}", *options)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("experiment", COMMANDS)
def test_no_librarys_warnings_are_silenced(experiment: ModuleType) -> None:
    name = experiment.__name__.rpartition(".")[2]
    with initialize_config_module("conf", version_base="1.3"):
        hydra = compose(name, return_hydra_config=True).hydra
    for logging in (hydra.job_logging, hydra.hydra_logging):
        assert not logging.disable_existing_loggers


def test_the_benchmark_prints_its_table(command: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    command(bench.main, "sizes=[1,4]", "episodes=4", "reference_episodes=1", "repeats=1")
    printed = capsys.readouterr().out
    rows = [line for line in printed.splitlines() if re.match(r"\| (1|4|reference)", line)]
    assert len(rows) == 3
    assert re.search(r"\| overhead \|", printed)


@pytest.mark.slow
def test_the_scaling_is_measured_on_gpus_that_wait(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    command(scaling.main, "counts=[1]", "batches=3", "part=2", "limit_batches=8", "episodes_per_second=10", "gpus=2")
    printed = capsys.readouterr().out
    rates = re.search(r"^\| 1 \| 10.00 \| ([\d.]+) \(\d+%\) \| ([\d.]+) ", printed, flags=re.MULTILINE)
    assert rates
    assert all(0 < float(rate) <= 10 for rate in rates.groups())
    assert re.search(r"2 GPUs of 10 episodes/s need 20 episodes/s, \d+ times less", printed)


def test_a_small_generator_is_measured_against_the_plain_pipeline_and_the_hardware(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    small = ("size=small", "device=cpu", "dtype=float32", "steps=2", "batches=[1,4]", "repeats=1")
    command(throughput.main, *small, "channels_last=true", "decode_batch=2")
    printed = capsys.readouterr().out
    rows = re.findall(r"^\| (1|4|plain pipeline) \| ([\d.]+) \|", printed, flags=re.MULTILINE)
    assert [name for name, _ in rows] == ["1", "4", "plain pipeline"]
    assert all(float(rate) > 0 for _, rate in rows)
    assert re.search(r"60,000 episodes of 10 images would take [\d.]+ h on one such device", printed)
    assert "channels_last=True, compile=, tf32=False, decode_batch=2" in printed


def test_what_an_image_of_stable_diffusion_costs() -> None:
    """Counted elsewhere at 512 × 512: 0.803 TFLOP a pass of the UNet, 2.51 to decode."""
    denoiser, decoder = operations("sd14")
    assert denoiser == pytest.approx(0.803e12, rel=0.01)
    assert decoder == pytest.approx(2.51e12, rel=0.01)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_isnt_there_is_said_before_any_work(command: Callable[..., None]) -> None:
    with pytest.raises(ValueError, match="there is no GPU that torch can use here: device=cpu size=small"):
        command(throughput.main)


def test_the_benchmark_refuses_what_its_reference_cannot_play(command: Callable[..., None]) -> None:
    with pytest.raises(ValueError, match="the reference loop plays the embedded generator 'tiles', not 'mine'"):
        command(bench.main, "env.generator=mine")


def test_generators_of_different_steps_are_decomposed(tmp_path: Path, command: Callable[..., None]) -> None:
    for steps in (1, 2):
        options = ("tasks=12", "strips=0", *SHORT, f"+env.generator_options.steps={steps}")
        command(evaluate.main, f"folder={tmp_path / str(steps)}", *options, "policies=[random-bucket]")
    one, two = tmp_path / "1", tmp_path / "2"
    command(decompose.main, f"folder={tmp_path / 'terms'}", f"evaluations=[{two},{one}]", "components=3")
    report = (tmp_path / "terms" / "report.md").read_text()
    assert "| + goal image |" in report
    assert re.search(r"\| tiles-\w+ steps=1 \|", report)
    assert len(list((tmp_path / "terms" / "figures").glob("*.png"))) == 1
    with pytest.raises(ValueError, match="at least two generators, each once"):
        command(decompose.main, f"folder={tmp_path / 'no'}", f"evaluations=[{one},{one}]")
    other = ("tasks=12", "policies=[published]", "baseline=published", *SHORT)
    command(evaluate.main, f"folder={tmp_path / 'other'}", *other)
    with pytest.raises(ValueError, match=r"with different policy .* published, random bucket"):
        command(decompose.main, f"folder={tmp_path / 'no'}", f"evaluations=[{one},{tmp_path / 'other'}]")
    assert not (tmp_path / "no").exists()
