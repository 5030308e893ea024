"""Floor 3: the sampler, measuring windows, and the guard that puts limits back."""
