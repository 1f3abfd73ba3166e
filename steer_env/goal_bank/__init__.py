"""Goals and first images that were made before, kept on disk for other runs and processes."""

from steer_env.goal_bank.files import GoalBank

__all__ = ["GoalBank"]
