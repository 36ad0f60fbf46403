"""Rewrite YuNet's graph into the nine-output form that insightface's SCRFD reader expects.

The trained weights are untouched: only what surrounds the network changes.

    python tools/open_pack/build_detector.py face_detection_yunet_2023mar.onnx det_yunet.onnx

Sources:
    YuNet's decoding: OpenCV, modules/objdetect/src/face_detect.cpp, postProcess.
    SCRFD's decoding: insightface 2.1, model_zoo/scrfd.py, distance2bbox and distance2kps.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper
from origins import YUNET_MODEL, OriginError, require_known

__all__ = ["build_detector"]

STRIDES_PX = (8, 16, 32)
"""Cell sides of YuNet's three output grids; SCRFD's nine-output form has the same three."""

OPSET = 11
"""The opset YuNet was exported with: its own nodes are copied as they are."""

INPUT_NAME = "rgb"

CONSTANTS: dict[str, NDArray[Any]] = {
    # insightface feeds (rgb - 127.5) / 128, channels RGB; YuNet wants 0..255, channels BGR.
    "pp_std": np.asarray(128.0, np.float32),
    "pp_mean": np.asarray(127.5, np.float32),
    "pp_idx": np.asarray([2, 1, 0], np.int64),
    "half": np.asarray(0.5, np.float32),
    # Target shapes that put the two anchors of a cell one after the other.
    "rs1": np.asarray([1, -1, 1], np.int64),
    "rs4": np.asarray([1, -1, 4], np.int64),
    "rs10": np.asarray([1, -1, 10], np.int64),
    "zero": np.asarray(0.0, np.float32),
}


def input_nodes(yunet_input: str) -> Iterator[NodeProto]:
    """Undo insightface's normalisation and swap RGB to BGR."""
    yield helper.make_node("Mul", [INPUT_NAME, "pp_std"], ["pp0"])
    yield helper.make_node("Add", ["pp0", "pp_mean"], ["pp1"])
    yield helper.make_node("Gather", ["pp1", "pp_idx"], [yunet_input], axis=1)


def score_nodes(stride_px: int) -> Iterator[NodeProto]:
    """Make one score of YuNet's two, `sqrt(cls * obj)`, and give each cell a second one of 0.

    SCRFD's nine-output form assumes two anchors a cell and YuNet has one. The second anchor is a
    copy that scores 0, so no threshold lets it through.
    """
    p = f"s{stride_px}_"
    yield helper.make_node("Mul", [f"cls_{stride_px}", f"obj_{stride_px}"], [f"{p}m"])
    yield helper.make_node("Sqrt", [f"{p}m"], [f"{p}q"])
    yield helper.make_node("Mul", [f"{p}q", "zero"], [f"{p}z"])
    yield helper.make_node("Concat", [f"{p}q", f"{p}z"], [f"{p}c"], axis=2)
    yield helper.make_node("Reshape", [f"{p}c", "rs1"], [f"score_{stride_px}"])


def box_nodes(stride_px: int) -> Iterator[NodeProto]:
    """Turn a box's centre offset and log size into distances to its left, top, right and bottom.

    In cells: YuNet gives (dx, dy, log w, log h), so left = w/2 - dx and right = w/2 + dx; the same
    for y. SCRFD's reader multiplies the distances by the stride.
    """
    p = f"s{stride_px}_"
    yield helper.make_node("Split", [f"bbox_{stride_px}"], [f"{p}d", f"{p}w"], axis=2, split=[2, 2])
    yield helper.make_node("Exp", [f"{p}w"], [f"{p}e"])
    yield helper.make_node("Mul", [f"{p}e", "half"], [f"{p}h"])
    yield helper.make_node("Sub", [f"{p}h", f"{p}d"], [f"{p}lt"])
    yield helper.make_node("Add", [f"{p}h", f"{p}d"], [f"{p}rb"])
    both_anchors = [f"{p}lt", f"{p}rb", f"{p}lt", f"{p}rb"]
    yield helper.make_node("Concat", both_anchors, [f"{p}b2"], axis=2)
    yield helper.make_node("Reshape", [f"{p}b2", "rs4"], [f"dist_{stride_px}"])


def landmark_nodes(stride_px: int) -> Iterator[NodeProto]:
    """Pass the five landmarks through: to both sides they are offsets from the cell, in cells."""
    p = f"s{stride_px}_"
    both_anchors = [f"kps_{stride_px}", f"kps_{stride_px}"]
    yield helper.make_node("Concat", both_anchors, [f"{p}k2"], axis=2)
    yield helper.make_node("Reshape", [f"{p}k2", "rs10"], [f"pts_{stride_px}"])


def outputs() -> list[ValueInfoProto]:
    """Declare the nine outputs in SCRFD's order: three of scores, of boxes, of landmarks."""
    return [
        helper.make_tensor_value_info(
            f"{kind}_{stride_px}", TensorProto.FLOAT, [1, f"n{stride_px}", width]
        )
        for kind, width in (("score", 1), ("dist", 4), ("pts", 10))
        for stride_px in STRIDES_PX
    ]


def to_scrfd_form(yunet: onnx.ModelProto) -> onnx.ModelProto:
    """Wrap YuNet's nodes in SCRFD's input and outputs, and leave height and width open.

    Args:
        yunet: The published YuNet 2023mar model.

    Returns:
        A model that takes `rgb`: float32 (1, 3, height, width), RGB, (value - 127.5) / 128.
    """
    nodes = [*input_nodes(yunet.graph.input[0].name), *yunet.graph.node]
    for stride_px in STRIDES_PX:
        nodes += [*score_nodes(stride_px), *box_nodes(stride_px), *landmark_nodes(stride_px)]
    constants = [numpy_helper.from_array(value, name) for name, value in CONSTANTS.items()]
    picture = helper.make_tensor_value_info(
        INPUT_NAME, TensorProto.FLOAT, [1, 3, "height", "width"]
    )
    graph = helper.make_graph(
        nodes,
        "yunet_scrfd",
        [picture],
        outputs(),
        initializer=[*yunet.graph.initializer, *constants],
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=yunet.ir_version)
    model.doc_string = "YuNet 2023mar (MIT) with SCRFD-compatible outputs"
    return model


def build_detector(source: Path, destination: Path) -> None:
    """Write `det_yunet.onnx` from the published YuNet file.

    Args:
        source: `face_detection_yunet_2023mar.onnx`, exactly as published.
        destination: The file to write.

    Raises:
        OriginError: The source is missing or is not the known file.
    """
    require_known(source, YUNET_MODEL)
    model = to_scrfd_form(onnx.load(source))
    onnx.checker.check_model(model)
    onnx.save(model, destination)


def main() -> None:
    """Read the command line and build."""
    parser = argparse.ArgumentParser(description="Rewrite YuNet 2023mar into SCRFD form.")
    parser.add_argument("source", type=Path, metavar="SOURCE.onnx", help="YuNet as published")
    parser.add_argument(
        "destination", type=Path, metavar="DESTINATION.onnx", help="the file to write"
    )
    arguments = parser.parse_args()
    try:
        build_detector(arguments.source, arguments.destination)
    except OriginError as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
