"""What readers see now, and saw at an earlier transaction time; explain one number."""
