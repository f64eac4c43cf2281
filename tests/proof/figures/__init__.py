"""One module a figure; each exports `PROOF`."""
