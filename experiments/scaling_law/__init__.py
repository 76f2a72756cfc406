"""How far a scaling law of the reward can be trusted: its fit, its forecasts, and what stopping by it saves."""
