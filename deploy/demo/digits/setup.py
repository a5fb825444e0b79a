from setuptools import find_packages, setup

setup(
    name="digits",
    version="1.0.0",
    description="Learns small grey images with one label each: an example of a training script",
    packages=find_packages(),
    python_requires=">=3.9",
    install_requires=["numpy", "onnx", "pillow"],
)
