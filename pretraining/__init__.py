"""How the embedded generator and the embedded metric were made."""

from steer_env.compatibility import mend_torchvision

mend_torchvision()  # before any module here imports diffusers
