from support.podfixtures import pod, simulator

__all__ = ["pod", "simulator"]
