"""Trials answered from recorded learning curves: what took seconds when it was recorded takes them on a clock only."""
