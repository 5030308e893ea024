"""Callbacks for Lightning, Hugging Face and Accelerate, and live metrics for Prometheus."""
