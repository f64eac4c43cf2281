"""What the tests of scripts that use perdure need."""
