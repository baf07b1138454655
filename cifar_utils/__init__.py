"""The small helper package that every notebook of cifar-notebooks imports.

Importing it does nothing: no TensorFlow, no I/O. Import the module you need:
`from cifar_utils import data, plots`.
"""

__version__ = "0.7.0"
