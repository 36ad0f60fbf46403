"""Rebuild dlib's face recognition ResNet as ONNX from the quantised copy that face-api ships.

Filters that arrive as uint8 stay uint8, each followed by a DequantizeLinear node, which keeps the
file at 6.6 MB. FOLDER holds the two files face_recognition_model.bin and
face_recognition_model-weights_manifest.json:

    python tools/open_pack/build_recogniser.py FOLDER rec_dlib128.onnx

Sources:
    Layers: face-api 1.7.15, src/faceRecognitionNet/; dlib, examples/dnn_face_recognition_ex.cpp.
    Input: dlib's input_rgb_image_sized subtracts the channel means and divides by 256. face-api
    divides by 255; dlib is followed, since its own embeddings are what ours are measured against.
"""

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NotRequired, TypedDict

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper
from origins import DLIB_BUFFER, DLIB_MANIFEST, OriginError, require_known

__all__ = ["build_recogniser"]

FloatArray = NDArray[np.float32]

OPSET = 13
"""The first opset whose DequantizeLinear takes one scale per output channel."""

IR_VERSION = 8
"""ONNX's file format of 2021, so that onnxruntime need not be new to read it."""

FRAME_PX = 224
"""Side of the aligned crop insightface is asked for: its 112 px ArcFace template, doubled."""

CHIP_PX = 150
"""Side of the chip dlib trained on: get_face_chip_details with size 150, padding 0.25."""

# The dlib chip's window in the ArcFace frame: centred on the eyes' midpoint (column 111.8), with
# the eye row (103.2 in the frame) where the chip has it (47 of 150). The ratio of the two
# templates' eye distances gives a side of 201 px. Templates: insightface utils/face_align.py;
# dlib image_transforms/interpolation.h.
WINDOW_TOP_PX = 40
WINDOW_LEFT_PX = 11
WINDOW_PX = 202
BELOW_FRAME_PX = WINDOW_TOP_PX + WINDOW_PX - FRAME_PX

CHANNEL_MEANS_RGB = (122.782, 117.001, 104.298)

EMBEDDING_LENGTH = 128

BLOCKS = (
    *("conv32_1", "conv32_2", "conv32_3"),
    *("conv64_down", "conv64_1", "conv64_2", "conv64_3"),
    *("conv128_down", "conv128_1", "conv128_2"),
    *("conv256_down", "conv256_1", "conv256_2"),
    "conv256_down_out",
)
"""The residual blocks after the stem, in order; those with `_down` halve the side."""


class ManifestQuantisation(TypedDict):
    """A quantisation as the manifest spells it: `value = byte * scale + min`."""

    scale: float
    min: float


class ManifestEntry(TypedDict):
    """One tensor as the manifest describes it; without a quantisation it is float32."""

    name: str
    shape: list[int]
    quantization: NotRequired[ManifestQuantisation]


@dataclass(frozen=True, slots=True)
class Weight:
    """One tensor of the package."""

    stored: NDArray[np.uint8 | np.float32]
    """The tensor as it lies in the buffer; filters are (height, width, input, output)."""
    quantisation: ManifestQuantisation | None
    """How stored bytes become numbers; None where numbers are stored."""

    @property
    def values(self) -> FloatArray:
        """The numbers meant, in the stored shape."""
        stored = self.stored.astype(np.float32)
        if self.quantisation is None:
            return stored
        return stored * np.float32(self.quantisation["scale"]) + np.float32(
            self.quantisation["min"]
        )


def zero_point(quantisation: ManifestQuantisation) -> int:
    """Return the byte that stands for 0, which is how ONNX states an offset.

    Raises:
        ValueError: No byte stands for 0, so DequantizeLinear could not say the same.
    """
    exact = -quantisation["min"] / quantisation["scale"]
    nearest = round(exact)
    # A thousandth of a quantisation step is far below the rounding that quantising did.
    if abs(exact - nearest) >= 1e-3 or not 0 <= nearest <= 255:
        raise ValueError(f"the zero point {exact} is not a byte")
    return nearest


def read_weights(folder: Path) -> dict[str, Weight]:
    """Read every tensor of the package, by its name in the manifest.

    Raises:
        OriginError: A file is missing or is not the known one.
    """
    for known in (DLIB_MANIFEST, DLIB_BUFFER):
        require_known(folder / known.name, known)
    manifest = json.loads((folder / DLIB_MANIFEST.name).read_text(encoding="utf-8"))
    entries: list[ManifestEntry] = manifest[0]["weights"]
    buffer = (folder / DLIB_BUFFER.name).read_bytes()
    weights, offset = {}, 0
    for entry in entries:
        quantisation = entry.get("quantization")
        dtype = np.dtype(np.float32 if quantisation is None else np.uint8)
        stored = np.frombuffer(buffer, dtype, math.prod(entry["shape"]), offset)
        weights[entry["name"]] = Weight(stored.reshape(entry["shape"]), quantisation)
        offset += stored.nbytes
    return weights


