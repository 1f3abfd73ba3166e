"""Image and text steering as Gymnasium environments: thin shells around the batched dynamics."""

from steer_env.envs.base import SteeringVectorEnv
from steer_env.envs.single import ImageSteeringEnv, TextSteeringEnv
from steer_env.envs.text import TextSteeringVectorEnv
from steer_env.envs.vector import ImageSteeringVectorEnv

__all__ = [
    "ImageSteeringEnv",
    "ImageSteeringVectorEnv",
    "SteeringVectorEnv",
    "TextSteeringEnv",
    "TextSteeringVectorEnv",
]
