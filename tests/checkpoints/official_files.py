"""Makes network files as the original 3D-StyleGAN writes them, in any variant, with random weights.

The pickler is Python's own; a stand-in class takes the name of the original's `Network` while the
file is written.
"""

import io
import pickle
import sys
import types
import warnings
from contextlib import contextmanager
from unittest import mock

import numpy as np


class Network:
    """Pickled as the original's class: an empty object and its state."""

    def __init__(self, **state):
        self.state = state

    def __getstate__(self):
        return self.state


@contextmanager
def original_modules():
    """The original's module, with the stand-in in it."""
    names = ("dnnlib", "dnnlib.tflib", "dnnlib.tflib.network")
    modules = {name: types.ModuleType(name) for name in names}
    modules[names[-1]].Network = Network
    with (
        mock.patch.dict(sys.modules, modules),
        mock.patch.object(Network, "__module__", names[-1]),
    ):
        yield


def dumps(value, protocol=5, numpy2=False):
    """Pickle with the module names of numpy 1, as the original's environment has it, or 2."""
    known = pickle.whichmodule

    def which(obj, name):
        module = known(obj, name)
        return module if numpy2 else module.replace("numpy._core", "numpy.core")

    stream = io.BytesIO()
    with (
        original_modules(),
        mock.patch.object(pickle, "whichmodule", which),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # numpy 2 about the names of numpy 1
        pickle._Pickler(stream, protocol).dump(value)
    return stream.getvalue()


def nf(stage, fmap_base=4096, fmap_min=30, fmap_max=30):
    return int(np.clip(int(fmap_base / 2.0**stage), fmap_min, fmap_max))


class Maker:
    """Networks of one variant; every variable is random, biases and strengths too."""

    def __init__(
        self,
        seed=0,
        base=(3, 2, 2),
        levels=3,
        latent=8,
        dlatent=8,
        mapping_fmaps=8,
        mapping_layers=8,
        fmaps=None,
        channels=1,
        labels=0,
        g_wiring="orig",
        d_wiring="orig",
        noise=True,
        settings=None,
    ):
        self.random = np.random.RandomState(seed)
        self.base, self.levels, self.wirings = base, levels, (g_wiring, d_wiring)
        self.latent, self.dlatent = latent, dlatent
        self.mapping_fmaps, self.mapping_layers = mapping_fmaps, mapping_layers
        self.channels, self.labels, self.noise = channels, labels, noise
        self.fmaps = fmaps or {"fmap_min": 4, "fmap_max": 4}
        common = {
            "num_channels": channels,
            "resolution": np.int64(min(base) * 2 ** (levels - 1)),
            "label_size": labels,
            "base_size": list(base),
            **self.fmaps,
        }
        more = settings or {}
        self.g_settings = {
            **common,
            "architecture": g_wiring,
            "latent_size": latent,
            "dlatent_size": dlatent,
            "mapping_fmaps": mapping_fmaps,
            **({} if mapping_layers == 8 else {"mapping_layers": mapping_layers}),
            **more,
        }
        self.d_settings = {**common, "architecture": d_wiring, **more}

    def normal(self, *shape):
        return self.random.randn(*shape).astype(np.float32)

    def scalar(self):
        return np.float32(self.random.randn())

    def side(self, level):
        return [n * 2**level for n in self.base]

    def layer(self, scope, k, inputs, outputs, noise):
        found = {
            f"{scope}/weight": self.normal(k, k, k, inputs, outputs),
            f"{scope}/mod_weight": self.normal(self.dlatent, inputs),
            f"{scope}/mod_bias": self.normal(inputs) * 0.3,
        }
        if noise and self.noise:
            found[f"{scope}/noise_strength"] = self.scalar()
        return {**found, f"{scope}/bias": self.normal(outputs)}

    def synthesis(self):
        count = [nf(level + 1, **self.fmaps) for level in range(self.levels)]
        found = {}
        for i in range(2 * self.levels - 1):
            found[f"noise{i}"] = self.normal(1, 1, *self.side((i + 1) // 2))
        for level in range(self.levels):
            a, b, c = self.side(level)
            scope = f"{a}x{b}x{c}" if level else f"{a}x{b}X{c}"
            if level:
                before = count[level - 1]
                found |= self.layer(f"{scope}/Conv0_up", 3, before, count[level], True)
                found |= self.layer(f"{scope}/Conv1", 3, count[level], count[level], True)
                if self.wirings[0] == "resnet":
                    found[f"{scope}/Skip/weight"] = self.normal(1, 1, 1, before, count[level])
            else:
                found[f"{scope}/Const/const"] = self.normal(1, count[0], a, b, c)
                found |= self.layer(f"{scope}/Conv", 3, count[0], count[0], True)
            if self.wirings[0] == "skip" or level == self.levels - 1:
                found |= self.layer(f"{scope}/ToRGB", 1, count[level], self.channels, False)
        return found

    def mapping(self):
        found = {}
        if self.labels:
            found["LabelConcat/weight"] = self.normal(self.labels, self.latent)
        size = self.latent * (2 if self.labels else 1)
        for i in range(self.mapping_layers):
            out = self.dlatent if i == self.mapping_layers - 1 else self.mapping_fmaps
            found[f"Dense{i}/weight"] = self.normal(size, out) * 100
            found[f"Dense{i}/bias"] = self.normal(out) * 30
            size = out
        return found

    def discriminator(self):
        count = [nf(level + 1, **self.fmaps) for level in range(self.levels)]
        found = {}

        def conv(scope, k, inputs, outputs):
            found[f"{scope}/weight"] = self.normal(k, k, k, inputs, outputs)
            found[f"{scope}/bias"] = self.normal(outputs)

        for level in range(self.levels - 1, -1, -1):
            scope = "x".join(map(str, self.side(level)))
            if self.wirings[1] == "skip" or level == self.levels - 1:
                conv(f"{scope}/FromImage", 1, self.channels, count[level])
            if level:
                conv(f"{scope}/Conv0", 3, count[level], count[level])
                conv(f"{scope}/Conv1_down", 3, count[level], count[level - 1])
                if self.wirings[1] == "resnet":
                    weight = self.normal(1, 1, 1, count[level], count[level - 1])
                    found[f"{scope}/Skip/weight"] = weight
        conv(f"{scope}/Conv", 3, count[0] + 1, count[0])
        dense = nf(0, **self.fmaps)
        found[f"{scope}/Dense0/weight"] = self.normal(count[0] * int(np.prod(self.base)), dense)
        found[f"{scope}/Dense0/bias"] = self.normal(dense)
        found["Output/weight"] = self.normal(dense, max(self.labels, 1))
        found["Output/bias"] = self.normal(max(self.labels, 1))
        return found

    def network(self, name, settings, variables, function, components=None):
        return Network(
            version=4,
            name=name,
            static_kwargs=dict(settings),
            components=components or {},
            build_module_src="import os; os.abort()",
            build_func_name=function,
            variables=list(variables.items()),
        )

    def generator(self, name):
        own = {"lod": np.float32(0), "dlatent_avg": self.normal(self.dlatent)}
        layers = 2 * self.levels
        return self.network(
            name,
            self.g_settings,
            own,
            "G_main",
            {
                "synthesis": self.network(
                    "G_synthesis",
                    self.g_settings,
                    self.synthesis(),
                    "G_synthesis_stylegan2_3d_curated_real",
                ),
                "mapping": self.network(
                    "G_mapping",
                    {"dlatent_broadcast": layers, **self.g_settings},
                    self.mapping(),
                    "G_mapping_3d",
                ),
            },
        )

    def all(self):
        """(G, D, Gs)"""
        judge = self.network(
            "D", self.d_settings, self.discriminator(), "D_stylegan2_3d_curated_real"
        )
        return self.generator("G"), judge, self.generator("Gs")


def variables_of(network):
    return dict(network.state["variables"])
