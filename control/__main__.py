"""`python -m control --config FILE`: run the control role."""

from control.config import ControlSettings
from control.serve import serve
from dormouse.base.role import run

if __name__ == "__main__":
    run("control", ControlSettings, serve)
