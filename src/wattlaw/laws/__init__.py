"""How time and energy scale: pure functions of arrays, and the advice drawn from them."""
