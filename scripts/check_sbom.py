"""Hold the bills of materials in a folder against CycloneDX's own schema."""

import sys
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

VALIDATOR = JsonStrictValidator(SchemaVersion.V1_6)


def main(folder: str) -> int:
    """1 if there is none, or one that the schema does not allow."""
    paths = sorted(Path(folder).glob("*.cdx.json"))
    for path in paths:
        problem = VALIDATOR.validate_str(path.read_text(encoding="utf-8"))
        if problem is not None:
            print(f"{path}: {problem.data}", file=sys.stderr)
            return 1
        print(f"{path}: valid CycloneDX 1.6")
    return not paths


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
