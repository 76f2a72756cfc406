"""What the records of an experiment show: tables, figures and a report, beside the published numbers."""
