"""The engine of a cluster: runs workflows as Temporal workflows, and their steps as activities."""
