"""Which precision is chosen on machines that are not this one: older CPUs and GPUs, Apple's."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
import torch

import stylegan3d
from stylegan3d import devices
from stylegan3d.base import ModelError
from stylegan3d.model.generator import Generator

CUDA, MPS, CPU = torch.device("cuda"), torch.device("mps"), torch.device("cpu")


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """What was found out about a simulated machine is not kept."""
    yield
    devices.cpu_has_bfloat16.cache_clear()
    devices.measured_dtype.cache_clear()


def simulate_cpu(
    monkeypatch: pytest.MonkeyPatch, *features: str, onednn: bool = True, machine: str = "x86_64"
) -> None:
    """A CPU with these features, which oneDNN may use for bfloat16 or not."""
    devices.cpu_has_bfloat16.cache_clear()
    devices.measured_dtype.cache_clear()
    monkeypatch.setattr(devices, "_cpu_has", lambda *names: bool({*names} & {*features}))
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: onednn)
    monkeypatch.setattr(devices.platform, "machine", lambda: machine)


def simulate_speed(monkeypatch: pytest.MonkeyPatch, **seconds: float) -> list[torch.dtype]:
    """A machine whose convolutions take so long; a precision not named has no kernel."""
    tried = []

    def measure(device: torch.device, dtype: torch.dtype) -> float:
        tried.append(dtype)
        if str(dtype)[6:] not in seconds:
            raise RuntimeError("not implemented for this precision")
        return seconds[str(dtype)[6:]]

    devices.measured_dtype.cache_clear()
    monkeypatch.setattr(devices, "_convolution_seconds", measure)
    return tried


@pytest.mark.parametrize(
    ("features", "onednn", "expected"),
    [
        (("avx512_bf16",), True, torch.bfloat16),
        (("amx_bf16",), True, torch.bfloat16),
        (("avx512_bf16",), False, torch.float32),  # told to leave AVX-512 alone
        ((), True, torch.float32),  # AVX-512 without BF16
        ((), False, torch.float32),  # AVX2 or less
    ],
)
def test_a_cpu_without_bfloat16_works_in_float32(
    monkeypatch: pytest.MonkeyPatch, features: tuple, onednn: bool, expected: torch.dtype
) -> None:
    simulate_cpu(monkeypatch, *features, onednn=onednn)
    assert devices.fast_dtype(CPU) == expected
    tried = simulate_speed(monkeypatch, float32=1.0, bfloat16=0.5, float16=0.1)
    assert devices.measured_dtype(CPU) == expected
    assert (torch.bfloat16 in tried) == (expected == torch.bfloat16), "what is emulated is slow"
    assert torch.float16 not in tried


def test_an_arm_cpu_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    simulate_cpu(monkeypatch, "asimdhp", machine="aarch64")
    simulate_speed(monkeypatch, float32=1.0, bfloat16=0.95, float16=0.5)
    assert devices.measured_dtype(CPU) == torch.float16
    assert devices.fast_dtype(CPU) == torch.float32, "float16 has not the range to fit with"


@pytest.mark.parametrize("native", [True, False])
def test_a_gpu_without_bfloat16_fits_in_float32(
    monkeypatch: pytest.MonkeyPatch, native: bool
) -> None:
    monkeypatch.setattr(
        torch.cuda,
        "is_bf16_supported",
        lambda including_emulation=True: including_emulation or native,
    )
    assert devices.fast_dtype(CUDA) == (torch.bfloat16 if native else torch.float32)


def test_a_gpu_without_half_precision_draws_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    simulate_speed(monkeypatch, float32=1.0)
    assert devices.measured_dtype(CUDA) == torch.float32


def test_half_precision_is_taken_only_where_it_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    simulate_speed(monkeypatch, float32=1.0, bfloat16=0.95, float16=0.92)
    assert devices.measured_dtype(MPS) == torch.float32
    simulate_speed(monkeypatch, float32=1.0, float16=0.5)
    assert devices.measured_dtype(MPS) == torch.float16
    assert devices.fast_dtype(MPS) == torch.float32


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_a_gpu_is_waited_for(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: waited.append("cuda"))
    monkeypatch.setattr(torch.mps, "synchronize", lambda: waited.append("mps"))
    devices.wait_for(torch.device(kind))
    devices.wait_for(CPU)
    assert waited == [kind]


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_the_best_device_there_is(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert devices.choose_device("auto").type == expected


def test_a_device_that_is_not_there_is_refused_in_a_sentence() -> None:
    with pytest.raises(ModelError, match="is not available on this machine; choose"):
        devices.choose_device("mps")


OLD_CPU = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
DRAW = """
import sys, torch, stylegan3d
from stylegan3d import devices
from tiny import tiny_generator
G = tiny_generator()
with torch.no_grad():
    volume = G.synthesize(stylegan3d.seed_latents(G, [1], truncation=0.7))
torch.save([torch.backends.cpu.get_cpu_capability(), devices.fast_dtype(G.device),
            devices.measured_dtype(G.device), volume], sys.argv[1])
"""


@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"), reason="needs an x86 CPU"
)
def test_a_cpu_without_avx512_draws_the_same_brain(
    tmp_path: os.PathLike, tiny_generator: Generator
) -> None:
    saved = os.path.join(tmp_path, "volume.pt")
    command = [sys.executable, "-c", DRAW, saved]
    environment = os.environ | OLD_CPU | {"PYTHONPATH": os.path.dirname(__file__)}
    subprocess.run(command, env=environment, check=True)
    capability, fast, measured, volume = torch.load(saved, weights_only=True)
    assert (capability, fast, measured) == ("AVX2", torch.float32, torch.float32)
    with torch.no_grad():
        latents = stylegan3d.seed_latents(tiny_generator, [1], truncation=0.7)
        here = tiny_generator.synthesize(latents)
    assert float((volume - here).abs().max()) < 1e-4


def test_workers_share_the_cores_and_give_them_back(two_threads: None) -> None:
    together = threading.Barrier(2, timeout=20)

    def work(number: int) -> tuple[int, int]:
        together.wait()  # with one at a time, nobody would come
        return 2 * number, torch.get_num_threads()

    with devices.workers() as mapped:
        assert list(mapped(work, range(4))) == [(0, 1), (2, 1), (4, 1), (6, 1)]
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
    with devices.workers() as mapped:
        assert mapped is map


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
def test_an_optimiser_without_torchs_compiler_steps_alike(kind):
    """What it was saved with goes on, too."""
    ways = []
    for made in (kind, devices.eager(kind)):
        weight = torch.nn.Parameter(torch.linspace(-1, 1, 7))
        optimiser = made([weight], lr=0.1)
        for again in (False, True):
            if again:
                state = optimiser.state_dict()
                optimiser = made([weight], lr=0.3)
                optimiser.load_state_dict(state)
            (weight**3).sum().backward()
            optimiser.step()
            optimiser.zero_grad()
            assert weight.grad is None
        ways.append(weight.detach())
    assert torch.equal(*ways)
