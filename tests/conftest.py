"""Shapes in signatures are checked in tests: the hook has to be there before seamwise is imported."""

from jaxtyping import install_import_hook

install_import_hook("seamwise", "checking.check")

import torch  # noqa: E402

torch.set_num_threads(1)
