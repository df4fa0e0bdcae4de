#!/bin/sh
# Renew the locks after a change in setup.cfg, or with newer versions: sh scripts/lock.sh [--upgrade]
# Versions stay unless setup.cfg asks for others. One lock serves every Python and system; wheels only, so
# that nothing of a stranger's runs while it is installed. torch and CUDA's libraries have files of their own:
# which build of torch it is, is the machine's choice (scripts/setup.sh).
set -eu
tools=.venv-tools/bin
sh scripts/tools.sh

compile() {  # FILE SOURCE...
    out=$1
    shift
    $tools/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --only-binary :all: \
        --fork-strategy fewest --no-config --no-header --no-emit-index-url --output-file "$out" "$@" >/dev/null
}

all=$(mktemp)
cat locks/run.lock locks/torch.lock locks/cuda.lock >"$all"
old=$(grep '^torch==' locks/torch.lock)
builds=$(grep -o 'sha256:[0-9a-f]*' locks/torch.lock)
wanted='import configparser; c = configparser.ConfigParser(); c.read("setup.cfg"); o = c["options.extras_require"]
print(c["options"]["install_requires"], *(o[e] for e in ("all", "train", "testing", "docs", "lint")), sep="\n")'
.venv/bin/python -c "$wanted" | compile "$all" - "$@"
compile locks/tools.lock locks/tools.in "$@"

# What only PyPy needs is left out: torch is made for CPython alone.
awk '/^[a-z0-9]/ { file = /^(nvidia|cuda)-|^triton/ ? "cuda" : /^torch==/ ? "torch" : /pypy/ ? "" : "run" }
     file { print > ("locks/" file ".lock") }' "$all"
# Builds of torch that are published apart from the others, such as the CPU build that pip takes here.
wheels=$(mktemp -d)
pin=$(sed -n 's/^\(torch==[^ ]*\).*/\1/p' locks/torch.lock)
.venv/bin/python -m pip download --quiet --no-deps --dest "$wheels" "$pin"
here=sha256:$(sha256sum "$wheels"/*.whl | cut -d' ' -f1)
[ "$old" = "$(grep '^torch==' locks/torch.lock)" ] || builds=
for hash in $builds $here; do
    grep -q "$hash" locks/torch.lock || sed -i "s/^\(torch==.*\)/\1\n    --hash=$hash \\\\/" locks/torch.lock
done
rm -rf "$all" "$wheels"
{
    echo "# The versions of the locks without the hashes, for an environment of your own; scripts/lock.sh writes this file."
    sed -n 's/^\([a-z0-9][^\\]*[^ \\]\) *\\$/\1/p' locks/run.lock locks/torch.lock | LC_ALL=C sort
} >constraints.txt
