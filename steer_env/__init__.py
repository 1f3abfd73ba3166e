"""steer_env: environments and evaluators for steering policies of generative models.

Importing it registers ``steer_env/ImageSteering-v0`` and ``steer_env/TextSteering-v0`` with Gymnasium; no model is
loaded until an environment is made.
"""

from gymnasium.envs.registration import register

__version__ = "0.1.0"

register(
    id="steer_env/ImageSteering-v0",
    entry_point="steer_env.envs:ImageSteeringEnv",
    vector_entry_point="steer_env.envs:ImageSteeringVectorEnv",
)
register(
    id="steer_env/TextSteering-v0",
    entry_point="steer_env.envs:TextSteeringEnv",
    vector_entry_point="steer_env.envs:TextSteeringVectorEnv",
)
