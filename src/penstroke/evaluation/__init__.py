"""Predictions, and every figure that follows from them."""
