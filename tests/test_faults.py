"""The faults that an attack found on the landed project, by kind, and the tests that fail where one comes back.

Each example was found by hand first; docs/reliability.md says what was tried since, and what it found.
"""

from __future__ import annotations

import ast
from functools import lru_cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
_PARTS, _RUNS, _POLICIES = "steer_env", "experiments", "steer_env/policies"
EXAMPLES: dict[str, tuple[str, ...]] = {
    "A1 stochastic schedulers": (
        f"{_PARTS}/test_checkpoints.py::test_a_scheduler_that_draws_noise_is_refused",
        f"{_PARTS}/test_checkpoints.py::test_a_named_solver_that_takes_over_the_noise_is_refused",
        f"{_PARTS}/test_pipelines.py::test_a_scheduler_that_draws_noise",
    ),
    "A2 guidance as an input": (f"{_PARTS}/test_checkpoints.py::test_the_image_is_the_pipelines_in_one_pass",),
    "A3 sample_size": (
        f"{_PARTS}/test_checkpoints.py::test_images_may_be_wider_than_high",
        f"{_PARTS}/test_checkpoints.py::test_a_size_that_is_none",
    ),
    "A4 variants": (f"{_PARTS}/test_checkpoints.py::test_weights_of_a_variant",),
    "A5 twice, and beside the pipeline": (
        f"{_PARTS}/test_checkpoints.py::test_an_image_that_is_another_each_time",
        f"{_PARTS}/test_checkpoints.py::test_a_demand_that_isnt_met",
        f"{_PARTS}/test_checkpoints.py::test_schedulers_that_draw_nothing_are_the_checkpoints_own",
        f"{_PARTS}/test_checkpoints.py::test_weights_that_are_missing_arent_drawn_at_random",
    ),
    "B1 torch's defaults": (
        f"{_PARTS}/test_defaults.py::test_episodes_are_the_same",
        f"{_PARTS}/test_defaults.py::test_anothers_autocast_changes_nothing",
        f"{_PARTS}/test_defaults.py::test_precision_may_be_set_in_torchs_newer_way",
    ),
    "B2 another folder's file": (
        f"{_PARTS}/test_tasks.py::test_a_file_is_that_of_the_current_folder_as_it_is_now",
        f"{_PARTS}/test_registry.py::test_what_a_path_leads_to_counts",
    ),
    "B3 ties": (
        f"{_PARTS}/test_ties.py::test_rounding_does_not_decide",
        f"{_PARTS}/test_dynamics.py::test_an_episode_depends_neither_on_its_batch_nor_on_threads",
    ),
    "C1 a comma without quotes": (
        f"{_PARTS}/test_tasks.py::test_a_bad_file_of_tasks_is_refused",
        f"{_RUNS}/run/headlines/test_tasks.py::test_a_bad_file_is_an_error_with_its_line",
        f"{_RUNS}/test_jnd.py::test_votes_with_a_field_too_many_arent_shifted",
    ),
    "C2 seeds and encodings": (
        f"{_PARTS}/test_tasks.py::test_a_bad_file_of_tasks_is_refused",
        f"{_PARTS}/test_tasks.py::test_seeds_as_a_data_frame_writes_them",
        f"{_PARTS}/test_tasks.py::test_another_encoding_is_named_with_the_file",
    ),
    "C3 options out of range": (
        f"{_RUNS}/test_efficiency.py::test_bad_input_is_refused_before_any_training",
        f"{_RUNS}/test_mechanisms.py::test_bad_options_before_any_work",
        f"{_RUNS}/test_tune.py::test_bad_input_is_refused_before_any_training",
        f"{_RUNS}/test_commands.py::test_errors_come_before_any_work",
        f"{_PARTS}/test_limits.py::test_a_parts_number_is_in_its_declared_range_or_refused_in_one_line",
    ),
    "D one line": (
        f"{_RUNS}/attack/test_attack.py::test_nothing_that_is_tried_fails",
        f"{_RUNS}/attack/test_attack.py::test_every_command_has_wrong_options",
        f"{_RUNS}/test_rooms.py::test_help_and_a_wrong_option_are_answered_before_anything_heavy_is_imported",
        "agents/test_seeing.py::test_settings_are_refused_before_anything_is_made",
    ),
    "E1 names of jobs": (
        f"{_RUNS}/test_launchers.py::test_a_job_has_one_short_plain_folder_of_its_own",
        f"{_POLICIES}/test_names.py::test_patterns_stand_for_the_folders_that_hold_policies",
    ),
    "E2 a tilde and an at": (
        f"{_PARTS}/test_tasks.py::test_paths_may_hold_an_at_and_a_tilde",
        f"{_RUNS}/run/headlines/test_tasks.py::test_a_path_may_hold_an_at",
    ),
    "E3 a folder called published": (f"{_POLICIES}/test_names.py::test_a_built_in_name_is_the_built_in_policy",),
    "E4 overwriting what is evaluated": (
        f"{_RUNS}/test_commands.py::test_an_evaluation_never_overwrites_the_training_that_it_evaluates",
    ),
    "F printing": (
        f"{_RUNS}/test_console.py::test_help_is_printed_in_any_encoding",
        f"{_RUNS}/test_console.py::test_a_full_stdout_is_no_failure",
        f"{_RUNS}/test_console.py::test_what_a_full_stream_cannot_take_is_lost",
        "agents/test_loggers.py::test_what_the_environment_says_of_wandb_is_heeded",
    ),
    "G1 writes through links": (
        f"{_PARTS}/test_files.py::test_a_policy_is_not_written_through_a_link",
        f"{_PARTS}/test_files.py::test_json_is_not_written_through_a_link",
        f"{_RUNS}/test_leaderboard.py::test_claims_lie_with_the_board_and_nothing_is_written_to_submissions",
    ),
    "G2 names of others": (
        f"{_POLICIES}/test_submissions.py::test_names_of_built_in_policies_are_theirs",
        f"{_POLICIES}/test_submissions.py::test_names_are_plain",
        f"{_POLICIES}/test_submissions.py::test_submissions_may_not_look_like_each_other",
    ),
    "G3 one bad submission": (
        f"{_RUNS}/test_leaderboard.py::test_a_bad_submission_is_a_row_of_its_own",
        f"{_POLICIES}/test_submissions.py::test_a_submission_without_a_policy_stops_no_board",
    ),
    "G4 claims": (
        "evaluation/test_claims.py::test_few_tasks_buy_nothing",
        f"{_RUNS}/test_leaderboard.py::test_a_claim_is_verified_on_its_own_episodes_and_with_fresh_noise",
    ),
    "G5 strangers' text": (
        "evaluation/test_reports.py::test_what_strangers_wrote_is_text_in_both_pages",
        f"{_RUNS}/test_sweeps.py::test_what_lies_in_a_run_folder_is_neither_looked_up_nor_obeyed",
    ),
    "G6 what is opened": (
        f"{_POLICIES}/test_policies.py::test_a_pickle_is_refused_and_never_loaded",
        f"{_POLICIES}/test_policies.py::test_an_archive_under_another_name_is_refused",
        f"{_RUNS}/attack/test_attack.py::test_the_watch_sees_what_is_touched_read_and_run",
    ),
    "H endpoints and secrets": (
        f"{_PARTS}/test_image_endpoint.py::test_what_a_server_may_do_is_one_line",
        f"{_PARTS}/test_image_endpoint.py::test_a_refusal_for_the_time_being_is_tried_again_after_a_bounded_pause",
        f"{_PARTS}/humans/test_endpoint.py::test_a_lone_surrogate_is_kept_as_another_letter",
        f"{_PARTS}/humans/test_endpoint.py::test_a_server_that_repeats_the_key_tells_nobody",
        f"{_PARTS}/humans/test_endpoint.py::test_a_key_that_is_repeated_in_an_answer_isnt_kept",
        f"{_RUNS}/test_console.py::test_secrets_reach_neither_configuration_nor_errors",
        f"{_PARTS}/test_supply_chain.py::test_no_code_of_a_checkpoint_is_run_and_nobody_is_asked_to",
    ),
    "I what is lost": (
        "agents/test_training.py::test_a_folder_that_is_removed_while_a_run_is_at_work_is_an_error",
        "agents/test_training.py::test_a_deleted_and_a_foreign_file_of_traces_are_refused_by_name",
        "agents/test_training.py::test_what_is_damaged_is_refused_by_name",
        "evaluation/test_suites.py::test_a_folder_that_is_removed_meanwhile_is_an_error",
    ),
    "J numbers of NumPy, and processes": (
        f"{_PARTS}/test_registry.py::test_numbers_of_numpy_become_pythons",
        f"{_PARTS}/envs/test_clients.py::test_processes_of_their_own",
    ),
    "K1 observations": (
        f"{_PARTS}/envs/test_clients.py::test_a_flat_observation_holds_the_named_parts_in_their_order",
        f"{_PARTS}/envs/test_clients.py::test_cleanrl",
        f"{_PARTS}/envs/test_clients.py::test_stable_baselines3",
        f"{_PARTS}/envs/test_clients.py::test_rllib",
    ),
    "K2 ids with a module": (f"{_PARTS}/test_envs.py::test_module_qualified_id",),
    "K3 traces for other tools": (f"{_PARTS}/test_traces.py::test_other_tools_read_the_file",),
    "K4 completion and folders": (
        f"{_RUNS}/test_commands.py::test_the_shell_may_complete",
        f"{_RUNS}/test_launchers.py::test_what_isnt_there_is_an_error_that_says_what_is",
    ),
    "K5 sweeps of W&B": ("agents/test_loggers.py::test_a_trial_of_a_wandb_sweep_has_the_agents_id",),
    "K6 arguments": (
        f"{_PARTS}/test_envs.py::test_type_checkers_know_all_arguments",
        f"{_PARTS}/test_envs.py::test_bad_arguments",
    ),
    "K7 what libraries look for": (
        f"{_PARTS}/envs/test_clients.py::test_infos_have_the_same_keys_at_reset_and_step",
        f"{_PARTS}/envs/test_clients.py::test_calls_and_attributes",
        f"{_PARTS}/envs/test_clients.py::test_skrl",
        f"{_PARTS}/envs/test_clients.py::test_minari",
        f"{_PARTS}/envs/test_clients.py::test_keys_play_every_scale",
    ),
    "K8 the wheel": ("test_readme.py::test_the_python_examples_run_from_the_wheel",),
    "K9 what is printed": (
        f"{_PARTS}/envs/test_clients.py::test_nothing_is_printed_but_one_short_line_about_a_prompt_that_is_cut",
    ),
}
"""Example → tests, as ``file::function``, below this folder."""


@lru_cache
def functions(path: Path) -> frozenset[str]:
    """Names of a file's functions."""
    return frozenset(node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("example", EXAMPLES)
def test_each_fault_has_its_tests(example: str) -> None:
    for test in EXAMPLES[example]:
        file, _, name = test.partition("::")
        assert name in functions(TESTS / file), test


def test_all_kinds_are_there() -> None:
    assert {example[0] for example in EXAMPLES} == set("ABCDEFGHIJK")
