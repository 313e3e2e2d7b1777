"""How long something takes, in words."""


def duration(seconds: float) -> str:
    """Return seconds as people say them: "40 s", "12 minutes", "2.5 hours"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
