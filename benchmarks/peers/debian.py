"""What Debian's packages say of themselves."""

import subprocess


def debian_version(package: str) -> dict[str, str]:
    """Return the version of an installed package."""
    command = ["dpkg-query", "-W", "-f", "${Version}", package]
    return {package: subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()}
