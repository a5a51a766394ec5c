"""Where do the pixels lie that change the logit of a class?"""

from .grad_cam import draw

__all__ = ["draw"]
