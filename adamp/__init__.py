"""AdamP and SGDP: momentum optimizers that keep the norm of scale-invariant weights from growing.

The algorithm is that of Heo et al., "AdamP: Slowing Down the Slowdown for Momentum Optimizers on
Scale-invariant Weights", ICLR 2021 (arXiv:2006.08217). The code is our own.
"""

from adamp.adam import AdamP
from adamp.diagnostics import Decision, ParameterDiagnostics
from adamp.dispatch import paths
from adamp.sgd import SGDP, SGDW

__all__ = ["SGDP", "SGDW", "AdamP", "Decision", "ParameterDiagnostics", "__version__", "paths"]

__version__ = "0.1.0"
