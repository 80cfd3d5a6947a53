"""Curvature of a :class:`~prunelimit.inputs.problem.Problem`: products with its Hessian or GGN."""