@dataclass(slots=True)
class NetworkWriter:
    """Collects the graph's nodes and constants, layer by layer.

    Tensors are named c1, t2, c3 ... in the order they are added, so that order is part of the
    file's bytes. Nodes stay unnamed: insightface reads early nodes called `Mul...` and `Sub...`
    as the sign of a graph that wants raw pixels (model_zoo/arcface_onnx.py).
    """

    weights: dict[str, Weight]
    nodes: list[NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)

    def next_number(self) -> int:
        """Return the number of the next tensor, from 1."""
        return len(self.nodes) + len(self.constants) + 1

    def constant(self, values: ArrayLike) -> str:
        """Add a constant and return its name."""
        name = f"c{self.next_number()}"
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def node(
        self, operator: str, inputs: Sequence[str], **attributes: int | str | Sequence[int]
    ) -> str:
        """Add a node with one output and return that output's name."""
        output = f"t{self.next_number()}"
        node = helper.make_node(operator, inputs, [output])
        # Sorted by name, as make_node itself would do with untyped keyword arguments.
        for name, value in sorted(attributes.items()):
            node.attribute.append(helper.make_attribute(name, value))
        self.nodes.append(node)
        return output

    def pad(self, x: str, *, channels: int = 0, below: int = 0, right: int = 0) -> str:
        """Append zeros to a (batch, channel, row, column) tensor."""
        amounts = np.asarray([0, 0, 0, 0, 0, channels, below, right], np.int64)
        return self.node("Pad", [x, self.constant(amounts)])

    def filters(self, layer: str) -> str:
        """Add a layer's filters, multiplied by its affine scale; (output, input, row, column).

        Quantised filters stay bytes: the affine scale goes into the dequantising scale.
        """
        filters = self.weights[f"{layer}/conv/filters"]
        affine = self.weights[f"{layer}/scale/weights"].values
        if filters.quantisation is None:
            return self.constant(filters.values.transpose(3, 2, 0, 1) * affine[:, None, None, None])
        stored = self.constant(np.ascontiguousarray(filters.stored.transpose(3, 2, 0, 1)))
        scales = self.constant(np.float32(filters.quantisation["scale"]) * affine)
        zeros = np.full(len(affine), zero_point(filters.quantisation), np.uint8)
        return self.node("DequantizeLinear", [stored, scales, self.constant(zeros)], axis=0)

    def convolution(self, x: str, layer: str, *, stride: int, padding: int) -> str:
        """Add a convolution with its bias and dlib's affine layer folded into one node."""
        side, _, _, _ = self.weights[f"{layer}/conv/filters"].stored.shape
        affine = self.weights[f"{layer}/scale/weights"].values
        bias = self.weights[f"{layer}/conv/bias"].values * affine
        filters = self.filters(layer)
        bias_name = self.constant(bias + self.weights[f"{layer}/scale/biases"].values)
        return self.node(
            "Conv",
            [x, filters, bias_name],
            strides=[stride] * 2,
            pads=[padding] * 4,
            kernel_shape=[side] * 2,
        )

    def relu(self, x: str) -> str:
        """Add a rectifier."""
        return self.node("Relu", [x])


@dataclass(frozen=True, slots=True)
class Features:
    """A (batch, channels, side, side) tensor between two blocks."""

    name: str
    side: int
    channels: int


def side_after(side: int, *, kernel: int) -> int:
    """Return the side after an unpadded convolution or pooling of stride 2."""
    return (side - kernel) // 2 + 1


def chip_from_frame(network: NetworkWriter, frame: str) -> str:
    """Cut dlib's chip out of insightface's aligned crop and normalise it dlib's way.

    Args:
        network: Where the nodes go.
        frame: float32 (batch, 3, 224, 224), RGB, (value - 127.5) / 127.5.

    Returns:
        The name of the chip: float32 (batch, 3, 150, 150), RGB, (value - mean) / 256.
    """
    half_range = np.float32(127.5)
    x = network.node("Mul", [frame, network.constant(half_range)])
    x = network.node("Add", [x, network.constant(half_range)])
    # The window reaches below the frame, where there are no pixels: its last row is repeated.
    pads = np.asarray([0, 0, 0, 0, 0, 0, BELOW_FRAME_PX, 0], np.int64)
    x = network.node("Pad", [x, network.constant(pads)], mode="edge")
    start = np.asarray([WINDOW_TOP_PX, WINDOW_LEFT_PX], np.int64)
    rows_and_columns = np.asarray([2, 3], np.int64)
    bounds = [start, start + WINDOW_PX, rows_and_columns]
    x = network.node("Slice", [x, *(network.constant(bound) for bound in bounds)])
    no_region = np.asarray([], np.float32)
    scales = np.asarray([1, 1, CHIP_PX / WINDOW_PX, CHIP_PX / WINDOW_PX], np.float32)
    x = network.node(
        "Resize",
        [x, network.constant(no_region), network.constant(scales)],
        mode="linear",
        coordinate_transformation_mode="half_pixel",
    )
    means = np.asarray(CHANNEL_MEANS_RGB, np.float32).reshape(1, 3, 1, 1)
    x = network.node("Sub", [x, network.constant(means)])
    return network.node("Mul", [x, network.constant(np.float32(1 / 256))])


