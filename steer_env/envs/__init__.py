"""Image steering as Gymnasium environments: thin shells around the batched dynamics."""

from steer_env.envs.single import ImageSteeringEnv
from steer_env.envs.vector import ImageSteeringVectorEnv

__all__ = ["ImageSteeringEnv", "ImageSteeringVectorEnv"]
