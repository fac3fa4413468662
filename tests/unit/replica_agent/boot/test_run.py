"""What a boot asks of its way, and when."""

import json
import subprocess
import sys

from tests.fakes.boots import REPOSITORY


def test_a_way_settles_when_the_engine_is_healthy_and_not_when_it_has_its_weights(tmp_path):
    command = [sys.executable, "-m", "tests.fakes.followed_boot", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, check=True)
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["code"] == 0
    assert said["asked"] == ["release", "release", "ready", "settle", "release", "close"]
