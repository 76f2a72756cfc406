"""Does a proxy rank configurations as the target does? The paper's transfer figures, from more than five of them."""
