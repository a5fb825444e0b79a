"""The managed trainer for single-label classification of small images; writes model.onnx and labels.txt.

An image with none of the chosen labels teaches the label VIAM_UNKNOWN; one with more than one is left out and counted. A
fixed tenth of the images is kept aside to measure the accuracy that the log reports.
"""
import argparse
import collections
import pathlib
import shlex
import sys

import numpy as np
import onnx

from model import dataset as data
from model import regression

FEW_IMAGES = 10  # a label with fewer is learned, but the log warns
VALIDATION_EVERY = 10


def split(y):
    """Which examples are kept aside: every tenth of each label, as many as there are tenths."""
    seen, aside = collections.Counter(), np.zeros(len(y), dtype=bool)
    for number, label in enumerate(y):
        seen[label] += 1
        aside[number] = seen[label] % VALIDATION_EVERY == 0
    return aside


def say(*words):
    print(*words, flush=True)


def describe(dataset, labels, chosen):
    counts = collections.Counter(example.label for example in dataset.examples)
    say(f"{len(dataset.examples)} images: " + ", ".join(f"{label} {counts[label]}" for label in labels))
    if dataset.skipped:
        say(f"left out {dataset.skipped} images with more than one of the labels")
    absent = sorted(chosen - set(labels))
    if absent:
        raise data.DatasetError("no image has the label " + ", ".join(repr(label) for label in absent) + " alone")
    if len(labels) < 2:
        raise data.DatasetError(f"all images have the same label, {labels[0]}: there is nothing to tell apart")
    for label in labels:
        if counts[label] < FEW_IMAGES:
            say(f"WARNING: only {counts[label]} images of {label}; {FEW_IMAGES} or more are advised")


def train(images, y, labels, epochs):
    x = images.reshape(len(images), -1).astype(np.float64)
    aside = split(y)
    model = regression.Regression(x[~aside], len(labels))
    for epoch in range(1, epochs + 1):
        loss = model.train_epoch(x[~aside], y[~aside])
        if epoch % 5 == 0 or epoch in (1, epochs):
            text = f"epoch {epoch}/{epochs}: loss {loss:.4f}"
            if aside.any():
                text += f", validation accuracy {(model.odds(x[aside]).argmax(axis=1) == y[aside]).mean():.4f}"
            say(text)
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset_file", required=True)
    parser.add_argument("--model_output_directory", required=True)
    parser.add_argument("--labels", default="", help="the labels to learn, quoted as for a shell; by default all")
    parser.add_argument("--model_type", default="single_label", choices=["single_label"])
    parser.add_argument("--num_epochs", type=int, default=40)
    args = parser.parse_args()
    if args.num_epochs < 1:
        parser.error("--num_epochs: at least 1")
    try:
        chosen = set(shlex.split(args.labels))
    except ValueError as error:
        parser.error(f"--labels: {error}")

    dataset = data.read(args.dataset_file, chosen)
    # The unknown comes last, so that the chosen labels keep their places whether there are unlabelled images or not.
    labels = sorted({example.label for example in dataset.examples}, key=lambda label: (label == data.UNKNOWN, label))
    describe(dataset, labels, chosen)
    images = data.load_images(args.dataset_file, dataset.examples)
    say(f"learning from grey images of {images.shape[2]}x{images.shape[1]}")
    y = np.array([labels.index(example.label) for example in dataset.examples])
    model = train(images, y, labels, args.num_epochs)

    output = pathlib.Path(args.model_output_directory)
    output.mkdir(parents=True, exist_ok=True)
    onnx.save(regression.onnx_model(model, images.shape[1], images.shape[2], labels), str(output / "model.onnx"))
    (output / "labels.txt").write_text("".join(label + "\n" for label in labels), encoding="utf-8")
    say("wrote model.onnx and labels.txt")


if __name__ == "__main__":
    try:
        main()
    except (data.DatasetError, OSError, UnicodeDecodeError) as error:
        sys.exit(f"ERROR: {error}")
