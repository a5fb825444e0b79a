#!/usr/bin/python3
"""The managed trainer of images, called as a worker calls it, on images made here."""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy as np
import onnx
from onnx import numpy_helper
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
TRAINER = ROOT / "deploy/trainers/image-classification-onnx"


class Trainer(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory(prefix="ty-trainer-")
        self.addCleanup(place.cleanup)
        self.dir = pathlib.Path(place.name)
        self.lines = []
        self.random = np.random.default_rng(1)

    def image(self, kind, size=(8, 8)):
        """Noise that is bright at the left ("left"), at the right, or all over; the path of its file."""
        pixels = self.random.integers(0, 60, size=size[::-1]).astype(np.uint8)
        half = size[0] // 2
        if kind != "right":
            pixels[:, :half] += 150
        if kind != "left":
            pixels[:, half:] += 150
        path = f"data/{len(list(self.dir.glob('data/*')))}.png"
        (self.dir / "data").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(self.dir / path)
        return path

    def custom(self, kind, labels, **more):
        self.lines.append({"image_path": self.image(kind, **more), "bounding_box_annotations": [],
                           "classification_annotations": [{"annotation_label": label} for label in labels]})

    def managed(self, kind, label):
        self.lines.append({"image_gcs_uri": self.image(kind), "classification_annotation": {"annotation_label": label}})

    def train(self, *words, code=0):
        dataset = self.dir / "dataset.jsonl"
        dataset.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in self.lines))
        done = subprocess.run([sys.executable, "-B", "-m", "model.training", f"--dataset_file={dataset}",
                               f"--model_output_directory={self.dir}/out", *words], cwd=TRAINER, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=200)
        self.assertEqual(done.returncode, code, done.stdout)
        return done.stdout

    def labels(self):
        return (self.dir / "out/labels.txt").read_text().splitlines()

    def predict(self, kind, size=(8, 8)):
        model = onnx.load(str(self.dir / "out/model.onnx"))
        onnx.checker.check_model(model, full_check=True)
        self.assertEqual([node.op_type for node in model.graph.node], ["Flatten", "Gemm", "Softmax"])
        weights, bias = (numpy_helper.to_array(tensor) for tensor in model.graph.initializer)
        pixels = np.asarray(Image.open(self.dir / self.image(kind, size)), dtype=np.float32) / 255
        return self.labels()[int((pixels.reshape(-1) @ weights + bias).argmax())]

    def test_both_shapes_of_lines(self):
        for _ in range(20):
            self.custom("left", ["left"])
            self.managed("right", "right")
        said = self.train("--labels=left right", "--model_type=single_label")
        self.assertEqual(self.labels(), ["left", "right"])
        self.assertEqual((self.predict("left"), self.predict("right")), ("left", "right"))
        self.assertIn("epoch 40/40", said)
        self.assertIn("validation accuracy 1.0000", said)
        self.assertNotIn("WARNING", said)

    def test_none_of_the_labels_is_unknown_and_several_are_left_out(self):
        for _ in range(20):
            self.custom("left", ["left"])
            self.custom("right", ["right", "something"])
            self.custom("both", ["something"])
            self.custom("both", [])
        for _ in range(3):
            self.custom("both", ["right", "left"])
        said = self.train("--labels=left right")
        self.assertEqual(self.labels(), ["left", "right", "VIAM_UNKNOWN"])
        self.assertEqual([self.predict(kind) for kind in ("left", "right", "both")], ["left", "right", "VIAM_UNKNOWN"])
        self.assertIn("left out 3 images", said)
        self.assertIn("left 20, right 20, VIAM_UNKNOWN 40", said)

    def test_labels_with_spaces_and_few_images(self):
        for _ in range(4):
            self.custom("left", ["hot dog"])
            self.custom("right", ["it's"])
        said = self.train("--labels='hot dog' 'it'\"'\"'s'")
        self.assertEqual(self.labels(), ["hot dog", "it's"])
        self.assertIn("WARNING: only 4 images of hot dog", said)

    def test_images_of_several_sizes(self):
        for size in ((8, 8), (40, 20)) * 10:
            self.custom("left", ["left"], size=size)
            self.custom("right", ["right"], size=size)
        self.assertIn("32x32", self.train())
        self.assertEqual(self.predict("left", (32, 32)), "left")

    def test_the_same_data_give_the_same_model(self):
        for _ in range(12):
            self.custom("left", ["left"])
            self.custom("right", ["right"])
        self.train()
        first = (self.dir / "out/model.onnx").read_bytes()
        self.train()
        self.assertEqual((self.dir / "out/model.onnx").read_bytes(), first)

    def test_what_is_wrong_is_named(self):
        for _ in range(5):
            self.custom("left", ["left"])
        for line, words, text in (
                (None, ("--labels=left",), "all images have the same label"),
                (None, ("--labels=left absent",), "no image has the label 'absent'"),
                ("{", (), "dataset.jsonl:6: "),
                ("[]", (), "dataset.jsonl:6: not a JSON object"),
                ({"image_path": 5}, (), "dataset.jsonl:6: there is no image_path"),
                ({"image_path": "absent.png", "classification_annotations": []}, (), "absent.png"),
                ({"image_path": "a", "classification_annotations": [{}]}, (), "dataset.jsonl:6: an annotation"),
                ({"image_path": "dataset.jsonl", "classification_annotations": []}, (), "dataset.jsonl:6: ")):
            with self.subTest(line=line, words=words):
                del self.lines[5:]
                if line is not None:
                    self.lines.append(line)
                said = self.train(*words, code=1)
                self.assertIn(text, said)
                self.assertNotIn("Traceback", said)
        self.assertFalse((self.dir / "out").exists())


if __name__ == "__main__":
    unittest.main()
