"""GraSP: how much of the gradient's norm a weight carries."""

from __future__ import annotations

from ...curvature import CurvatureProduct
from ...devices import wide
from ...inputs.problem import Problem, Split
from ...progress import Progress
from ..criterion import Criterion, Scores
from ..layers import prunable_part

NAME = "grasp"
ORDER = 4
SOURCE = (
    "Wang, Zhang, Grosse: Picking Winning Tickets Before Training by Preserving Gradient Flow. "
    "ICLR 2020"
)
HELP = "Weight times Hessian times gradient; reads inputs and labels."

__all__ = ["CRITERION"]


def _grasp(problem: Problem, split: Split, seed: int, progress: Progress) -> Scores:
    """w (H g). It is minus the S of Wang et al. 2020, S(-w) = -w (H g), who remove the largest.

    g and H are gradient and Hessian of the mean loss. When the weight is removed, the squared norm
    of the gradient grows by 2 S to first order. It reads labels, and costs one gradient and one
    Hessian product. The paper divides the logits of a fresh network by a temperature of 200. Here
    the network is trained, so its loss is taken as it is.
    """
    product = CurvatureProduct(problem, split, "hessian")
    curved = wide(product(product.gradient()))
    scores = prunable_part(problem, wide(problem.vector()) * curved)
    return Scores(scores, products=product.products)


CRITERION = Criterion(NAME, SOURCE, HELP, reads="labels", function=_grasp)
