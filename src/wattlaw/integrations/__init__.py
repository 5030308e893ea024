"""One-line callbacks for other people's trainers, and live exports."""
