"""`python -m storage --config FILE`: runs the storage role."""

from dormouse.base.role import run
from storage.config import StorageSettings
from storage.server import serve

if __name__ == "__main__":
    run("storage", StorageSettings, serve)
