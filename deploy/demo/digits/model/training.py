"""Learns handwritten digits with softmax regression and writes model.onnx and labels.txt.

Run as every Viam training script: python3 -m model.training --dataset_file=F --model_output_directory=D [--key=value...]
"""
import argparse
import json
import pathlib
import shlex
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

BATCH = 64
LEARNING_RATE = 0.02
WEIGHT_DECAY = 1e-4


def parse_labels(text):
    """'0 1 2' with or without quotes around the whole, as people pass it through a shell."""
    words = shlex.split(text)
    return words[0].split() if len(words) == 1 else words


def read_examples(dataset_file, wanted):
    """The images as rows of numbers from 0 to 1, and their labels. Lines without exactly one wanted label are left out."""
    root = pathlib.Path(dataset_file).resolve().parent
    rows, labels, size = [], [], None
    with open(dataset_file, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                entry = json.loads(line)
                found = {annotation["annotation_label"] for annotation in entry["classification_annotations"]}
                path = root / entry["image_path"]
            except (ValueError, KeyError, TypeError) as error:
                sys.exit(f"{dataset_file}:{number}: {type(error).__name__}: {error}")
            found = found & wanted if wanted else found
            if len(found) != 1:
                continue
            try:
                image = Image.open(path).convert("L")
            except OSError as error:
                sys.exit(f"{dataset_file}:{number}: {error}")
            size = size or image.size
            rows.append(np.asarray(image.resize(size), dtype=np.float32) / 255)
            labels.append(found.pop())
    if not rows:
        sys.exit(f"{dataset_file}: no image has exactly one of the labels")
    return np.stack(rows), labels


def softmax(scores):
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return scores / scores.sum(axis=1, keepdims=True)


def train(x, y, classes, epochs):
    """Adam over shuffled batches. The order comes from a fixed seed: the same data give the same model."""
    random = np.random.default_rng(0)
    weights = np.zeros((x.shape[1] + 1, classes))  # the last row is the bias
    x = np.hstack([x, np.ones((len(x), 1))])
    targets = np.eye(classes)[y]
    mean, square, step = np.zeros_like(weights), np.zeros_like(weights), 0
    for epoch in range(1, epochs + 1):
        order = random.permutation(len(x))
        for start in range(0, len(x), BATCH):
            batch = order[start:start + BATCH]
            step += 1
            slope = x[batch].T @ (softmax(x[batch] @ weights) - targets[batch]) / len(batch) + WEIGHT_DECAY * weights
            mean = 0.9 * mean + 0.1 * slope
            square = 0.999 * square + 0.001 * slope**2
            weights -= LEARNING_RATE * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
        odds = softmax(x @ weights)
        loss = -np.log(odds[np.arange(len(y)), y] + 1e-12).mean()
        print(f"epoch {epoch}/{epochs}: loss {loss:.4f}, training accuracy {(odds.argmax(axis=1) == y).mean():.4f}", flush=True)
    return weights[:-1].astype(np.float32), weights[-1].astype(np.float32)


def onnx_model(weights, bias, height, width):
    nodes = [
        helper.make_node("Flatten", ["image"], ["pixels"], axis=1),
        helper.make_node("Gemm", ["pixels", "weights", "bias"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes, "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, height, width])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", len(bias)])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias")],
        doc_string="Grey values from 0 to 1 in, a probability for each line of labels.txt out.")
    model = helper.make_model(graph, producer_name="digits", opset_imports=[helper.make_opsetid("", 13)])
    onnx.checker.check_model(model)
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset_file", required=True)
    parser.add_argument("--model_output_directory", required=True)
    parser.add_argument("--num_epochs", type=int, default=40)
    parser.add_argument("--labels", default="", help="labels to learn, with spaces between; all of the data set by default")
    args = parser.parse_args()
    if args.num_epochs < 1:
        parser.error("--num_epochs: at least 1")

    images, names = read_examples(args.dataset_file, set(parse_labels(args.labels)))
    labels = sorted(set(names))
    print(f"{len(images)} images of {images.shape[2]}x{images.shape[1]} with {len(labels)} labels: {' '.join(labels)}", flush=True)
    y = np.array([labels.index(name) for name in names])
    weights, bias = train(images.reshape(len(images), -1), y, len(labels), args.num_epochs)

    output = pathlib.Path(args.model_output_directory)
    output.mkdir(parents=True, exist_ok=True)
    onnx.save(onnx_model(weights, bias, images.shape[1], images.shape[2]), str(output / "model.onnx"))
    (output / "labels.txt").write_text("".join(label + "\n" for label in labels), encoding="utf-8")
    print("wrote model.onnx and labels.txt", flush=True)


if __name__ == "__main__":
    main()
