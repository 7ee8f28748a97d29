"""Train a small neural network on scikit-learn's handwritten digits (1,797 images), and report how good it is after each epoch.

`kubetune run digits-asha.yaml` runs this many times with other parameters. By hand, with or without kubetune installed:

    python digits.py --lr=0.01 --units=64
"""

import argparse

import numpy as np
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

try:
    import kubetune
except ImportError:  # then nobody is there to be told; the output is still printed
    kubetune = None

VALIDATION = 450  # images that are never trained on
NUDGES = [(1, 1), (0, 1), (2, 1), (1, 0), (1, 2)]  # (1, 1) leaves an image where it is, the others move it by one pixel


def main() -> None:
    """Train with the parameters of the command line."""
    options = arguments()
    (images, labels), (unseen, truth) = data()
    network = MLPClassifier(
        hidden_layer_sizes=(options.units,),
        learning_rate_init=options.lr,
        batch_size=options.batch,
        alpha=options.alpha,
        random_state=kubetune.seed(default=0) if kubetune else 0,  # a seed of its own for each trial
    )
    for epoch in range(1, options.epochs + 1):
        network.partial_fit(images, labels, classes=np.arange(10))  # one pass over the images
        sure = network.predict_proba(unseen)
        accuracy = float((sure.argmax(axis=1) == truth).mean())
        loss = float(-np.log(np.maximum(sure[np.arange(len(truth)), truth], 1e-12)).mean())
        print(f"epoch {epoch}: accuracy {accuracy:.4f}, loss {loss:.4f}", flush=True)
        if kubetune:
            # This line is all that kubetune needs. It returns at once, and ends the program when the trial is stopped.
            kubetune.report(accuracy=accuracy, loss=loss)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Train a classifier of handwritten digits.")
    parser.add_argument("--lr", type=float, default=0.001, help="learning rate of Adam")
    parser.add_argument("--units", type=int, default=64, help="units of the hidden layer")
    parser.add_argument("--batch", type=int, default=64, help="images in a batch")
    parser.add_argument("--alpha", type=float, default=0.0001, help="strength of the L2 regularisation")
    parser.add_argument("--epochs", type=int, default=27)
    return parser.parse_args()


def data() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Give the images to train with, each at five places, and those to validate with; the same in every trial."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    images, labels = digits.images[order] / 16, digits.target[order]
    framed = np.pad(images[VALIDATION:], ((0, 0), (1, 1), (1, 1)))
    nudged = np.concatenate([framed[:, row : row + 8, column : column + 8] for row, column in NUDGES])
    training = nudged.reshape(-1, 64), np.tile(labels[VALIDATION:], len(NUDGES))
    return training, (images[:VALIDATION].reshape(-1, 64), labels[:VALIDATION])


if __name__ == "__main__":
    main()