def stem(network: NetworkWriter, chip: str) -> Features:
    """Add the first convolution and the pooling after it."""
    x = network.relu(network.convolution(chip, "conv32_down", stride=2, padding=0))
    x = network.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2])
    return Features(x, side_after(side_after(CHIP_PX, kernel=7), kernel=3), channels=32)


def residual(network: NetworkWriter, x: Features, block: str) -> Features:
    """Add a block that keeps side and channels."""
    y = network.relu(network.convolution(x.name, f"{block}/conv1", stride=1, padding=1))
    y = network.convolution(y, f"{block}/conv2", stride=1, padding=1)
    return Features(network.relu(network.node("Add", [y, x.name])), x.side, x.channels)


def residual_down(network: NetworkWriter, x: Features, block: str) -> Features:
    """Add a block that halves the side.

    Its two branches may differ in side and in channels; dlib's add_prev takes the missing part
    of either as zeros.
    """
    y = network.relu(network.convolution(x.name, f"{block}/conv1", stride=2, padding=0))
    y = network.convolution(y, f"{block}/conv2", stride=1, padding=1)
    pooled = network.node("AveragePool", [x.name], kernel_shape=[2, 2], strides=[2, 2])
    side = side_after(x.side, kernel=2)
    missing = side - side_after(x.side, kernel=3)
    if missing:
        y = network.pad(y, below=missing, right=missing)
    channels = network.weights[f"{block}/conv2/conv/filters"].stored.shape[3]
    if channels != x.channels:
        pooled = network.pad(pooled, channels=channels - x.channels)
    return Features(network.relu(network.node("Add", [pooled, y])), side, channels)


def write_network(network: NetworkWriter) -> None:
    """Add everything from the frame to the embedding."""
    x = stem(network, chip_from_frame(network, "input"))
    for block in BLOCKS:
        add_block = residual_down if "_down" in block else residual
        x = add_block(network, x, block)
    pooled = network.node("Flatten", [network.node("GlobalAveragePool", [x.name])])
    network.node("MatMul", [pooled, network.constant(network.weights["fc"].values)])
    network.nodes[-1].output[0] = "embedding"


def to_onnx(weights: dict[str, Weight]) -> onnx.ModelProto:
    """Build the model that turns an aligned crop into dlib's 128 numbers.

    Args:
        weights: Every tensor of the package, by name.

    Returns:
        A model from `input`, float32 (batch, 3, 224, 224), RGB, (value - 127.5) / 127.5, aligned
        to ArcFace's template, to `embedding`, float32 (batch, 128), not normalised.
    """
    network = NetworkWriter(weights)
    write_network(network)
    frame_shape: list[str | int | None] = ["batch", 3, FRAME_PX, FRAME_PX]
    embedding_shape: list[str | int | None] = ["batch", EMBEDDING_LENGTH]
    graph = helper.make_graph(
        network.nodes,
        "dlibnet",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, frame_shape)],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, embedding_shape)],
        initializer=network.constants,
    )
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def build_recogniser(source: Path, destination: Path) -> None:
    """Write `rec_dlib128.onnx` from face-api's copy of dlib's weights.

    Args:
        source: The folder with the manifest and the buffer, exactly as published.
        destination: The file to write.

    Raises:
        OriginError: A source file is missing or is not the known one.
    """
    model = to_onnx(read_weights(source))
    onnx.checker.check_model(model)
    onnx.save(model, destination)


def main() -> None:
    """Read the command line and build."""
    parser = argparse.ArgumentParser(description="Rebuild dlib's face ResNet as ONNX.")
    parser.add_argument("source", type=Path, metavar="FOLDER", help="face-api's model folder")
    parser.add_argument(
        "destination", type=Path, metavar="DESTINATION.onnx", help="the file to write"
    )
    arguments = parser.parse_args()
    try:
        build_recogniser(arguments.source, arguments.destination)
    except OriginError as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
