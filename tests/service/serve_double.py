"""`serve` around the deterministic engine, as a program: python serve_double.py [serve's options]."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from engine_double import make_engine

from flashmesh_core.server import add_serve_arguments, run_serve

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    add_serve_arguments(parser)
    sys.exit(run_serve(parser.parse_args(), factory=make_engine))
