"""What a finding is, a file for each group of rules; `checker` runs them over each place where a step or workflow runs."""
