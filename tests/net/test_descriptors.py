import subprocess
import sys

SCRIPT = """
import resource
from lb.net.descriptors import raise_limit
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 512))
print(raise_limit(), resource.getrlimit(resource.RLIMIT_NOFILE))
print(raise_limit())
"""


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    ran = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == ["512 (512, 512)", "512"]
