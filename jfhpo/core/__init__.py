"""The nouns and protocols everything else is written in. No torch below this line."""
