"""Write what the product consists of as a CycloneDX bill of materials: `make sbom`.

Every package that the window and the commands need, with the hashes of the files that the lock
allows, its licence and what it needs in turn; and the networks and brains inside the wheel.
Packages for development are left out: nobody gets them with the product.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import uuid
from pathlib import Path
from typing import Any

from licences import read_licences
from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.utils import canonicalize_name
from supply import ROOT, RUN_EXTRAS, Pin, declared, needed_by, product_pins, setup_cfg, version

SPECIFICATION = "1.6"
# What the wheel brings besides code: folder in the checkout, and its kind in CycloneDX.
PARTS = {
    "weights/brain-t1-2mm": "machine-learning-model",
    "weights/labels-to-t1-2mm": "machine-learning-model",
    "weights/lesions-t1-2mm": "machine-learning-model",
    "weights/regions-t1-2mm": "machine-learning-model",
    "weights/tissue-t1-2mm": "machine-learning-model",
    "src/stylegan3d/atlas": "data",
    "napari_stylegan3d/samples": "data",
}


def main() -> int:
    """Write `<name>-<version>.cdx.json` into the folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("dist"))
    out = parser.parse_args().out
    bill = bill_of_materials()
    root = bill["metadata"]["component"]
    path = out / f"{root['name']}-{root['version']}.cdx.json"
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(bill, indent=1) + "\n", encoding="utf-8")
    print(f"{path}: {len(bill['components'])} components")
    return 0


def bill_of_materials() -> dict[str, Any]:
    """The whole document; the same sources give the same bytes."""
    about = setup_cfg()["metadata"]
    root = {
        "type": "application",
        "bom-ref": "product",
        "name": about["name"],
        "version": version(),
        "description": about["description"],
        "licenses": [{"expression": about["license"]}],
        "purl": f"pkg:pypi/{about['name']}@{version()}",
    }
    graph = needed_by(RUN_EXTRAS)
    # Those with a marker that this machine does not meet are counted in: whether the product or a
    # development tool needs them cannot be told from here.
    pins = {
        name: pin
        for name, pin in sorted(product_pins().items())
        if name in graph or pin.cuda or not pin.holds_here
    }
    stated = read_licences()
    components = [component(pin, stated[name]["licence"]) for name, pin in pins.items()]
    parts = [part(folder, kind) for folder, kind in PARTS.items()]
    direct = [canonicalize_name(requirement.name) for requirement in declared(RUN_EXTRAS)]
    edges = {pin.purl: graph.get(name, set()) for name, pin in pins.items()}
    edges = {
        ref: [pins[name].purl for name in names if name in pins] for ref, names in edges.items()
    }
    edges["product"] = [pins[name].purl for name in direct] + [one["bom-ref"] for one in parts]
    content = json.dumps([root, components, parts], sort_keys=True)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": SPECIFICATION,
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}",
        "version": 1,
        "metadata": {"component": root},
        "components": components + parts,
        "dependencies": [
            {"ref": ref, "dependsOn": sorted(set(needed))} for ref, needed in edges.items()
        ],
    }


def component(pin: Pin, licence: str) -> dict[str, Any]:
    """A package; its hashes are those of all files that the lock allows, one of which is used."""
    result: dict[str, Any] = {
        "type": "library",
        "bom-ref": pin.purl,
        "name": pin.name,
        "version": pin.version,
        "scope": "optional" if pin.cuda or pin.marker else "required",
        "licenses": [licence_entry(licence)],
        "purl": pin.purl,
        "externalReferences": [
            {
                "type": "distribution",
                "url": pin.purl,
                "hashes": [{"alg": "SHA-256", "content": value[7:]} for value in pin.hashes],
            }
        ],
    }
    if pin.marker:
        result["properties"] = [{"name": "python:marker", "value": pin.marker}]
    return result


def licence_entry(licence: str) -> dict[str, Any]:
    """An SPDX expression where it is one, else the name of a family of licences."""
    try:
        return {"expression": str(canonicalize_license_expression(licence))}
    except InvalidLicenseExpression:
        return {"license": {"name": licence}}


def part(folder: str, kind: str) -> dict[str, Any]:
    """A folder of networks or brains inside the wheel, file by file."""
    path = ROOT / folder
    card = path / "card.json"
    licence = json.loads(card.read_text(encoding="utf-8")).get("licence") if card.exists() else None
    files = sorted(file for file in path.iterdir() if file.is_file() and file.name[0] != ".")
    return {
        "type": kind,
        "bom-ref": f"part:{path.name}",
        "name": path.name,
        "version": version(),
        "licenses": [{"license": {"name": licence or "as its README.md says, file by file"}}],
        "components": [
            {
                "type": "file",
                "bom-ref": f"file:{path.name}/{file.name}",
                "name": file.name,
                "hashes": [
                    {"alg": "SHA-256", "content": hashlib.sha256(file.read_bytes()).hexdigest()}
                ],
            }
            for file in files
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
