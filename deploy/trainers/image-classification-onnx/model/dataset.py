"""Reads a data set of images with labels: both the lines of custom training (image_path, classification_annotations) and
those of managed training (image_gcs_uri, classification_annotation)."""
import dataclasses
import json
import pathlib

import numpy as np
from PIL import Image, UnidentifiedImageError

UNKNOWN = "VIAM_UNKNOWN"  # the label of an image that has none of the chosen ones
MAX_SIDE = 32  # pixels of larger images, and of images of several sizes, after scaling


class DatasetError(Exception):
    """Its text names file and line."""


@dataclasses.dataclass
class Example:
    path: pathlib.Path
    label: str
    line: int


@dataclasses.dataclass
class Dataset:
    examples: list
    skipped: int = 0  # images with more than one of the chosen labels


def _label_of(annotation):
    if not isinstance(annotation, dict) or not isinstance(annotation.get("annotation_label"), str):
        raise ValueError("an annotation without an annotation_label")
    return annotation["annotation_label"]


def _labels(entry):
    """All whole-image labels of one line."""
    found = []
    single, several = entry.get("classification_annotation"), entry.get("classification_annotations")
    if single is not None:
        found.append(single)
    if several is not None:
        if not isinstance(several, list):
            raise ValueError("classification_annotations is no list")
        found += several
    return {_label_of(annotation) for annotation in found}


def _path(entry, root):
    name = entry.get("image_path", entry.get("image_gcs_uri"))
    if not isinstance(name, str) or not name:
        raise ValueError("there is no image_path and no image_gcs_uri")
    if name.startswith("gs://"):
        name = "/gcs/" + name[len("gs://"):]  # where buckets are mounted
    return root / name


def read(dataset_file, chosen):
    """The examples of a data set for the chosen labels; with none chosen, all labels of the data set count."""
    dataset_file = pathlib.Path(dataset_file)
    root = dataset_file.resolve().parent
    dataset = Dataset([])
    with open(dataset_file, encoding="utf-8", errors="strict") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                entry = json.loads(line)
                if not isinstance(entry, dict):
                    raise ValueError("not a JSON object")
                labels, path = _labels(entry), _path(entry, root)
            except ValueError as error:
                raise DatasetError(f"{dataset_file}:{number}: {error}") from None
            wanted = labels & chosen if chosen else labels
            if len(wanted) > 1:
                dataset.skipped += 1
            else:
                dataset.examples.append(Example(path, next(iter(wanted), UNKNOWN), number))
    if not dataset.examples:
        raise DatasetError(f"{dataset_file}: no image can be used")
    return dataset


def load_images(dataset_file, examples):
    """One grey image after the other as an array of numbers from 0 to 1, all of one size: count × height × width."""
    images = []
    for example in examples:
        try:
            with Image.open(example.path) as image:
                images.append(image.convert("L"))
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
            raise DatasetError(f"{dataset_file}:{example.line}: {error}") from None
        if max(images[-1].size) > MAX_SIDE:  # at once: thousands of photographs would not fit into memory
            images[-1] = images[-1].resize((MAX_SIDE, MAX_SIDE), Image.Resampling.BILINEAR)
    sizes = {image.size for image in images}
    size = sizes.pop() if len(sizes) == 1 else (MAX_SIDE, MAX_SIDE)
    rows = [np.asarray(image if image.size == size else image.resize(size, Image.Resampling.BILINEAR), dtype=np.float32)
            for image in images]
    return np.stack(rows) / 255
