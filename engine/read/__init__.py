"""What readers see, now or at an earlier transaction time, and how a number came about."""
