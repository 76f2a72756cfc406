"""The methods JF-HPO is compared with, one file each. A class here that has a `name` is a method: no list is kept."""
