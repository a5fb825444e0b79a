"""Softmax regression, and its ONNX graph."""
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

BATCH = 64
LEARNING_RATE = 0.02
WEIGHT_DECAY = 1e-3


def softmax(scores):
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return scores / scores.sum(axis=1, keepdims=True)


class Regression:
    """Works on pixels brought to mean 0 and deviation 1, since brightness differs from data set to data set; `gemm` gives
    weights and bias for the pixels as they are."""

    def __init__(self, x, classes, seed=0):
        self.mean, self.deviation = x.mean(axis=0), x.std(axis=0)
        self.deviation[self.deviation < 1e-3] = 1.0  # a pixel that is always the same says nothing
        self.weights = np.zeros((x.shape[1] + 1, classes))  # the last row is the bias
        self._random = np.random.default_rng(seed)
        self._moments = np.zeros_like(self.weights), np.zeros_like(self.weights)
        self._steps = 0

    def _rows(self, x):
        return np.hstack([(x - self.mean) / self.deviation, np.ones((len(x), 1))])

    def odds(self, x):
        return softmax(self._rows(x) @ self.weights)

    def train_epoch(self, x, y):
        """One pass over shuffled batches with Adam; returns the mean loss."""
        rows, losses = self._rows(x), []
        order = self._random.permutation(len(rows))
        for start in range(0, len(rows), BATCH):
            batch = order[start:start + BATCH]
            odds = softmax(rows[batch] @ self.weights)
            losses.append(-np.log(odds[np.arange(len(batch)), y[batch]] + 1e-12).sum())
            odds[np.arange(len(batch)), y[batch]] -= 1
            slope = rows[batch].T @ odds / len(batch)
            slope[:-1] += WEIGHT_DECAY * self.weights[:-1]
            self._step(slope)
        return float(np.sum(losses) / len(rows))

    def _step(self, slope):
        self._steps += 1
        first, second = self._moments
        first += 0.1 * (slope - first)
        second += 0.001 * (slope**2 - second)
        self.weights -= LEARNING_RATE * (first / (1 - 0.9**self._steps)) / (
            np.sqrt(second / (1 - 0.999**self._steps)) + 1e-8)

    def gemm(self):
        weights = self.weights[:-1] / self.deviation[:, np.newaxis]
        bias = self.weights[-1] - self.mean @ weights
        return weights.astype(np.float32), bias.astype(np.float32)


def onnx_model(regression, height, width, labels):
    weights, bias = regression.gemm()
    nodes = [
        helper.make_node("Flatten", ["image"], ["pixels"], axis=1),
        helper.make_node("Gemm", ["pixels", "weights", "bias"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes, "image_classification",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, height, width])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", len(labels)])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias")],
        doc_string="Grey values from 0 to 1 in, a probability for each line of labels.txt out.")
    model = helper.make_model(graph, producer_name="trainyard image-classification-onnx",
                              opset_imports=[helper.make_opsetid("", 13)])
    onnx.checker.check_model(model)
    return model
