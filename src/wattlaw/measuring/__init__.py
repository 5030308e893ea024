"""The sampler, measuring windows, and the guard that puts limits back."""
