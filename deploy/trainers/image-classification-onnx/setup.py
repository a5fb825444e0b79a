from setuptools import find_packages, setup

setup(
    name="image-classification-onnx",
    version="1.0.0",
    description="Trainyard's managed trainer: single-label classification of small images to ONNX",
    packages=find_packages(),
    python_requires=">=3.9",
    install_requires=["numpy", "onnx", "pillow"],
)
