"""Floor 5: one-line callbacks for other people's trainers, and live exports."""
