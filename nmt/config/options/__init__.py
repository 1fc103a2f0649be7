"""The options that some mechanisms have, one dataclass each: the keys `model.MECHANISM.*`."""
