"""Look for published weaknesses of the locked packages: `make audit`.

pip-audit asks a source of advisories about each version in the locks. Status 0: none is known;
1: some are, and are listed; 3: no source could be reached, so something was not checked.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from supply import CUDA_LOCK, ROOT, RUN_LOCK, SOAK_LOCK, TOOLS_LOCK, TORCH_LOCK, read_lock

FOUND, NOT_CHECKED = 1, 3
# The tools have an environment of their own, so they may have a package in another version.
ENVIRONMENTS = ((RUN_LOCK, TORCH_LOCK, CUDA_LOCK, SOAK_LOCK), (TOOLS_LOCK,))


def main() -> int:
    """Audit every lock and tell what was found and what was not looked at."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pip-audit", required=True, help="the pip-audit program")
    parser.add_argument("--service", choices=("osv", "pypi"), default="osv", help="who is asked")
    parser.add_argument("--timeout", type=int, default=15, help="seconds to wait for an answer")
    args = parser.parse_args()
    checked = weak = 0
    skipped: list[tuple[str, str]] = []
    for locks in ENVIRONMENTS:
        pins = [pin for lock in locks for pin in read_lock(lock).values()]
        for package in asked(args, [f"{pin.name}=={pin.version}" for pin in pins]):
            if "skip_reason" in package:
                skipped.append((package["name"], package["skip_reason"]))
                continue
            checked += 1
            weak += bool(package["vulns"])
            for one in package["vulns"]:
                mended = ", ".join(one["fix_versions"]) or "no version yet"
                print(f"{package['name']} {package['version']}: {one['id']}, mended in {mended}")
    return report(checked, skipped, weak, args.service)


def report(checked: int, skipped: list[tuple[str, str]], weak: int, service: str) -> int:
    """Say it in a sentence; the exit status."""
    if not checked:
        names = ", ".join(lock.relative_to(ROOT).as_posix() for lock in sum(ENVIRONMENTS, ()))
        print(
            f"No advisories could be had from {service} ({skipped[0][1]}): none of "
            f"the {len(skipped)} packages in {names} was checked for published weaknesses.",
            file=sys.stderr,
        )
        return NOT_CHECKED
    print(f"{checked} packages checked with {service}, {weak} with known weaknesses.")
    if skipped:
        print(f"Not checked: {', '.join(sorted({name for name, _ in skipped}))}.", file=sys.stderr)
    return FOUND if weak else NOT_CHECKED if skipped else 0


def asked(args: argparse.Namespace, pins: list[str]) -> list[dict]:
    """pip-audit's answer for each `name==version`; "skip_reason" for those it has none for."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder, "pins.txt")
        wanted.write_text("\n".join(pins) + "\n", encoding="utf-8")
        command = [args.pip_audit, "--requirement", str(wanted), "--no-deps", "--disable-pip"]
        command += ["--vulnerability-service", args.service, "--format", "json"]
        command += ["--progress-spinner", "off", "--timeout", str(args.timeout)]
        result = subprocess.run(command, capture_output=True, text=True)
    try:
        return json.loads(result.stdout)["dependencies"]
    except (json.JSONDecodeError, KeyError):
        error = (result.stderr.strip().splitlines() or ["no answer"])[-1]
        reason = error.partition(":")[0].rpartition(".")[2]  # such as ConnectionError
        return [{"name": pin.partition("==")[0], "skip_reason": reason} for pin in pins]


if __name__ == "__main__":
    sys.exit(main())
