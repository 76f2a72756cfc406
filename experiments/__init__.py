"""What is run for each table and figure: a folder each, with its sweep and its analysis."""
