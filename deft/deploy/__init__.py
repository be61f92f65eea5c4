"""A trained run taken to where it is used: graphs for other programs, with a model card.

:mod:`deft.deploy.graphs` has what is exported, :mod:`deft.deploy.onnx` and :mod:`deft.deploy.program` write and check
it, :mod:`deft.deploy.card` describes it, and :mod:`deft.deploy.folder` puts all of it into one folder.
"""
